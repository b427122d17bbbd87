"""What Newton's method is told, tells on the way and hands back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pontryagin.optim.result import IterationInfo
from pontryagin.shooting import Array, Primal
from pontryagin.status import Status


@dataclass(frozen=True, kw_only=True)
class NewtonSettings:
    """What steers the method; the meaning of every number is beside it."""

    tolerance: float = 1e-8  # largest scaled dual and primal infeasibility and complementarity of a solved problem
    max_iterations: int = 500
    exact: bool = True  # False: Gauss-Newton, without the curvature of the constraints
    barrier: float = 0.1  # first mu
    warm_barrier: float = 1e-6  # first mu from multipliers that are known
    barrier_factor: float = 0.2  # mu <- max(smallest, min(factor mu, mu^power))
    barrier_power: float = 1.5
    barrier_solved: float = 10.0  # a barrier problem is solved when its error is below this times mu
    first_regularisation: float = 1e-4  # delta that is tried first
    largest_regularisation: float = 1e12
    penalty: float = 1e3  # rho of the end equalities, in scaled units
    trials: int = 30  # step lengths of one search
    patience: int = 8  # searches in a row that may fail at points that satisfy the constraints

    @property
    def smallest_barrier(self) -> float:
        """The last mu."""
        return self.tolerance / 1000


@dataclass(frozen=True)
class NewtonInfo(IterationInfo):
    """One row of the iteration table; in a batch, means and worst values of the problems still running.

    `residual` is the scaled dual infeasibility, `violation` the primal one, `step` the last accepted length.
    """

    complementarity: float  # largest
    barrier: float  # mu, largest
    regularisation: float  # delta, largest


@dataclass(frozen=True)
class Warm:
    """A point with all its multipliers, without the weights of nodes and the weight of J: what other grids can take."""

    primal: Primal
    costate: Array  # (B, N+1, ns)
    end: Array  # (B, r)
    sigma: Array  # (B, N+1, 2 nz + mi)
    multiplier: Array  # (B, N+1, 2 nz + mi)
    known: NDArray[np.bool_]  # (B,) whether the multipliers mean anything

    @classmethod
    def of(cls, arrays: Iterable[NDArray[Any]]) -> Warm:
        """From `arrays`."""
        state, control, *rest = arrays
        return cls(Primal(state, control), *rest)

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """State, control, and the other fields in their order."""
        return (
            self.primal.state, self.primal.control, self.costate, self.end, self.sigma, self.multiplier, self.known,
        )  # fmt: skip

    def rows(self, index: NDArray[np.intp]) -> Warm:
        """These problems of the batch."""
        return Warm.of(value[index] for value in self.arrays)

    def joined(self, other: Warm) -> Warm:
        """These problems, then the others."""
        return Warm.of(map(np.concatenate, zip(self.arrays, other.arrays, strict=True)))


class Rows(Sequence[NewtonInfo]):
    """Rows that are made when somebody reads them."""

    def __init__(self, make: Callable[[], list[NewtonInfo]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> list[NewtonInfo]:
        return self._make()

    def __len__(self) -> int:
        return len(self._made)

    def __getitem__(self, index: Any) -> Any:
        return self._made[index]


#: Fields of a NewtonResult that are (B,).
ARRAYS = ("objective", "iterations", "residual", "violation")


@dataclass(frozen=True)
class NewtonResult:
    """The last point of every problem, and how it ended."""

    warm: Warm
    objective: Array  # (B,) J
    status: list[Status]
    iterations: NDArray[np.int64]  # (B,)
    residual: Array  # (B,) scaled dual infeasibility
    violation: Array  # (B,) scaled primal infeasibility
    worst: list[str]  # the constraint that is violated most, where and when on scaled time; empty where all hold
    history: Sequence[NewtonInfo]

    def rows(self, index: NDArray[np.intp]) -> NewtonResult:
        """These problems of the batch."""
        arrays: dict[str, Any] = {name: getattr(self, name)[index] for name in ARRAYS}
        status, worst = [self.status[i] for i in index], [self.worst[i] for i in index]
        return replace(self, warm=self.warm.rows(index), **arrays, status=status, worst=worst)

    def joined(self, other: NewtonResult) -> NewtonResult:
        """These problems, then the others; the history of those."""
        arrays: dict[str, Any] = {name: np.concatenate((getattr(self, name), getattr(other, name))) for name in ARRAYS}
        status, worst = [*self.status, *other.status], [*self.worst, *other.worst]
        return replace(other, warm=self.warm.joined(other.warm), **arrays, status=status, worst=worst)
