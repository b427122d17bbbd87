"""Linear-quadratic regulator of a scalar integrator.

    minimise   J = 1/2 int_0^1 (x^2 + u^2) dt
    subject to x' = u,    x(0) = 1

Optimal: p = tanh(1 - t) x and u = -p, so x = cosh(1 - t) / cosh(1) and J = tanh(1) / 2.
"""

import math

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("unconstrained",)
tolerance = "smooth"
reference = Reference(
    objective=math.tanh(1.0) / 2, digits=15, citation="closed form, tanh(1) / 2", initial_costate=(math.tanh(1.0),)
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([u[0]])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return 0.5 * (x[0] ** 2 + u[0] ** 2)


def problem() -> Problem:
    return Problem(
        dynamics=dynamics, running_cost=running_cost, initial_state=[1.0], horizon=(0.0, 1.0), name="scalar_lqr"
    )
