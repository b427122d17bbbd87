"""Operations of a Runge-Kutta step, forward and reverse, counted on numbers that count.

Additions, subtractions, multiplications and divisions are one each, sine and cosine twenty, which is about what their
polynomials take. Nothing is simplified: generated code needs some fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmarks.workloads.workload import rk4

FUNCTION = 20


class Operations(NamedTuple):
    forward: int
    reverse: int


@dataclass
class Tally:
    forward: int = 0
    reverse: int = 0

    def made(self, cost: int, operands: Sequence[Any], products: int) -> Counted:
        """The result of an operation; the way back adds to each operand, after `products` multiplications."""
        self.forward += cost
        for operand in operands:
            if isinstance(operand, Counted):
                self.reverse += products + operand.touched
                operand.touched = True
        return Counted(self)


class Counted:
    """A number of which nothing but its operations is known."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.touched = False  # the first that comes to its adjoint is no addition

    def __add__(self, other: Any) -> Counted:
        return self.tally.made(1, (self, other), 0)

    def __mul__(self, other: Any) -> Counted:
        return self.tally.made(1, (self, other), 1)

    __radd__ = __sub__ = __rsub__ = __add__
    __rmul__ = __truediv__ = __rtruediv__ = __mul__

    def __neg__(self) -> Counted:
        return self.tally.made(0, (self,), 0)

    def function(self) -> Counted:
        return self.tally.made(FUNCTION, (self,), 1)


def of_one_step(rates: Callable[[Sequence[Any]], Sequence[Any]], tally: Tally, size: int) -> Operations:
    """Of RK4 for y' = rates(y), y of `size` components."""
    y = np.array([Counted(tally) for _ in range(size)], dtype=object)
    rk4(lambda z: np.array(rates(z), dtype=object), y, 0.5)
    return Operations(tally.forward, tally.reverse)
