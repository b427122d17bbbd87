"""Linear-quadratic regulator of a double integrator.

    minimise   J = 1/2 int_0^5 (x1^2 + x2^2 + u^2) dt
    subject to x1' = x2,    x2' = u,    x(0) = (1, 0)

Optimal: p = P(t) x with the Riccati matrix P, P(5) = 0, and u = -p2.
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("unconstrained",)
tolerance = "smooth"
reference = Reference(
    objective=0.865425299552,
    digits=12,
    citation="Riccati equation, by the exponential of the Hamiltonian matrix",
    initial_costate=(1.730850599, 0.9989606791),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([x[1], u[0]])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return 0.5 * (x[0] ** 2 + x[1] ** 2 + u[0] ** 2)


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[1.0, 0.0],
        horizon=(0.0, 5.0),
        name="double_integrator_lqr",
    )
