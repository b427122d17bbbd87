"""A hanging chain of seven rigid links with a motor in each joint, brought to rest. Fourteen states, seven torques.

Links of length 1/2 m without mass, a point of 1/5 kg at the end of each. With angles a from the vertical, s and c their
sines and cosines, and m_ij the mass that hangs from the later of the links i and j,

    sum_j m_ij l^2 cos(a_i - a_j) w_j' = r_i - r_{i+1} - m_ii g l s_i - sum_j m_ij l^2 sin(a_i - a_j) w_j^2
    r_i = u_i - b (w_i - w_{i-1}) in joint i,      w = a'

J = int_0^2 (|a|^2 + |w|^2 / 10 + |u|^2 / 10) dt + 10 (|a(2)|^2 + |w(2)|^2)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.workloads.workload import Namespace, Workload, sum_of_squares

LINKS, MASS, LENGTH, GRAVITY, FRICTION = 7, 0.2, 0.5, 9.81, 0.05


def dynamics(xp: Namespace, x: Sequence[Any], u: Sequence[Any]) -> list[Any]:
    links = range(LINKS)
    w = x[LINKS:]
    s, c = [xp.sin(x[i]) for i in links], [xp.cos(x[i]) for i in links]
    hanging = [MASS * (LINKS - i) for i in links]
    matrix: list[list[Any]] = [[None] * LINKS for _ in links]
    joint = [u[0] - FRICTION * w[0], *(u[i] - FRICTION * (w[i] - w[i - 1]) for i in links[1:])]
    torque = [joint[i] - joint[i + 1] for i in links[:-1]] + [joint[-1]]
    squares = [w[i] * w[i] for i in links]
    for i in links:
        inertia = hanging[i] * LENGTH**2
        matrix[i][i] = inertia
        torque[i] = torque[i] - (hanging[i] * GRAVITY * LENGTH) * s[i]
        for j in range(i):
            matrix[i][j] = matrix[j][i] = inertia * (c[i] * c[j] + s[i] * s[j])
            sine = inertia * (s[i] * c[j] - c[i] * s[j])
            torque[i] = torque[i] - sine * squares[j]
            torque[j] = torque[j] + sine * squares[i]
    return [*w, *xp.solve(matrix, torque)]


def running_cost(x: Sequence[Any], u: Sequence[Any]) -> Any:
    return sum_of_squares(x[:LINKS]) + 0.1 * (sum_of_squares(x[LINKS:]) + sum_of_squares(u))


def terminal_cost(x: Sequence[Any]) -> Any:
    return 10.0 * sum_of_squares(x)


CHAIN = Workload(
    name="chain of 7 links",
    horizon=2.0,
    dynamics=dynamics,
    running_cost=running_cost,
    terminal_cost=terminal_cost,
    initial_state=(0.5,) * LINKS + (0.0,) * LINKS,
    control=(0.0,) * LINKS,
    state_spread=0.1,
    control_spread=0.3,
)
