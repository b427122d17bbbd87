"""Swing-up of a pole on a cart: Kelly, SIAM Review 59 (2017), section 6, with a quadratic terminal cost.

J = int_0^2 u^2 dt + 100 |x(2) - (1, pi, 0, 0)|^2,      x = (position, angle, velocity, rate),  u force
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from benchmarks.workloads.workload import Namespace, Workload, sum_of_squares

CART, POLE, LENGTH, GRAVITY, WEIGHT = 1.0, 0.3, 0.5, 9.81, 100.0
TARGET = (1.0, math.pi, 0.0, 0.0)


def dynamics(xp: Namespace, x: Sequence[Any], u: Sequence[Any]) -> list[Any]:
    angle, rate, force = x[1], x[3], u[0]
    s, c = xp.sin(angle), xp.cos(angle)
    d = CART + POLE * s * s
    return [
        x[2],
        rate,
        (LENGTH * POLE * s * rate * rate + force + POLE * GRAVITY * c * s) / d,
        -(LENGTH * POLE * c * s * rate * rate + force * c + (CART + POLE) * GRAVITY * s) / (LENGTH * d),
    ]


def running_cost(x: Sequence[Any], u: Sequence[Any]) -> Any:
    return u[0] * u[0]


def terminal_cost(x: Sequence[Any]) -> Any:
    return WEIGHT * sum_of_squares([value - target for value, target in zip(x, TARGET, strict=True)])


CARTPOLE = Workload(
    name="cart-pole",
    horizon=2.0,
    dynamics=dynamics,
    running_cost=running_cost,
    terminal_cost=terminal_cost,
    initial_state=(0.0, 0.0, 0.0, 0.0),
    control=(0.0,),
    state_spread=0.3,
    control_spread=3.0,
)
