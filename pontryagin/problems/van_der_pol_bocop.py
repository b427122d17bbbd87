"""Van der Pol oscillator, damped with little effort.

    minimise   J = 1/2 int_0^2 (x1^2 + x2^2 + u^2) dt
    subject to x1' = x2,    x2' = (1 - x1^2) x2 - x1 + u,    x(0) = (1, 0)

Optimal: u = -p2.
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("unconstrained",)
tolerance = "smooth"
reference = Reference(
    objective=1.04780690822,
    digits=11,
    citation="statement of BOCOP and OptimalControlProblems.jl; value recomputed by shooting",
    initial_costate=(1.717176941, 0.01126108509),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([x[1], (1.0 - x[0] ** 2) * x[1] - x[0] + u[0]])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return 0.5 * (x[0] ** 2 + x[1] ** 2 + u[0] ** 2)


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[1.0, 0.0],
        horizon=(0.0, 2.0),
        name="van_der_pol_bocop",
    )
