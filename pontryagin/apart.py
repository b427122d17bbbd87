"""Problems of a batch that do each other no good: solved apart, and brought together again.

A batch has one grid. Where a problem is not solved on it, or needs a finer one than the others, all would pay for it,
and those that are done would be solved again. So such problems go on alone, on grids of their own, and what is still
not solved then begins anew from other starts. The answer is read on all nodes of all grids in the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pontryagin.found import Found, joined, picked, rows_of, taken_over
from pontryagin.guess import Start, random_starts, read_guess
from pontryagin.instances import Instances
from pontryagin.newton_answer import NewtonAnswer
from pontryagin.on_grid import COARSE_NEWTON, FIRST, LARGEST, OnGrid
from pontryagin.records import Level
from pontryagin.status import Status
from pontryagin.time_grid import TimeGrid

#: How Newton's method may end from one start although another one leads to a solution. So many are tried then, and so
#: many times, each with so many iterations.
RETRIED = (Status.INFEASIBLE, Status.NOT_FINITE, Status.STALLED)
RETRIES, TRIES, LIMIT = 8, 3, 300

#: What other starts do not change, or hardly ever.
ENDED = (Status.CONVERGED, Status.UNBOUNDED, Status.NOT_MINIMAL)

#: Points where Newton's method has ended, whatever else is wrong with them.
STATIONARY = (Status.CONVERGED, Status.NOT_MINIMAL, Status.INACCURATE)

#: Times the steps of one problem that the grid may have on which all come together.
TOGETHER = 4

#: Iterations with which an answer that is no solution is moved to another grid.
MOVED = 10

#: Problems that fall behind go on in so many groups at most.
GROUPS = 32

#: Nodes that are closer are one.
SAME = 1e-12


class Apart(OnGrid, ABC):
    """A search that can be divided into several."""

    @abstractmethod
    def _refined(self, found: Found, before: Found | None, start: Start, starts: int, seed: int) -> Found: ...

    @abstractmethod
    def _best_of(
        self, instances: Instances, start: Start, starts: int, before: Found | None, limit: int | None
    ) -> Found: ...

    @abstractmethod
    def _measured(self, found: Found, before: Found | None, refine: bool) -> Found: ...

    @abstractmethod
    def _judged(self, found: Found) -> Found: ...

    @abstractmethod
    def _defects(self, found: Found, instances: Instances) -> Tensor: ...

    @abstractmethod
    def _astray(self, found: Found) -> Tensor: ...

    @abstractmethod
    def _unsound(self, found: Found) -> Tensor: ...

    @abstractmethod
    def _used_up(self, found: Found) -> bool: ...

    def _apart(self, found: Found, before: Found | None, behind: Tensor, start: Start, starts: int, seed: int) -> Found:
        """Each of those on grids of its own, or in groups where they are many, and the others together."""
        rows, kept = behind.nonzero().squeeze(1), (~behind).nonzero().squeeze(1)
        groups = [*([kept] if len(kept) else []), *rows.tensor_split(min(len(rows), GROUPS))]
        parts: list[Found] = []
        history = found.history
        for number, group in enumerate(groups):
            part = replace(picked(found, group), told=history)
            if not self.stop.is_set():
                search = self._of(self.instances.pick(group), apart=number > 0 or not len(kept))
                earlier = None if before is None else picked(before, group)
                part = search._refined(part, earlier, rows_of(start, group), starts, seed)
            else:
                part = replace(part, result=part.result.ended([Status.INTERRUPTED] * len(group)))
            parts.append(part)
            history = part.history
        return self._together(parts, groups)

    def _anew(self, found: Found, seed: int) -> Found:
        """What is not solved begins once more: on a finer grid, from the usual guess and random ones."""
        failed = [b for b, status in enumerate(found.result.status) if status not in ENDED]
        over = self._used_up(found) or self.stop.is_set()
        if not failed or over or not isinstance(found.result, NewtonAnswer):
            return found
        rows = torch.tensor(failed, device=self.instances.device)
        search = self._of(self.instances.pick(rows))
        usual = read_guess(None, search.instances, self.options.kind, TimeGrid.uniform(2 * FIRST))
        again = search._tried(usual, replace(picked(found, rows), levels=()), seed + 1, search._unsound)
        again = search._refined(again, None, usual, 1, seed)
        worse = (*RETRIED, Status.MAX_ITERATIONS)  # than nothing are answers that are not quite right
        solved = torch.tensor(
            [
                new is Status.CONVERGED or (old in worse and new not in worse)
                for old, new in zip(picked(found, rows).result.status, again.result.status, strict=True)
            ]
        )
        if not bool(solved.any()):
            return replace(found, told=again.history)
        better, all_rows = rows[solved], torch.arange(self.instances.batch, device=rows.device)
        others_rows = all_rows[~torch.isin(all_rows, better)]
        parts = [picked(again, solved.nonzero().squeeze(1))]
        if len(others_rows):
            parts.append(replace(picked(found, others_rows), told=again.history))
        return self._together(parts, [better, others_rows])

    def _tried(self, start: Start, before: Found, seed: int, failed: Callable[[Found], Tensor]) -> Found:
        """Solved from this start and random ones, a few at a time until none has `failed`."""
        batch, count = self.instances.batch, RETRIES * TRIES
        everything = random_starts(start, self.instances, count, seed, steady=True)
        rows = torch.arange(batch, device=self.instances.device)
        found: Found | None = None
        last = before  # of these rows, with counts that go on
        for turn in range(TRIES):
            drawn = (rows[:, None] * count + torch.arange(turn * RETRIES, (turn + 1) * RETRIES)).flatten()
            again = self._best_of(self.instances.pick(rows), rows_of(everything, drawn), RETRIES, last, LIMIT)
            found = again if found is None else taken_over(found, again, rows.tolist())
            still = failed(found).to(rows)
            if not len(still) or self._used_up(again) or self.stop.is_set():
                break
            rows, last = still, picked(again, torch.isin(rows, still).nonzero().squeeze(1))
        assert found is not None
        return found

    def _of(self, instances: Instances, apart: bool = False) -> Apart:
        """The search for other problems."""
        search = type(self)(instances, self.options, apart)
        search.clock, search.seconds, search.stop = self.clock, self.seconds, self.stop
        return search

    def _together(self, parts: list[Found], groups: Sequence[Tensor]) -> Found:
        """On one grid."""
        if len(parts) == 1:
            return parts[0]
        solved = [any(status in STATIONARY for status in part.result.status) for part in parts]
        grids = [part.grid for part, good in zip(parts, solved, strict=True) if good] or [parts[0].grid]
        grid = common(grids, TOGETHER * LARGEST)
        whole: Found | None = None
        history = parts[-1].history
        levels = merged([level for part in parts for level in part.levels])
        for part, group in zip(parts, groups, strict=True):
            onto = self._onto(self.instances.pick(group), replace(part, told=history), grid)
            history = onto.history
            whole = onto if whole is None else whole.with_others(onto)
        assert whole is not None
        index = torch.argsort(torch.cat(list(groups)))
        whole = picked(replace(whole, defects=torch.zeros(0)), index)
        whole = replace(whole, told=history, levels=levels)
        return self._judged(self._measured(whole, None, True))

    def _onto(self, instances: Instances, found: Found, grid: TimeGrid) -> Found:
        """What was found, on this grid; what was not solved stays so."""
        if torch.equal(found.grid.nodes, grid.nodes):
            return found
        solved = torch.tensor([status in STATIONARY for status in found.result.status], device=instances.device)
        limit = 1 if self.stop.is_set() else COARSE_NEWTON
        if bool(solved.all()):
            return self._onward(instances, found, grid, limit)
        rows = (~solved).nonzero().squeeze(1)
        some = picked(found, rows)
        moved = self._onward(instances.pick(rows), some, grid, MOVED)
        moved = replace(moved, result=moved.result.ended(some.result.status))
        if not bool(solved.any()):
            return moved
        rows = solved.nonzero().squeeze(1)
        rest = replace(picked(found, rows), told=moved.history)
        return joined(moved, self._onward(instances.pick(rows), rest, grid, limit), ~solved)


def common(grids: Iterable[TimeGrid], largest: int) -> TimeGrid:
    """All nodes of all grids, the finest first; a grid that would make it more than `largest` steps is left out."""
    first, *others = sorted(grids, key=lambda grid: -grid.steps)
    for other in others:
        nodes = torch.cat((first.nodes, other.nodes)).sort().values
        apart = nodes.diff() > SAME
        nodes = torch.cat((nodes[:1], nodes[1:][apart]))
        nodes[-1] = 1.0
        if len(nodes) - 1 <= max(largest, first.steps):
            first = TimeGrid(nodes)
    return first


def merged(levels: Iterable[Level]) -> tuple[Level, ...]:
    """The largest of each number for each grid, coarse ones first."""
    found: dict[int, Level] = {}
    for level in levels:
        known = found.get(level.steps, level)
        found[level.steps] = Level(
            level.steps,
            max(level.iterations, known.iterations),
            float(np.fmax(level.change, known.change)),
            float(np.fmax(level.defect, known.defect)),
        )
    return tuple(found[steps] for steps in sorted(found))
