"""A velocity below a parabola in time.

minimise   J = int_0^1 x1^2 + x2^2 + 0.005 u^2 dt
subject to x1' = x2,    x2' = -x2 + u,    x2 <= 8 (t - 1/2)^2 - 1/2,    |u| <= 20,    x(0) = (0, -1)
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "path constraint")
tolerance = "constrained"
reference = Reference(
    objective=0.1698205365,
    digits=10,
    citation="Jacobson & Lele, IEEE Trans. Automatic Control 14 (1969); value recomputed by collocation",
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([x[1], u[0] - x[1]])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return x[0] ** 2 + x[1] ** 2 + 0.005 * u[0] ** 2


def path_constraint(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return x[1] - 8.0 * (t - 0.5) ** 2 + 0.5


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        path_constraint=path_constraint,
        initial_state=[0.0, -1.0],
        horizon=(0.0, 1.0),
        control_bounds=(-20.0, 20.0),
        name="state_constraint_stc1",
    )
