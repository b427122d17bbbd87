"""Re-entry of a space shuttle with the largest cross range.

    maximise   th(t1), in degrees
    subject to h' = v sin g,    lon' = v cos g sin psi / (r cos th),    th' = v cos g cos psi / r,
               v' = -D / m - G sin g,    g' = Lf cos b / (m v) + cos g (v / r - G / v),
               psi' = Lf sin b / (m v cos g) + v cos g sin psi sin th / (r cos th),    |a| <= 89,    -89 <= b <= 1,
               (h, lon, th, v, g, psi) = (260000, 0, 0, 25600, -1, 90) at t = 0,    (h, v, g) = (80000, 2500, -5) at t1

Altitude h in feet, longitude lon, latitude th, speed v in feet a second, flight path angle g, azimuth psi; angles
are stated in degrees and computed in radians. Controls are the angle of attack a and the bank angle b.
r = 20902900 + h, G = 0.14076539e17 / r^2, m = 203000 / 32.174; q = v^2 rho / 2 with rho = 0.002378 exp(-h / 23800);
D = 2690 q (0.07854 - 0.0061592 a + 0.000621408 a^2), Lf = 2690 q (-0.20704 + 0.029244 a) with a in degrees.
"""

import math

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "terminal constraint", "free time")
tolerance = "smooth"
reference = Reference(
    objective=34.14118428,
    digits=9,
    citation="Betts, Practical Methods for Optimal Control (2010), section 6.1, unconstrained heating; recomputed",
    final_time=2008.59,
)

DEGREE = math.pi / 180.0
MASS, RADIUS, ATTRACTION, AREA = 203000.0 / 32.174, 20902900.0, 0.14076539e17, 2690.0


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    height, latitude, speed, path, azimuth = x[0], x[2], x[3], x[4], x[5]
    attack, bank = u[0] / DEGREE, u[1]
    radius = RADIUS + height
    gravity = ATTRACTION / radius**2
    pressure = 0.5 * 0.002378 * torch.exp(-height / 23800.0) * speed**2
    drag = AREA * pressure * (0.07854 - 0.0061592 * attack + 0.000621408 * attack**2) / MASS
    lift = AREA * pressure * (-0.20704 + 0.029244 * attack) / MASS
    along = speed * torch.cos(path) / radius
    east = along * torch.sin(azimuth) / torch.cos(latitude)
    return torch.stack(
        [
            speed * torch.sin(path),
            east,
            along * torch.cos(azimuth),
            -drag - gravity * torch.sin(path),
            lift * torch.cos(bank) / speed + along - gravity * torch.cos(path) / speed,
            lift * torch.sin(bank) / (speed * torch.cos(path)) + east * torch.sin(latitude),
        ]
    )


def terminal_cost(t: Tensor, x: Tensor) -> Tensor:
    return x[2] / DEGREE


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        terminal_cost=terminal_cost,
        maximize=True,
        initial_state=[260000.0, 0.0, 0.0, 25600.0, -1.0 * DEGREE, 90.0 * DEGREE],
        terminal_state=[80000.0, None, None, 2500.0, -5.0 * DEGREE, None],
        free_final_time=(2000.0, 100.0, 4000.0),
        control_bounds=([-89.0 * DEGREE, -89.0 * DEGREE], [89.0 * DEGREE, 1.0 * DEGREE]),
        name="space_shuttle_reentry",
    )


def guess(problem: Problem) -> list[float]:
    """The angle of attack near that of the best glide, and a bank of half a right angle."""
    return [17.0 * DEGREE, -45.0 * DEGREE]
