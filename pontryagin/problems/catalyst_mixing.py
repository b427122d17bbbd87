"""Mixing policy of two catalysts along a tubular reactor.

    minimise   J = -1 + x1(1) + x2(1)
    subject to x1' = u (10 x2 - x1),    x2' = u (x1 - 10 x2) - (1 - u) x2,    0 <= u <= 1,    x(0) = (1, 0)

Optimal: u = 1 until 0.136299035, the singular value 0.2271420827 until 0.725230108, then 0.
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "singular")
tolerance = "nonsmooth"
reference = Reference(
    objective=-0.0480556858609,
    digits=12,
    citation="COPS 3, catalyst mixing (-4.80556e-2); value recomputed with free switching times",
    initial_costate=(0.9519443141, 0.8999952056),
    switching_times=(0.136299034595, 0.725230107592),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    exchange = u[0] * (10.0 * x[1] - x[0])
    return torch.stack([exchange, -exchange - (1.0 - u[0]) * x[1]])


def terminal_cost(t: Tensor, x: Tensor) -> Tensor:
    return x[0] + x[1] - 1.0


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        terminal_cost=terminal_cost,
        initial_state=[1.0, 0.0],
        horizon=(0.0, 1.0),
        control_bounds=(0.0, 1.0),
        name="catalyst_mixing",
    )
