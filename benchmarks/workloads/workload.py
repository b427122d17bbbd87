"""A workload: a problem stated once, a batch of its data, and the answer that is wanted of it, J and dJ/du.

    J = phi(x(T)) + int_0^T L(x, u) dt,   x' = f(x, u),   N Runge-Kutta steps with the control constant in each

The formulas work on the components of x and u one by one, whatever these are: tensors of a batch, traced scalars,
symbols. Sine and cosine come from a `Namespace`, one for each package, so that no package has formulas of its own.
L is integrated as one more state y = (x, int L), which gives it the weights of the Runge-Kutta stages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

STEPS = 100


@dataclass(frozen=True)
class Namespace:
    sin: Callable[[Any], Any]
    cos: Callable[[Any], Any]
    solve: Callable[[Sequence[Sequence[Any]], Sequence[Any]], Sequence[Any]]  # rows of A = A' > 0, b -> x of A x = b


def by_elimination(rows: Sequence[Sequence[Any]], right: Sequence[Any]) -> list[Any]:
    """x of A x = b for a symmetric positive A, written out: A = L D L' without square roots."""
    size = range(len(right))
    lower: dict[tuple[int, int], Any] = {}
    pivot: list[Any] = []
    x = list(right)
    for j in size:
        scaled = [lower[j, k] * pivot[k] for k in range(j)]
        d = rows[j][j]
        for k in range(j):
            d = d - lower[j, k] * scaled[k]
            x[j] = x[j] - lower[j, k] * x[k]
        pivot.append(d)
        for i in size[j + 1 :]:
            entry = rows[i][j]
            for k in range(j):
                entry = entry - lower[i, k] * scaled[k]
            lower[i, j] = entry / d
    for j in reversed(size):
        x[j] = x[j] / pivot[j]
        for i in size[j + 1 :]:
            x[j] = x[j] - lower[i, j] * x[i]
    return x


def sum_of_squares(values: Sequence[Any]) -> Any:
    total = values[0] * values[0]
    for value in values[1:]:
        total = total + value * value
    return total


@dataclass(frozen=True)
class Workload:
    name: str
    horizon: float
    dynamics: Callable[[Namespace, Sequence[Any], Sequence[Any]], list[Any]]
    running_cost: Callable[[Sequence[Any], Sequence[Any]], Any]
    terminal_cost: Callable[[Sequence[Any]], Any]
    initial_state: tuple[float, ...]  # the middle of the batch
    control: tuple[float, ...]
    state_spread: float  # standard deviations of the batch
    control_spread: float

    @property
    def n(self) -> int:
        return len(self.initial_state)

    @property
    def m(self) -> int:
        return len(self.control)

    def rates(self, xp: Namespace, y: Sequence[Any], u: Sequence[Any]) -> list[Any]:
        """y' of y = (x, int L)."""
        x = y[: self.n]
        return [*self.dynamics(xp, x, u), self.running_cost(x, u)]

    def objective(self, y: Sequence[Any]) -> Any:
        """J from y at the end."""
        return y[self.n] + self.terminal_cost(y[: self.n])

    def batch(self, size: int, dtype: torch.dtype = torch.float64, steps: int = STEPS) -> Batch:
        """Problems drawn at random, the same on every call."""
        generator = torch.Generator().manual_seed(0)

        def draw(middle: tuple[float, ...], spread: float, *shape: int) -> Tensor:
            noise = torch.randn(*shape, len(middle), generator=generator, dtype=torch.float64)
            return (torch.tensor(middle, dtype=torch.float64) + spread * noise).to(dtype)

        state = draw(self.initial_state, self.state_spread, size)
        return Batch(self, state, draw(self.control, self.control_spread, size, steps))


@dataclass(frozen=True)
class Batch:
    workload: Workload
    initial_state: Tensor  # (B, n)
    control: Tensor  # (B, N, m)

    @property
    def size(self) -> int:
        return self.control.shape[0]

    @property
    def steps(self) -> int:
        return self.control.shape[1]

    @property
    def step_length(self) -> float:
        return self.workload.horizon / self.steps

    @property
    def dtype(self) -> torch.dtype:
        return self.control.dtype

    def at(self, rows: Tensor) -> Batch:
        """The problems of these rows, in float64: what a reference is computed for."""
        return Batch(self.workload, self.initial_state[rows].double(), self.control[rows].double())


@dataclass(frozen=True)
class Answer:
    objective: Tensor  # (B,)
    gradient: Tensor  # (B, N, m) dJ/du

    def at(self, rows: Tensor) -> Answer:
        return Answer(self.objective[rows], self.gradient[rows])

    def objective_error(self, reference: Answer) -> float:
        """Largest relative difference of the objectives, one by one."""
        return float(((self.objective - reference.objective) / reference.objective).abs().max())

    def gradient_error(self, reference: Answer) -> float:
        """Largest relative difference of the gradients, each in its largest norm."""
        difference = (self.gradient - reference.gradient).abs().amax((1, 2))
        return float((difference / reference.gradient.abs().amax((1, 2))).max())

    def error(self, reference: Answer) -> float:
        errors = self.objective_error(reference), self.gradient_error(reference)
        return math.nan if any(map(math.isnan, errors)) else max(errors)  # max() alone may pass over what is no number


def rk4(f: Callable[[Any], Any], y: Any, h: float) -> Any:
    """One step of the classic Runge-Kutta method."""
    k1 = f(y)
    k2 = f(y + h / 2 * k1)
    k3 = f(y + h / 2 * k2)
    k4 = f(y + h * k3)
    return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def three_eighths(f: Callable[[Any], Any], y: Any, h: float) -> Any:
    """One step of Kutta's 3/8 rule."""
    k1 = f(y)
    k2 = f(y + h / 3 * k1)
    k3 = f(y + h * (k2 - k1 / 3))
    k4 = f(y + h * (k1 - k2 + k3))
    return y + h / 8 * (k1 + 3 * k2 + 3 * k3 + k4)
