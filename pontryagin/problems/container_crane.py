"""A container crane swings as little as possible.

    minimise   J = 9/2 int_0^1 x3^2 + x6^2 dt
    subject to x1' = 9 x4,    x2' = 9 x5,    x3' = 9 x6,    x4' = 9 (u1 + 17.2656 x3),    x5' = 9 u2,
               x6' = -(9 / x2) (u1 + 27.0756 x3 + 2 x5 x6),
               |u1| <= 2.83374,    -0.80865 <= u2 <= 0.71265,    |x4| <= 2.5,    |x5| <= 1,
               x = (0, 22, 0, 0, -1, 0) at t = 0,    (10, 14, 0, 2.5, 0, 0) at t = 1

Positions x1 of the trolley and x2 the length of the rope, x3 its angle, their velocities x4, x5, x6; nine seconds,
scaled to one. The value is known to six digits.
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "terminal constraint", "state bounds")
tolerance = "constrained"
reference = Reference(
    objective=0.00515039,
    digits=6,
    citation="Sakawa & Shindo, Automatica 18 (1982), as scaled by Teo, Goh & Wong (1991); recomputed, within 1e-8",
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    trolley = u[0] + 17.2656 * x[2]
    swing = -(u[0] + 27.0756 * x[2] + 2.0 * x[4] * x[5]) / x[1]
    return 9.0 * torch.stack([x[3], x[4], x[5], trolley, u[1], swing])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return 4.5 * (x[2] ** 2 + x[5] ** 2)


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[0.0, 22.0, 0.0, 0.0, -1.0, 0.0],
        terminal_state=[10.0, 14.0, 0.0, 2.5, 0.0, 0.0],
        horizon=(0.0, 1.0),
        control_bounds=([-2.83374, -0.80865], [2.83374, 0.71265]),
        state_bounds=([None, None, None, -2.5, -1.0, None], [None, None, None, 2.5, 1.0, None]),
        name="container_crane",
    )
