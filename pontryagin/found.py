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

    @property
    def history(self) -> tuple[IterationInfo, ...]:
        """On all grids, with counts that go on."""
        return (*self.earlier, *map(going_on(self.earlier), self.result.history))


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


def best(result: MethodResult | NewtonAnswer, batch: int, starts: int) -> Tensor:
    """Row of the best start for each problem (B,): solved before feasible before the rest, then the lowest objective.

    Among starts that are not feasible the smallest violation counts.
    """
    solved = torch.tensor([status in (Status.CONVERGED, Status.STALLED) for status in result.status])
    lost = torch.tensor([status is Status.NOT_FINITE for status in result.status])
    violation = result.violation.double().cpu().nan_to_num(math.inf)
    objective = result.objective.double().cpu().nan_to_num(math.inf)
    feasible = (violation <= FEASIBLE) & ~lost
    rows = []
    for b in range(batch):
        own = range(b * starts, (b + 1) * starts)
        rows.append(
            min(
                own, key=lambda i: (not feasible[i], not solved[i], float((objective if feasible[i] else violation)[i]))
            )
        )
    return torch.tensor(rows, device=result.objective.device)


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
    return Start(control, start.final_time[rows], multipliers, penalties)


def joined(some: Found, others: Found, where: Tensor) -> Found:
    """Both in one, `some` at the problems `where` (B,)."""
    assert isinstance(some.result, NewtonAnswer) and isinstance(others.result, NewtonAnswer)
    index = torch.argsort(torch.cat((where.nonzero().squeeze(1), (~where).nonzero().squeeze(1))))
    iterations = np.concatenate((some.iterations, others.iterations))[index.numpy(force=True)]
    result = some.result.joined(others.result).pick(index)
    return replace(others, result=result, iterations=iterations, earlier=some.history)


def taken_over(found: Found, again: Found, rows: list[int]) -> Found:
    """With the problems `rows` as they ended in `again`, where that is a solution."""
    assert isinstance(found.result, NewtonAnswer) and isinstance(again.result, NewtonAnswer)
    batch = len(found.result.status)
    better = {b: batch + i for i, b in enumerate(rows) if again.result.status[i] is Status.CONVERGED}
    index = torch.tensor([better.get(b, b) for b in range(batch)])
    iterations = np.concatenate((found.iterations, again.iterations))[index.numpy()]
    return replace(
        found, result=found.result.joined(again.result).pick(index), iterations=iterations, earlier=again.earlier
    )
