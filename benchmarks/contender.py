"""One way to compute the answer of a batch: what is timed, what it answers, and what that is checked against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from benchmarks.workloads.in_torch import autograd
from benchmarks.workloads.workload import Answer, Batch, Workload

#: Relative. Rounding in another order, over N steps that swing; float32 has some seven digits to start with.
TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-3}
#: Problems at either end of a batch that are checked: all of a small batch, the first and last pack of a large one.
CHECKED = 32


class NotMeasured(Exception):
    """A contender that there is none of for this batch; the message says why."""


@dataclass(frozen=True)
class Contender:
    name: str
    call: Callable[[], object]
    answer: Callable[[], Answer]
    scheme: str = "rk4"  # the discretisation: what it answers is checked against the same one by autograd
    exact: bool = True  # the gradient is that of the discretisation; otherwise the objective alone is checked


def asserted(contender: Contender, batch: Batch) -> float:
    """The error of a contender against float64 autograd. Raises AssertionError where it is too large."""
    rows = _checked(batch.size)
    reference = _reference(batch.workload, batch.size, batch.dtype, batch.steps, contender.scheme)
    answer = contender.answer().at(rows)
    error = answer.error(reference) if contender.exact else answer.objective_error(reference)
    where = f"{batch.workload.name}, {batch.dtype}, B={batch.size}"
    assert error < TOLERANCE[batch.dtype], f"{contender.name} is wrong by {error:.1e}: {where}"
    return error


def _checked(size: int) -> Tensor:
    rows = torch.arange(size)
    return rows if size <= 2 * CHECKED else torch.cat([rows[:CHECKED], rows[-CHECKED:]])


@lru_cache(maxsize=64)
def _reference(workload: Workload, size: int, dtype: torch.dtype, steps: int, scheme: str) -> Answer:
    return autograd(workload.batch(size, dtype, steps).at(_checked(size)), scheme)
