"""Fishing in a lake of prey and predators, to bring both to the steady state; fishing may be partial.

    minimise   J = int_0^12 [(x0 - 1)^2 + (x1 - 1)^2] dt
    subject to x0' = x0 - x0 x1 - 0.4 x0 w,    x1' = -x1 + x0 x1 - 0.2 x1 w,    0 <= w <= 1,    x(0) = (0.5, 0.7)

Optimal: w = 0 until 2.4367, w = 1 until 3.94197, then a singular arc that ends in the steady state (1, 1).
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "singular")
tolerance = "nonsmooth"
reference = Reference(
    objective=1.34408119814,
    digits=12,
    citation="Sager (2005), Lotka-Volterra fishing, relaxed (1.34408); value recomputed with free switching times",
    initial_costate=(-5.83903584, -1.5310154),
    switching_times=(2.43669998435, 3.94197093002),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    eaten = x[0] * x[1]
    return torch.stack([x[0] - eaten - 0.4 * x[0] * u[0], -x[1] + eaten - 0.2 * x[1] * u[0]])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return (x[0] - 1.0) ** 2 + (x[1] - 1.0) ** 2


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[0.5, 0.7],
        horizon=(0.0, 12.0),
        control_bounds=(0.0, 1.0),
        name="lotka_volterra_fishing",
    )
