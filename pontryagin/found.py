"""What a search has found on one grid, and some of its problems: picked, joined, taken over from another start."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from pontryagin.guess import Start
from pontryagin.instances import Instances
from pontryagin.newton import NewtonAnswer
from pontryagin.optim import IterationInfo, MethodResult
from pontryagin.records import Level
from pontryagin.status import Status
from pontryagin.time_grid import TimeGrid

#: A violation of the terminal constraints (scaled) up to which a start counts as feasible.
FEASIBLE = 1e-6


@dataclass(frozen=True)
class Found:
    """The answer on one grid, and what led there."""

    grid: TimeGrid
    result: MethodResult
    iterations: Tensor  # (B,) on all grids
    history: tuple[IterationInfo, ...]
    levels: tuple[Level, ...] = ()
    defects: Tensor = field(default_factory=lambda: torch.zeros(0))  # (B,) on this grid, where grids are refined

    def with_others(self, others: Found) -> Found:
        """These problems, then the others, of the same grid."""
        assert isinstance(self.result, NewtonAnswer) and isinstance(others.result, NewtonAnswer)
        iterations = torch.cat((self.iterations, others.iterations))
        return replace(
            self, result=self.result.joined(others.result), iterations=iterations,
            defects=torch.cat((self.defects, others.defects)),
        )  # fmt: skip


def best(result: MethodResult, astray: Tensor, starts: int) -> Tensor:
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


def at_most(result: MethodResult, defects: Tensor) -> Tensor:
    """(B,) the objective with what steps that are too long may have gained; infinite of what is not solved."""
    value = result.objective + defects.to(result.objective) * result.objective.abs()
    solved = torch.tensor([status is Status.CONVERGED for status in result.status], device=value.device)
    return value.nan_to_num(math.inf).masked_fill(~solved, math.inf)


def posed(instances: Instances, result: MethodResult) -> Instances:
    """The problems with what was found for their free initial components and parameters."""
    if not isinstance(result, NewtonAnswer):
        return instances
    return replace(instances, initial_state=result.initial_state, parameters=result.parameters)


def picked(found: Found, rows: Tensor) -> Found:
    result, defects = found.result, found.defects[rows] if len(found.defects) else found.defects
    if isinstance(result, NewtonAnswer):
        return replace(found, result=result.pick(rows), iterations=found.iterations[rows], defects=defects)
    tensors = ("control", "final_time", "multipliers", "penalties", "iterations", "residual", "violation", "objective")
    picked = {name: getattr(result, name)[rows] for name in tensors}
    status = [result.status[i] for i in rows.tolist()]
    return replace(
        found, result=replace(result, **picked, status=status), iterations=found.iterations[rows], defects=defects
    )


def rows_of(start: Start, rows: Tensor) -> Start:
    control = replace(start.control, values=start.control.values[rows])
    multipliers, penalties = (None if v is None else v[rows] for v in (start.multipliers, start.penalties))
    return Start(control, start.final_time[rows], multipliers, penalties)


def joined(some: Found, others: Found, where: Tensor) -> Found:
    """Both in one, `some` at the problems `where` (B,); the history of the others, which goes on from that of these."""
    assert isinstance(some.result, NewtonAnswer) and isinstance(others.result, NewtonAnswer)
    index = torch.argsort(torch.cat((where.nonzero().squeeze(1), (~where).nonzero().squeeze(1))))
    iterations = torch.cat((some.iterations, others.iterations))[index]
    result = some.result.joined(others.result).pick(index)
    return replace(others, result=result, iterations=iterations, history=others.history)


def taken_over(found: Found, again: Found, rows: list[int]) -> Found:
    """With the problems `rows` as they ended in `again`, where that is a solution."""
    assert isinstance(found.result, NewtonAnswer) and isinstance(again.result, NewtonAnswer)
    batch = len(found.result.status)
    better = {b: batch + i for i, b in enumerate(rows) if again.result.status[i] is Status.CONVERGED}
    index = torch.tensor([better.get(b, b) for b in range(batch)], device=found.iterations.device)
    both = torch.cat((found.iterations, again.iterations))
    known = len(found.defects) == batch and len(again.defects) == len(rows)
    defects = torch.cat((found.defects, again.defects))[index] if known else found.defects
    return replace(
        found, result=found.result.joined(again.result).pick(index), iterations=both[index], history=again.history,
        defects=defects,
    )  # fmt: skip
