"""One grid of a search: solved from a start or from what was found on the grid before, by whichever method."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from threading import Event

import torch

from pontryagin.backend.select import make_backend
from pontryagin.control import Control, Kind
from pontryagin.found import Found, counts_of, going_on
from pontryagin.guess import Start
from pontryagin.instances import Instances
from pontryagin.newton import solve_by_newton
from pontryagin.newton_answer import NewtonAnswer
from pontryagin.optim import Callback, IterationInfo, MethodResult, MethodSettings, solve_first_order
from pontryagin.optim.newton import NewtonSettings
from pontryagin.progress import Progress
from pontryagin.status import Status
from pontryagin.sweep import SweepBackend
from pontryagin.time_grid import TimeGrid

#: Steps of the first grid where the caller names none.
FIRST = 50

#: No grid of a refinement has more steps.
LARGEST = 1600

#: Iterations of Newton's method on a grid that is not the last: it takes more where steps are so long that it finds
#: ways to gain by their errors.
COARSE_NEWTON = 100

#: Products with no more numbers than this in the control are made on one thread: they are over before others have
#: started, and where other programs keep the cores busy torch's threads wait for each other at every one of them.
ONE_THREAD = 50_000


@dataclass(frozen=True)
class Options:
    """How to solve: the checked keywords of `solve`."""

    method: str
    kind: Kind
    scheme: str
    backend: str
    tolerance: float
    accuracy: float
    max_iterations: int | None
    threads: int | None
    callback: Callback | None
    progress: Progress | None
    guessed: bool = False  # whether there is a guess


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many threads for torch's own operations, the ones between sweeps."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class OnGrid:
    """Solves of B problems on one grid after the other."""

    def __init__(self, instances: Instances, options: Options, apart: bool = False) -> None:
        self.instances, self.options = instances, options
        self.apart = apart  # one of the groups that others were divided into
        self.clock = time.perf_counter()
        self.seconds = {"backend": 0.0, "method": 0.0}
        self.stop = Event()  # set once somebody has stopped one of the solves

    def backend(self, grid: TimeGrid, scheme: str | None = None) -> SweepBackend:
        """The backend on a grid; the same request gives the same object."""
        began = time.perf_counter()
        backend = self.backend_on(grid, scheme)()
        self.seconds["backend"] += time.perf_counter() - began
        return backend

    def backend_on(self, grid: TimeGrid, scheme: str | None = None) -> Callable[[], SweepBackend]:
        """What makes it, or finds it made."""
        options = self.options
        return partial(
            make_backend,
            self.instances.problem,
            grid,
            control_kind=options.kind,
            scheme=scheme or options.scheme,
            backend=options.backend,
            dtype=self.instances.dtype,
            device=self.instances.device,
            threads=options.threads,
        )

    def _onward(self, instances: Instances, found: Found, grid: TimeGrid, limit: int | None) -> Found:
        """Solve on this grid from what was found, with at most `limit` iterations."""
        result = found.result
        if isinstance(result, NewtonAnswer):
            start = Start(Control(result.control, self.options.kind, found.grid).on(grid), result.final_time)
            return self._solve(instances, start, found, limit)
        control = Control(result.control, self.options.kind, found.grid).on(grid)
        lost = torch.tensor([status is Status.NOT_FINITE for status in result.status], device=instances.device)
        multipliers, penalties = (
            value.masked_fill(lost[:, None], 0.0) for value in (result.multipliers, result.penalties)
        )
        return self._solve(instances, Start(control, result.final_time, multipliers, penalties), found, limit)

    def _solve(
        self, instances: Instances, start: Start, before: Found | None, limit: int | None, fresh: bool = False
    ) -> Found:
        """Solve from this start; `fresh` leaves the points of the grid `before` alone, not its counts."""
        options, problem, grid = self.options, instances.problem, start.control.grid
        used = 0 if before is None else int(before.iterations.max())
        history = () if before is None else before.history
        limits = [] if limit is None else [limit]
        if options.max_iterations is not None:
            limits.append(max(1, options.max_iterations - used))
        if options.progress:
            options.progress.grid(grid.steps, instances.batch)
        if options.method == "newton":
            return self._newton(instances, start, before, history, min(limits) if limits else None, fresh)
        backend, began = self.backend(grid), time.perf_counter()
        small = backend.name != "torch" and start.control.values.numel() <= ONE_THREAD
        with torch_threads(1) if small else contextlib.nullcontext():
            result = solve_first_order(
                backend,
                problem.control_set,
                grid.basis_mass(options.kind),
                instances.arguments(start.control, start.final_time, start.multipliers, start.penalties),
                t0=problem.t0,
                final_time_bounds=None if problem.free_final_time is None else problem.free_final_time[1:],
                equality_count=problem.equality_count,
                method=options.method,
                settings=MethodSettings(
                    tolerance=options.tolerance,
                    max_iterations=min(limits) if limits else None,
                ),
                callback=self._told(history),
            )
        self.seconds["method"] += time.perf_counter() - began
        return self._found(grid, result, before, history)

    def _newton(
        self,
        instances: Instances,
        start: Start,
        before: Found | None,
        history: tuple[IterationInfo, ...],
        limit: int | None,
        fresh: bool,
    ) -> Found:
        """The same by Newton's method, whose points hold more than a control."""
        options, began = self.options, time.perf_counter()
        known = None if before is None or fresh else before.result
        result = solve_by_newton(
            instances,
            start,
            (known, before.grid) if before is not None and isinstance(known, NewtonAnswer) else None,
            scheme=options.scheme,
            meant=options.guessed,
            settings=NewtonSettings(
                tolerance=options.tolerance, max_iterations=NewtonSettings.max_iterations if limit is None else limit
            ),
            callback=self._told(history) if options.callback or options.progress else None,
            backend=options.backend,
            threads=options.threads or torch.get_num_threads(),
        )
        self.seconds["method"] += time.perf_counter() - began
        return self._found(start.control.grid, result, before, history)

    def _found(
        self,
        grid: TimeGrid,
        result: MethodResult | NewtonAnswer,
        before: Found | None,
        history: tuple[IterationInfo, ...],
    ) -> Found:
        """With counts over all grids."""
        if Status.INTERRUPTED in result.status:
            self.stop.set()
        if before is None:
            return Found(grid, result, counts_of(result))
        return Found(grid, result, before.iterations + counts_of(result), history, before.levels)

    def _told(self, history: tuple[IterationInfo, ...]) -> Callback:
        """The callback of a method: the caller's and the progress, with counts over all grids."""
        shift, options = going_on(history), self.options

        def told(row: IterationInfo) -> bool:
            row = shift(row)
            if options.progress:
                options.progress.iteration(row)
            return self.stop.is_set() or bool(options.callback and options.callback(row))

        return told
