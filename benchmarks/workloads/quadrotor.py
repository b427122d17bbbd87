"""A quadrotor with four thrusts, brought to hover at (1, 1, 1). Twelve states, Euler angles z-y-x.

x = (position p, velocity v, angles (roll, pitch, yaw), body rates w),   u = thrust of each rotor, newton

J = int_0^2 (|p - p*|^2 + |v|^2 / 10 + |angles|^2 + |w|^2 / 10 + |u - m g / 4|^2 / 10) dt + 10 |p(2) - p*|^2 + |v(2)|^2
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.workloads.workload import Namespace, Workload, sum_of_squares

MASS, GRAVITY, ARM, DRAG = 0.5, 9.81, 0.17, 0.016  # kg, m/s^2, m, m of torque in yaw per newton
INERTIA = (2.3e-3, 2.3e-3, 4.0e-3)  # kg m^2
HOVER = MASS * GRAVITY / 4.0
TARGET = (1.0, 1.0, 1.0)


def dynamics(xp: Namespace, x: Sequence[Any], u: Sequence[Any]) -> list[Any]:
    roll, pitch, yaw, p, q, r = x[6:12]
    sr, cr, sp, cp, sy, cy = (g(angle) for angle in (roll, pitch, yaw) for g in (xp.sin, xp.cos))
    lift = (u[0] + u[1] + u[2] + u[3]) / MASS
    turn = q * sr + r * cr
    yaw_rate = turn / cp
    jx, jy, jz = INERTIA
    return [
        *x[3:6],
        lift * (cy * sp * cr + sy * sr),
        lift * (sy * sp * cr - cy * sr),
        lift * cp * cr - GRAVITY,
        p + sp * yaw_rate,
        q * cr - r * sr,
        yaw_rate,
        (ARM * (u[1] - u[3]) + (jy - jz) * q * r) / jx,
        (ARM * (u[2] - u[0]) + (jz - jx) * p * r) / jy,
        (DRAG * (u[0] - u[1] + u[2] - u[3]) + (jx - jy) * p * q) / jz,
    ]


def _miss(x: Sequence[Any]) -> Any:
    return sum_of_squares([x[i] - TARGET[i] for i in range(3)])


def running_cost(x: Sequence[Any], u: Sequence[Any]) -> Any:
    effort = sum_of_squares([thrust - HOVER for thrust in u])
    return _miss(x) + sum_of_squares(x[6:9]) + 0.1 * (sum_of_squares(x[3:6]) + sum_of_squares(x[9:12]) + effort)


def terminal_cost(x: Sequence[Any]) -> Any:
    return 10.0 * _miss(x) + sum_of_squares(x[3:6])


QUADROTOR = Workload(
    name="quadrotor",
    horizon=2.0,
    dynamics=dynamics,
    running_cost=running_cost,
    terminal_cost=terminal_cost,
    initial_state=(0.0,) * 12,
    control=(HOVER,) * 4,
    state_spread=0.1,
    control_spread=0.02,
)
