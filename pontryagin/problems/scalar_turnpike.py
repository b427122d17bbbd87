"""Scalar integrator that rests on its turnpike, the singular arc x = 0.

    minimise   J = int_0^2 x^2 dt
    subject to x' = u,    |u| <= 1,    x(0) = 1,    x(2) = 1/2

Optimal: u = -1 until 1, 0 until 3/2, +1 until 2; J = 3/8; p = 0 on the singular arc.
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "terminal constraint", "singular")
tolerance = "nonsmooth"
reference = Reference(
    objective=0.375, digits=16, citation="closed form, 3/8", initial_costate=(1.0,), switching_times=(1.0, 1.5)
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([u[0]])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return x[0] ** 2


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[1.0],
        terminal_state=[0.5],
        horizon=(0.0, 2.0),
        control_bounds=(-1.0, 1.0),
        name="scalar_turnpike",
    )
