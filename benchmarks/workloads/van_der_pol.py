"""Van der Pol's oscillator, brought to rest at quadratic cost.

J = int_0^5 (x1^2 + x2^2 + u^2) dt + |x(5)|^2,      x1' = (1 - x2^2) x1 - x2 + u,  x2' = x1
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.workloads.workload import Namespace, Workload, sum_of_squares


def dynamics(xp: Namespace, x: Sequence[Any], u: Sequence[Any]) -> list[Any]:
    return [(1.0 - x[1] * x[1]) * x[0] - x[1] + u[0], x[0]]


def running_cost(x: Sequence[Any], u: Sequence[Any]) -> Any:
    return sum_of_squares([*x, *u])


def terminal_cost(x: Sequence[Any]) -> Any:
    return sum_of_squares(x)


VAN_DER_POL = Workload(
    name="Van der Pol",
    horizon=5.0,
    dynamics=dynamics,
    running_cost=running_cost,
    terminal_cost=terminal_cost,
    initial_state=(0.0, 1.0),
    control=(0.0,),
    state_spread=0.3,
    control_spread=0.5,
)
