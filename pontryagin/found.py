"""What a search has found on one grid, and some of its problems: picked, joined, taken over from another start."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pontryagin.guess import Start
from pontryagin.instances import Instances
from pontryagin.newton_answer import NewtonAnswer
from pontryagin.optim import IterationInfo, MethodResult
from pontryagin.records import Level
from pontryagin.status import Status
from pontryagin.time_grid import TimeGrid

#: A violation of the terminal constraints (scaled) up to which a start counts as feasible.
FEASIBLE = 1e-6


NONE = torch.zeros(0)


@dataclass(frozen=True)
class Found:
    """The answer on one grid, and what led there."""

    grid: TimeGrid
    result: MethodResult | NewtonAnswer
    iterations: NDArray[np.int64]  # (B,) on all grids
    earlier: tuple[IterationInfo, ...] = ()  # on the grids before
    levels: tuple[Level, ...] = ()
    defects: Tensor = NONE  # (B,) on this grid, where grids are refined
    told: tuple[IterationInfo, ...] | None = None  # the whole history, where it ends with that of others

    @property
    def history(self) -> tuple[IterationInfo, ...]:
        """On all grids, with counts that go on."""
        if self.told is not None:
            return self.told
        return (*self.earlier, *map(going_on(self.earlier), self.result.history))

    def with_others(self, others: Found) -> Found:
        """These problems, then the others, of the same grid."""
        assert isinstance(self.result, NewtonAnswer) and isinstance(others.result, NewtonAnswer)
        iterations = np.concatenate((self.iterations, others.iterations))
        return replace(
            self, result=self.result.joined(others.result), iterations=iterations, told=self.history,
            defects=torch.cat((self.defects, others.defects)),
        )  # fmt: skip


def going_on(earlier: Sequence[IterationInfo]) -> Callable[[IterationInfo], IterationInfo]:
    """Makes counts go on from those of the grids before."""
    if not earlier:
        return lambda row: row
    last = earlier[-1]
    return lambda row: replace(
        row,
        iteration=row.iteration + last.iteration,
        sweeps=row.sweeps + last.sweeps,
        seconds=row.seconds + last.seconds,
    )


def best(result: MethodResult | NewtonAnswer, astray: Tensor, starts: int) -> Tensor:
    """Row of the best start for each problem (B,): solved before feasible before the rest, then the lowest objective.

    Among starts that are not feasible the smallest violation counts. What is astray, an answer of steps that are too
    long, counts as not solved: it may have any objective.
    """
    batch = len(result.status) // starts
    solved = torch.tensor([status in (Status.CONVERGED, Status.STALLED) for status in result.status])
    lost = torch.tensor([status is Status.NOT_FINITE for status in result.status])
    violation = result.violation.double().cpu().nan_to_num(math.inf)
    objective = result.objective.double().cpu().nan_to_num(math.inf)
    feasible = (violation <= FEASIBLE) & ~lost
    sound = solved & ~astray.cpu()
    rows = []
    for b in range(batch):
        own = range(b * starts, (b + 1) * starts)

        def rank(i: int) -> tuple[bool, bool, bool, float]:
            size = objective if feasible[i] else violation
            return not bool(feasible[i]), not bool(sound[i]), not bool(solved[i]), float(size[i])

        rows.append(min(own, key=rank))
    return torch.tensor(rows, device=result.objective.device)


def at_most(result: MethodResult | NewtonAnswer, defects: Tensor) -> Tensor:
    """(B,) the objective with what steps that are too long may have gained; infinite of what is not solved."""
    value = result.objective + defects.to(result.objective) * result.objective.abs()
    solved = torch.tensor([status is Status.CONVERGED for status in result.status], device=value.device)
    return value.nan_to_num(math.inf).masked_fill(~solved, math.inf)


def posed(instances: Instances, result: MethodResult | NewtonAnswer) -> Instances:
    """The problems with what was found for their free initial components and parameters."""
    if not isinstance(result, NewtonAnswer):
        return instances
    return replace(instances, initial_state=result.initial_state, parameters=result.parameters)


def counts_of(result: MethodResult | NewtonAnswer) -> NDArray[np.int64]:
    """The iterations of a result."""
    if isinstance(result, NewtonAnswer):
        return result.found.iterations
    counts: NDArray[np.int64] = result.iterations.numpy(force=True)
    return counts


def picked(found: Found, rows: Tensor) -> Found:
    result, defects = found.result, found.defects[rows] if len(found.defects) else found.defects
    iterations = found.iterations[rows.numpy(force=True)]
    if isinstance(result, NewtonAnswer):
        return replace(found, result=result.pick(rows), iterations=iterations, defects=defects)
    tensors = ("control", "final_time", "multipliers", "penalties", "iterations", "residual", "violation", "objective")
    picked = {name: getattr(result, name)[rows] for name in tensors}
    status = [result.status[i] for i in rows.tolist()]
    return replace(found, result=replace(result, **picked, status=status), iterations=iterations, defects=defects)


def rows_of(start: Start, rows: Tensor) -> Start:
    control = replace(start.control, values=start.control.values[rows])
    multipliers, penalties = (None if v is None else v[rows] for v in (start.multipliers, start.penalties))
    return Start(control, start.final_time[rows], multipliers, penalties, start.origin and start.origin.picked(rows))


def joined(some: Found, others: Found, where: Tensor) -> Found:
    """Both in one, `some` at the problems `where` (B,); the history of the others, which goes on from that of these."""
    assert isinstance(some.result, NewtonAnswer) and isinstance(others.result, NewtonAnswer)
    index = torch.argsort(torch.cat((where.nonzero().squeeze(1), (~where).nonzero().squeeze(1))))
    iterations = np.concatenate((some.iterations, others.iterations))[index.numpy(force=True)]
    result = some.result.joined(others.result).pick(index)
    return replace(others, result=result, iterations=iterations)


def taken_over(found: Found, again: Found, rows: list[int]) -> Found:
    """With the problems `rows` as they ended in `again`, where that is a solution."""
    assert isinstance(found.result, NewtonAnswer) and isinstance(again.result, NewtonAnswer)
    batch = len(found.result.status)
    better = {b: batch + i for i, b in enumerate(rows) if again.result.status[i] is Status.CONVERGED}
    index = torch.tensor([better.get(b, b) for b in range(batch)])
    iterations = np.concatenate((found.iterations, again.iterations))[index.numpy()]
    known = len(found.defects) == batch and len(again.defects) == len(rows)
    defects = torch.cat((found.defects, again.defects))[index.to(found.defects.device)] if known else found.defects
    return replace(
        found, result=found.result.joined(again.result).pick(index), iterations=iterations, defects=defects,
        earlier=again.earlier, told=again.told,
    )  # fmt: skip
