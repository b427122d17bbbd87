"""Yeo's singular control problem, nonlinear in the control.

    minimise   J = int_0^1 x1^2 + x2^2 + 0.0005 (x2 + 16 t - 8 - 0.1 x3 u^2)^2 dt
    subject to x1' = x2,    x2' = -x3 u + 16 t - 8,    x3' = u,    0 <= u <= 10,    x(0) = (0, -1, -sqrt 5)

The value is known to six digits.
"""

import math

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "singular")
tolerance = "nonsmooth"
reference = Reference(
    objective=0.1192475,
    digits=6,
    citation="Yeo (1980), Luus' singular control 5; value recomputed, within 1e-7",
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([x[1], -x[2] * u[0] + 16.0 * t - 8.0, u[0]])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    rest = x[1] + 16.0 * t - 8.0 - 0.1 * x[2] * u[0] ** 2
    return x[0] ** 2 + x[1] ** 2 + 0.0005 * rest**2


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[0.0, -1.0, -math.sqrt(5.0)],
        horizon=(0.0, 1.0),
        control_bounds=(0.0, 10.0),
        name="singular_5_yeo",
    )
