"""A problem of the gallery once more, in formulas that every package can take, and what a control of it leads to.

    minimise int L(x, u) dt,    x' = f(x, u),    x(0) given,    x(T) given or free,    bounds on u and x

on N Runge-Kutta steps of the fourth order with the control constant in each, or linear between its nodes; L is
integrated as one more state. Numbers (ends, bounds, horizon) are those of the gallery's Problem.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pontryagin as pmp
from benchmarks.workloads import cartpole
from benchmarks.workloads.workload import Namespace, by_elimination

Array = NDArray[np.float64]

STEPS = 100
NUMPY = Namespace(np.sin, np.cos, by_elimination)


def _van_der_pol(xp: Namespace, x: Sequence[Any], u: Sequence[Any]) -> list[Any]:
    return [x[1], (1.0 - x[0] * x[0]) * x[1] - x[0] + u[0]]


def _half_of_squares(x: Sequence[Any], u: Sequence[Any]) -> Any:
    return 0.5 * (x[0] * x[0] + x[1] * x[1] + u[0] * u[0])


@dataclass(frozen=True)
class Statement:
    name: str  # in the gallery
    dynamics: Callable[[Namespace, Sequence[Any], Sequence[Any]], list[Any]]
    running_cost: Callable[[Sequence[Any], Sequence[Any]], Any]

    @cached_property
    def problem(self) -> pmp.Problem:
        return pmp.problems.get(self.name).problem()

    @property
    def n(self) -> int:
        return self.problem.state_dim

    @property
    def m(self) -> int:
        return self.problem.control_dim

    @property
    def step_length(self) -> float:
        return self.problem.t1_guess / STEPS

    @property
    def initial_state(self) -> Array:
        return np.asarray(self.problem.initial_state.numpy())

    @property
    def target(self) -> Array | None:
        end = self.problem.terminal_state
        return None if end is None else np.asarray(end.numpy())

    def missed(self, end: Array) -> Array:
        """(B,) how far x(T) (B, n) is from where it should be, in the largest component."""
        return np.zeros(len(end)) if self.target is None else np.asarray(np.abs(end - self.target).max(1))

    @property
    def control_bounds(self) -> tuple[Array, Array]:
        box = self.problem.control_set
        return np.asarray(box.low.numpy()), np.asarray(box.high.numpy())

    @property
    def state_bounds(self) -> tuple[Array, Array]:
        if self.problem.state_bounds is None:
            return np.full(self.n, -np.inf), np.full(self.n, np.inf)
        low, high = self.problem.state_bounds
        return np.asarray(low.numpy()), np.asarray(high.numpy())

    def step(self, xp: Namespace, stack: Callable[[list[Any]], Any], y: Any, first: Any, last: Any) -> Any:
        """y = (x, int L) one step on, from the control at its begin and its end."""

        def rates(y: Any, u: Any) -> Any:
            x, controls = [y[i] for i in range(self.n)], [u[i] for i in range(self.m)]
            return stack([*self.dynamics(xp, x, controls), self.running_cost(x, controls)])

        h, middle = self.step_length, (first + last) / 2
        k1 = rates(y, first)
        k2 = rates(y + h / 2 * k1, middle)
        k3 = rates(y + h / 2 * k2, middle)
        k4 = rates(y + h * k3, last)
        return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    def led_to(self, control: Array, initial_state: Array) -> tuple[Array, Array]:
        """J (B,) and x(T) (B, n) of controls (B, N, m) constant in each step, or (B, N+1, m) linear between nodes."""
        y = np.concatenate((initial_state, np.zeros((len(initial_state), 1))), 1).T
        nodes = np.moveaxis(control, 0, -1)  # (K, m, B)
        for k in range(STEPS):
            y = self.step(NUMPY, np.stack, y, nodes[k], nodes[k] if len(nodes) == STEPS else nodes[k + 1])
        return y[-1], y[:-1].T


CARTPOLE = Statement("cartpole_kelly", cartpole.dynamics, cartpole.running_cost)
VAN_DER_POL = Statement("van_der_pol_bocop", _van_der_pol, _half_of_squares)
