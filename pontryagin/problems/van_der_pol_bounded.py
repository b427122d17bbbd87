"""Van der Pol oscillator with bounds on the control.

    minimise   J = int_0^5 (x1^2 + x2^2 + u^2) dt
    subject to x1' = (1 - x2^2) x1 - x2 + u,    x2' = x1,    -0.3 <= u <= 1,    x(0) = (0, 1)

Optimal: u = clip(-p1 / 2, -0.3, 1).
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds",)
tolerance = "constrained"
reference = Reference(
    objective=2.86726104524,
    digits=9,
    citation="problem of the PROPT collection (2.86726); value recomputed by shooting on the maximum principle",
    initial_costate=(0.8329388931, 4.885658644),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([(1.0 - x[1] ** 2) * x[0] - x[1] + u[0], x[0]])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return x[0] ** 2 + x[1] ** 2 + u[0] ** 2


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[0.0, 1.0],
        horizon=(0.0, 5.0),
        control_bounds=(-0.3, 1.0),
        name="van_der_pol_bounded",
    )
