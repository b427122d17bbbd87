# ruff: noqa: N999
"""Pendulum swung up in three seconds with the least effort.

    minimise   J = 1/2 int_0^3 u^2 dt
    subject to th' = w,    w' = u - sin th,    (th, w) = (0, 0) at t = 0,    (pi, 0) at t = 3

Optimal: u = -p2.
"""

import math

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("terminal constraint",)
tolerance = "smooth"
reference = Reference(
    objective=2.65658286092,
    digits=11,
    citation="shooting on the maximum principle; a local minimum, that no better one exists is not proven",
    initial_costate=(0.3028406495, -2.021413715),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([x[1], u[0] - torch.sin(x[0])])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return 0.5 * u[0] ** 2


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[0.0, 0.0],
        terminal_state=[math.pi, 0.0],
        horizon=(0.0, 3.0),
        name="pendulum_swing_up_T3",
    )
