"""Rayleigh oscillator with a constraint on state and control together.

    minimise   J = int_0^4.5 u^2 + x1^2 dt
    subject to x1' = x2,    x2' = -x1 + x2 (1.4 - 0.14 x2^2) + 4 u,    u + x1 / 6 <= 0,    x(0) = (-5, -5)

Optimal: u = -2 p2 where the constraint does not hold the control, u = -x1 / 6 where it does.
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("path constraint",)
tolerance = "constrained"
reference = Reference(
    objective=44.80444491,
    digits=9,
    citation="Maurer & Augustin (2001), the Rayleigh problem; value recomputed by Radau collocation on up to 800 steps",
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([x[1], -x[0] + x[1] * (1.4 - 0.14 * x[1] ** 2) + 4.0 * u[0]])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return u[0] ** 2 + x[0] ** 2


def path_constraint(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return u[0] + x[0] / 6.0


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        path_constraint=path_constraint,
        initial_state=[-5.0, -5.0],
        horizon=(0.0, 4.5),
        name="rayleigh_mixed",
    )
