"""A batch of Newton's method on its way on a GPU.

The memory of a problem on its way is a place. There are as many places as there is room for; between launches, problems
that have ended give theirs to those that wait, and then the list of places that still run becomes shorter, so that
threads side by side all have something to do. The length of that list is all that the host waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pontryagin.backend.cuda_newton_job import (
    GIVE_UP,
    ITERATE,
    MEASURE,
    ROW,
    NewtonBatch,
    NewtonJob,
    NewtonProblem,
    NewtonSettings,
)
from pontryagin.backend.cuda_sweep import Device

#: Iterations of one launch. Short, so that warps are full of problems that still run and Ctrl-C is heard.
ITERATIONS = 4

#: Neighbouring threads, whose numbers lie side by side: group_threads of csrc/include/pontryagin/device_columns.hpp.
GROUP = 32

Told = Callable[[tuple[float, ...]], bool]


class Launches:
    """A batch on its way."""

    compact = True  # whether the list of places becomes shorter

    def __init__(
        self, on: Device, kernel: Any, problem: NewtonProblem, batch: NewtonBatch, settings: NewtonSettings
    ) -> None:
        self._on, self._kernel, self._size = on, kernel, int(batch.batch)
        self._job = NewtonJob(problem=problem, settings=settings, batch=batch)
        self._group_rows, self._own_bytes = self._measured()
        self.places = places_for(self._size, self.bytes_each, self._on.room)
        groups = -(-self.places // GROUP)
        self._rows = self._empty(groups * GROUP * self._group_rows, torch.float64)
        self._own = self._empty(self.places * self._own_bytes, torch.uint8)
        self._starts = torch.full((self.places,), -1, dtype=torch.int64, device=self._on.memory)
        self._told = self._starts.clone()
        self._next = 0  # the first problem that has no place yet
        self.history = History(settings.max_iterations, self._on.memory)

    @property
    def bytes_each(self) -> int:
        """Memory of one problem on its way."""
        return 8 * self._group_rows + self._own_bytes

    def each(self, verb: int, **given: float) -> None:
        """A verb that is done with a problem at once."""
        for name, value in given.items():
            setattr(self._job, name, value)
        while self._next < self._size:
            place = torch.arange(min(self.places, self._size - self._next), device=self._on.memory)
            self._seat(place)
            self._launch(verb, place)

    def solve(self, told: Told | None) -> bool:
        """False if it was interrupted; what still ran has been written as it stood."""
        place = torch.arange(self.places, device=self._on.memory)
        self._seat(place)
        known = 0
        iterations = ITERATIONS if told is None else 1
        try:
            while len(place):
                self._iterate(place, iterations)
                running = self._told[place] >= 0
                if self._next < self._size:
                    free = place[~running][: self._size - self._next]
                    self._seat(free)
                    running = running | (self._starts[place] >= 0)
                place = place[running] if self.compact or not bool(running.any()) else place
                for row in self.history.rows()[known : self._complete(place)] if told is not None else ():
                    known += 1
                    if told is not None and told(row):
                        self._launch(GIVE_UP, place)
                        return False
        except KeyboardInterrupt:
            self._launch(GIVE_UP, place)
            return False
        return True

    def _seat(self, place: Tensor) -> None:
        """Gives these places to the next problems."""
        self._starts[place] = torch.arange(self._next, self._next + len(place), device=self._on.memory)
        self._next += len(place)

    def _complete(self, place: Tensor) -> int:
        """Rows of the history that no problem will add to."""
        if self._next < self._size:
            return 0
        return int(self._told[place].clamp(min=0).min()) if len(place) else self._job.settings.max_iterations

    def _iterate(self, place: Tensor, iterations: int) -> None:
        first = self._told[place].clamp(min=0)
        rows = self._empty(len(place) * iterations * ROW, torch.float64)
        self._job.iterations, self._job.history = iterations, rows.data_ptr()
        self._launch(ITERATE, place)
        self.history.add(first, rows.view(len(place), iterations, ROW))

    def _launch(self, verb: int, place: Tensor) -> None:
        job = self._job
        job.verb, job.threads, job.place = verb, len(place), place.data_ptr()
        job.rows, job.own = self._rows.data_ptr(), self._own.data_ptr()
        job.starts, job.told = self._starts.data_ptr(), self._told.data_ptr()
        self._on.launch(self._kernel, len(place), job)

    def _measured(self) -> tuple[int, int]:
        """Rows of columns, and bytes beside them, of a thread."""
        sizes = torch.zeros(2, dtype=torch.int64, device=self._on.memory)
        self._job.verb, self._job.sizes = MEASURE, sizes.data_ptr()
        self._on.launch(self._kernel, 1, self._job)
        self._job.group_rows, self._job.own_bytes = sizes.tolist()
        return self._job.group_rows, self._job.own_bytes

    def _empty(self, count: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(count, dtype=dtype, device=self._on.memory)


def places_for(problems: int, bytes_each: int, room: int) -> int:
    """Problems on their way at a time: all that fit into the room, whole groups where that is not all of them."""
    fit = room // max(bytes_each, 1) // GROUP * GROUP
    return min(problems, max(fit, GROUP))


class History:
    """The table of iterations over all problems: NewtonRow of csrc/include/pontryagin/newton_problem.hpp."""

    def __init__(self, most: int, memory: torch.device) -> None:
        self._table = torch.zeros(max(most, 1), ROW, dtype=torch.float64, device=memory)
        self._table[:, 6] = 1.0  # the shortest step

    def add(self, first: Tensor, rows: Tensor) -> None:
        """Rows (T, K, 8) of threads; those of a thread begin at iteration first (T,). Nobody's rows change nothing."""
        index = (first[:, None] + torch.arange(rows.shape[1], device=rows.device)).reshape(-1)
        index, rows = index.clamp(max=len(self._table) - 1), rows.reshape(-1, ROW)
        sums = self._table[:, :2].contiguous()
        self._table[:, :2] = sums.index_put_((index,), rows[:, :2], accumulate=True)  # in one order on any device
        for column, how in ((2, "amax"), (3, "amax"), (4, "amax"), (5, "amax"), (6, "amin"), (7, "amax")):
            self._table[:, column] = self._table[:, column].scatter_reduce(0, index, rows[:, column], how)

    def rows(self) -> list[tuple[float, ...]]:
        """Those that some problem has come to."""
        table = self._table.cpu()
        count = int((table[:, 0] > 0).sum())
        return [tuple(row) for row in table[:count].tolist()]
