"""Largest circular orbit that a low-thrust spacecraft reaches in given time.

    maximise   r(3.32)
    subject to r' = u,    u' = v^2 / r - 1 / r^2 + a sin f,    v' = -u v / r + a cos f,    a = 0.1405 / (1 - 0.0749 t),
               (r, u, v) = (1, 0, 1) at t = 0,    u = 0 and v = r^(-1/2) at t = 3.32

Radius r, radial and tangential velocity u and v; the control f is the angle of thrust above the tangent.
Optimal: thrust against (p_u, p_v).
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("terminal constraint",)
tolerance = "smooth"
reference = Reference(
    objective=1.52527770065,
    digits=11,
    citation="Moyer & Pinkham; Bryson & Ho, Applied Optimal Control (1975), section 2.5 (1.525); value recomputed",
    initial_costate=(-1.877335979, -0.9289336558, -2.025156218),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    r, radial, tangential = x[0], x[1], x[2]
    thrust = 0.1405 / (1.0 - 0.0749 * t)
    return torch.stack(
        [
            radial,
            tangential**2 / r - 1.0 / r**2 + thrust * torch.sin(u[0]),
            -radial * tangential / r + thrust * torch.cos(u[0]),
        ]
    )


def terminal_cost(t: Tensor, x: Tensor) -> Tensor:
    return x[0]


def terminal_constraint(t: Tensor, x: Tensor) -> Tensor:
    return torch.stack([x[1], x[2] - 1.0 / torch.sqrt(x[0])])


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        terminal_cost=terminal_cost,
        terminal_constraint=terminal_constraint,
        maximize=True,
        initial_state=[1.0, 0.0, 1.0],
        horizon=(0.0, 3.32),
        name="orbit_raising",
    )


def guess(problem: Problem) -> list[list[float]]:
    """Thrust outwards and forwards, a quick turn through backwards, then inwards and forwards."""
    return [[0.5], [1.0], [5.0], [5.5]]
