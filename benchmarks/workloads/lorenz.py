"""Lorenz's equations with a control in each, held at the unstable equilibrium x* = (sqrt 72, sqrt 72, 27).

J = int_0^1 (|x - x*|^2 + |u|^2 / 10) dt + |x(1) - x*|^2

x1' = 10 (x2 - x1) + u1,   x2' = x1 (28 - x3) - x2 + u2,   x3' = x1 x2 - 8/3 x3 + u3
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from benchmarks.workloads.workload import Namespace, Workload, sum_of_squares

SIGMA, RHO, BETA = 10.0, 28.0, 8.0 / 3.0
TARGET = (math.sqrt(BETA * (RHO - 1.0)), math.sqrt(BETA * (RHO - 1.0)), RHO - 1.0)


def dynamics(xp: Namespace, x: Sequence[Any], u: Sequence[Any]) -> list[Any]:
    return [
        SIGMA * (x[1] - x[0]) + u[0],
        x[0] * (RHO - x[2]) - x[1] + u[1],
        x[0] * x[1] - BETA * x[2] + u[2],
    ]


def running_cost(x: Sequence[Any], u: Sequence[Any]) -> Any:
    return terminal_cost(x) + 0.1 * sum_of_squares(u)


def terminal_cost(x: Sequence[Any]) -> Any:
    return sum_of_squares([value - target for value, target in zip(x, TARGET, strict=True)])


LORENZ = Workload(
    name="Lorenz",
    horizon=1.0,
    dynamics=dynamics,
    running_cost=running_cost,
    terminal_cost=terminal_cost,
    initial_state=(8.0, 8.0, 25.0),
    control=(0.0, 0.0, 0.0),
    state_spread=2.0,
    control_spread=3.0,
)
