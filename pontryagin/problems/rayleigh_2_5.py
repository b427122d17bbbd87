"""Rayleigh's tunnel-diode oscillator.

    minimise   J = int_0^2.5 (u^2 + x1^2) dt
    subject to x1' = x2,    x2' = -x1 + x2 (1.4 - 0.14 x2^2) + 4 u,    x(0) = (-5, -5)

Optimal: u = -2 p2.
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("unconstrained",)
tolerance = "smooth"
reference = Reference(
    objective=29.3760796559,
    digits=11,
    citation="literature 29.376 (Maurer and others); value recomputed by shooting",
    initial_costate=(-8.737062565, -2.581398186),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([x[1], -x[0] + x[1] * (1.4 - 0.14 * x[1] ** 2) + 4.0 * u[0]])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return u[0] ** 2 + x[0] ** 2


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[-5.0, -5.0],
        horizon=(0.0, 2.5),
        name="rayleigh_2_5",
    )
