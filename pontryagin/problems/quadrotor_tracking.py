"""Quadrotor that follows a moving target.

    minimise   J = 1/2 int_0^1 [(x0 - sin 2 pi t)^2 + (x2 - 2 sin 4 pi t)^2 + (x4 - 2 t)^2
                                + x6^2 + x7^2 + x8^2 + 0.1 |u|^2] dt
    subject to x0' = x1,    x1' = u0 (c6 s7 c8 + s6 s8),    x2' = x3,    x3' = u0 (c6 s7 s8 - s6 c8),
               x4' = x5,    x5' = u0 c6 c7 - 9.8,
               x6' = (u1 c6 + u2 s6) / c7,    x7' = -u1 s6 + u2 c6,    x8' = (u1 c6 + u2 s6) s7 / c7 + u3,
               x(0) = 0

Positions x0, x2, x4 with their velocities, angles x6, x7, x8 with ci = cos xi, si = sin xi; u0 is the thrust per mass,
u1, u2, u3 are rates of turn. Optimal: u = -10 f_u' p.
"""

import math

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("unconstrained",)
tolerance = "smooth"
reference = Reference(
    objective=4.2679542061,
    digits=12,
    citation="recomputed in continuous time by shooting on the maximum principle",
    initial_costate=(
        -0.0807799663,
        0.09931322583,
        -0.0731933885,
        0.1049848442,
        -1.46627529,
        -1.043655942,
        -0.1023958702,
        0.1028880744,
        -0.000823595706,
    ),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    c6, s6 = torch.cos(x[6]), torch.sin(x[6])
    c7, s7 = torch.cos(x[7]), torch.sin(x[7])
    c8, s8 = torch.cos(x[8]), torch.sin(x[8])
    turn = (u[1] * c6 + u[2] * s6) / c7
    return torch.stack(
        [
            x[1],
            u[0] * (c6 * s7 * c8 + s6 * s8),
            x[3],
            u[0] * (c6 * s7 * s8 - s6 * c8),
            x[5],
            u[0] * c6 * c7 - 9.8,
            turn,
            -u[1] * s6 + u[2] * c6,
            turn * s7 + u[3],
        ]
    )


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    distance = (
        (x[0] - torch.sin(2 * math.pi * t)) ** 2
        + (x[2] - 2.0 * torch.sin(4 * math.pi * t)) ** 2
        + (x[4] - 2.0 * t) ** 2
    )
    effort = u[0] ** 2 + u[1] ** 2 + u[2] ** 2 + u[3] ** 2
    return 0.5 * (distance + x[6] ** 2 + x[7] ** 2 + x[8] ** 2 + 0.1 * effort)


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[0.0] * 9,
        horizon=(0.0, 1.0),
        name="quadrotor_tracking",
    )


def guess(problem: Problem) -> list[float]:
    """Hovering."""
    return [9.8, 0.0, 0.0, 0.0]
