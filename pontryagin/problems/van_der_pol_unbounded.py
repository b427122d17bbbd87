"""Van der Pol oscillator without bounds on the control.

    minimise   J = int_0^5 (x1^2 + x2^2 + u^2) dt
    subject to x1' = (1 - x2^2) x1 - x2 + u,    x2' = x1,    x(0) = (0, 1)

Optimal: u = -p1 / 2.
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("unconstrained",)
tolerance = "smooth"
reference = Reference(
    objective=2.86695242258,
    digits=9,
    citation="problem of the PROPT collection without its bounds; value recomputed by shooting",
    initial_costate=(0.823397393, 4.874187222),
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
        name="van_der_pol_unbounded",
    )
