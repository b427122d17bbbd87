"""One way to compute the gradient of a task: what is timed, what it answers, and what that is checked against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.odenet.in_torch import reference
from benchmarks.odenet.task import Answer, Task

#: Relative: float32 has some seven digits to start with, and sums over the batch and 80 stages.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Contender:
    name: str
    call: Callable[[], object]
    answer: Callable[[], Answer]
    scheme: str = "rk4"  # what it answers is checked against the same one by autograd


def asserted(contender: Contender, problem: Task) -> float:
    """The error of a contender against float64 autograd. Raises AssertionError where it is too large."""
    error = contender.answer().error(reference(problem.shape, problem.size, problem.per_step, contender.scheme))
    where = f"{problem.shape.name}, B={problem.size}"
    assert error < TOLERANCE, f"{contender.name} is wrong by {error:.1e}: {where}"
    return error
