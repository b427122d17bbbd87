"""A hang glider flies as far as possible through a thermal.

    maximise   x(t1)
    subject to x' = vx,    y' = vy,    vx' = (-Lf s - D c) / m,    vy' = (Lf c - D s - m g) / m,    0 <= cL <= 1.4,
               (x, y, vx, vy) = (0, 1000, 13.2275675, -1.28750052) at t = 0,
               (y, vx, vy) = (900, 13.2275675, -1.28750052) at t1

The wind blows upwards with ua = 2.5 (1 - X) exp(-X), X = (x / 100 - 2.5)^2. Relative to it the glider has the speed
vr, vr^2 = vx^2 + (vy - ua)^2, s = (vy - ua) / vr, c = vx / vr, the lift Lf = cL rho S vr^2 / 2 and the drag
D = (0.034 + 0.069662 cL^2) rho S vr^2 / 2; rho = 1.13, S = 14, m = 100, g = 9.80665. The control is cL.
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "terminal constraint", "free time")
tolerance = "constrained"
reference = Reference(
    objective=1248.03103,
    digits=9,
    citation="Bulirsch, Nerz, Pesch & von Stryk (1993), COPS hang glider; value recomputed",
    final_time=98.4367,
)

MASS, GRAVITY, PRESSURE = 100.0, 9.80665, 0.5 * 1.13 * 14.0


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    off = (x[0] / 100.0 - 2.5) ** 2
    sinking = x[3] - 2.5 * (1.0 - off) * torch.exp(-off)
    speed = torch.sqrt(x[2] ** 2 + sinking**2)
    lift = PRESSURE * u[0] * speed  # over speed: s and c have it in their denominators
    drag = PRESSURE * (0.034 + 0.069662 * u[0] ** 2) * speed
    forwards = -lift * sinking - drag * x[2]
    upwards = lift * x[2] - drag * sinking
    return torch.stack([x[2], x[3], forwards / MASS, upwards / MASS - GRAVITY])


def terminal_cost(t: Tensor, x: Tensor) -> Tensor:
    return x[0]


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        terminal_cost=terminal_cost,
        maximize=True,
        initial_state=[0.0, 1000.0, 13.2275675, -1.28750052],
        terminal_state=[None, 900.0, 13.2275675, -1.28750052],
        free_final_time=(100.0, 10.0, 200.0),
        control_bounds=(0.0, 1.4),
        name="hang_glider_cops",
    )


def guess(problem: Problem) -> list[float]:
    """A glide at constant speed in still air."""
    return [1.0]
