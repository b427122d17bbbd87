"""The search itself: random starts on the first grid, then finer grids until the answer stands still.

On each grid the control of the one before is prolonged, which changes nothing about it as a function of time, and the
multipliers are kept. Refinement ends when, for every problem whose solve is not lost,
    change    of the objective against the grid before, relative
    defect    of states and objective against the re-integration of the control by a method of order 5 on a grid four
              times as fine, relative
are below `accuracy`, or where LARGEST steps are not enough. After Newton's method, which knows costates and multipliers
at all nodes, the steps that cost too much are divided (mesh.py); after the others, all. A batch has one grid, which
suits all its problems. NaN is refined away where it can be: steps that are too long are one of its causes. Problems
whose answer is none of the differential equation begin again on the next grid; where the control turns between nodes,
or H has a lower minimum than its own, they begin with another one there (branches.py).
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pontryagin.answer import Answer
from pontryagin.backend.select import make_backend
from pontryagin.branches import calmer_branches, combed
from pontryagin.control import Control, Kind
from pontryagin.found import Found, at_most, best, joined, picked, posed, rows_of, taken_over
from pontryagin.guess import Start, random_starts, read_guess
from pontryagin.instances import Instances
from pontryagin.mesh import Mesh, divided
from pontryagin.newton import NewtonAnswer, solve_by_newton
from pontryagin.optim import Callback, IterationInfo, MethodResult, MethodSettings, solve_first_order
from pontryagin.optim.newton import NewtonSettings
from pontryagin.pointwise import Points
from pontryagin.progress import Progress
from pontryagin.records import Level
from pontryagin.reintegrate import Flows
from pontryagin.status import Status
from pontryagin.sweep import SweepBackend
from pontryagin.tableau import tableau_named
from pontryagin.time_grid import TimeGrid
from pontryagin.verify import distance, minimum_limit, relative

#: Steps of the first grid where the caller names none.
FIRST = 50

#: No grid of a refinement has more steps.
LARGEST = 1600

#: Iterations on a grid that is not the last: what they leave undone is done on a finer one. Newton's method takes more
#: where steps are so long that it finds ways to gain by their errors.
COARSE, COARSE_NEWTON = 300, 100

#: Steps of the re-integration in one step of the grid.
FINER = 4

#: Part of the accuracy that grids are divided for, so that the next one has it.
SAFETY = 0.25

#: Defect or violation from which a grid's answer is of no use for the next grid.
ASTRAY = 0.1

#: Defect from which it is asked whether the control turns between nodes, and how often at most.
TURNED, TURNS = 1e-3, 8

#: On the first grids, and with so many steps at most, other controls are tried for parts of the time.
EARLY, COMBED = 2, 200

#: Times the accuracy that the defect of an answer may be on the last grid, as in verify().
ALLOWED = 10

#: How Newton's method may end from one start although another one leads to a solution, and so many are tried then; more
#: where none of those does.
RETRIED = (Status.INFEASIBLE, Status.NOT_FINITE, Status.STALLED)
RETRIES = (8, 24)

#: Whose objective says nothing about the grid.
LOST = (Status.NOT_FINITE, Status.INFEASIBLE, Status.UNBOUNDED)


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
    warm: Answer | None = None  # the guess, where it is a solution
    guessed: bool = False  # whether there is one


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many threads for torch's own operations, the ones between sweeps."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Search:
    """The search for B problems."""

    def __init__(self, instances: Instances, options: Options) -> None:
        self.instances, self.options = instances, options
        self.clock = time.perf_counter()
        self.seconds = {"backend": 0.0, "method": 0.0}

    def run(self, start: Start, starts: int, seed: int, refine: bool) -> Found:
        """Solve from each start, keep the best for each problem, and refine where asked. Ctrl-C keeps what there is."""
        coarse = COARSE_NEWTON if self.options.method == "newton" else COARSE
        found = self._begun(self.instances, start, starts, seed, None, coarse if refine else None)
        before: Found | None = None
        complete, turned = not refine, 0
        try:
            while True:
                found = self._measured(found, before, refine)
                if not refine or self._over(found):
                    return found
                finer = self._finer(found)
                if turned < TURNS and self._elsewhere(found):
                    turned += 1
                    calmer = self._calmer(found)
                    if calmer is not None:
                        found = calmer
                        continue
                if finer is not None:
                    again = replace(start, control=start.control.on(finer))
                    before, found = found, self._on_finer(found, again, starts, seed, coarse)
                    complete = False
                elif complete or Status.MAX_ITERATIONS not in found.result.status:
                    return self._judged(found)
                else:  # all the iterations that there are; what they change decides whether this grid is the last
                    found, complete = self._onward(self.instances, found, found.grid, None), True
        except KeyboardInterrupt:
            status = [Status.INTERRUPTED] * self.instances.batch
            return replace(found, result=replace(found.result, status=status))

    def _judged(self, found: Found) -> Found:
        """Problems that converged on a grid that is too coarse for them, or where H is lower for other controls, do not
        count as solved."""
        status = list(found.result.status)
        coarse, high = ~(found.defects <= ALLOWED * self.options.accuracy), self._above_minimum(found)
        for b in (b for b, one in enumerate(status) if one is Status.CONVERGED):
            status[b] = Status.INACCURATE if coarse[b] else Status.NOT_MINIMAL if high[b] else Status.CONVERGED
        return replace(found, result=replace(found.result, status=status))

    def _above_minimum(self, found: Found) -> Tensor:
        """(B,) whether H is above its minimum over U by more than a control of so many pieces can help."""
        functions = self.instances.problem.functions
        decided = functions.path_constraint is not None or functions.integrand is not None  # not by H alone
        if decided or not isinstance(found.result, NewtonAnswer):
            return torch.zeros(self.instances.batch, dtype=torch.bool)
        excess = self._mesh(found.result, found.grid).excess()
        return excess > minimum_limit(found.grid.steps, self.options.accuracy)

    def backend(self, grid: TimeGrid, scheme: str | None = None) -> SweepBackend:
        """The backend on a grid; the same request gives the same object."""
        options, began = self.options, time.perf_counter()
        backend = make_backend(
            self.instances.problem,
            grid,
            control_kind=options.kind,
            scheme=scheme or options.scheme,
            backend=options.backend,
            dtype=self.instances.dtype,
            device=self.instances.device,
            threads=options.threads,
        )
        self.seconds["backend"] += time.perf_counter() - began
        return backend

    def _elsewhere(self, found: Found) -> bool:
        """Whether controls turn between nodes, or have other minima of H that are worth a try."""
        turning = not found.levels[-1].defect < TURNED
        early = len(found.levels) <= EARLY and found.grid.steps <= COMBED
        return turning or (early and bool(self._above_minimum(found).any()))

    def _calmer(self, found: Found) -> Found | None:
        """Problems whose control has other minima of H to take, solved again from those: taken where their controls
        turned between the nodes or where the objective falls. None where there are none."""
        result, grid, problem = found.result, found.grid, self.instances.problem
        if not isinstance(result, NewtonAnswer):
            return None
        instances, rows = posed(self.instances, result), result.control.shape[1]
        arguments = instances.arguments(Control(result.control, self.options.kind, grid), result.final_time)
        data = result.control[..., :0] if arguments.data is None else arguments.data[..., :rows, :]
        points = Points(
            grid.times(problem.t0, result.final_time)[:, :rows].to(result.state),
            result.state[:, :rows],
            result.control,
            instances.parameters[:, None].expand(-1, rows, -1),
            data.expand(instances.batch, rows, -1),
        )
        control = calmer_branches(problem, points, result.costate[:, :rows])
        if control is None:
            return None
        changed = (control != result.control).any(2).any(1).nonzero().squeeze(1)
        turning = not found.levels[-1].defect < TURNED
        guesses = control[changed][:, None] if turning else combed(result.control[changed], control[changed])
        return self._improved(found, changed, guesses)

    def _improved(self, found: Found, rows: Tensor, guesses: Tensor) -> Found | None:
        """Problems `rows` solved again from controls (R, C, K, m), the best of each kept where it is better."""
        count = int(guesses.shape[1])
        many = rows.repeat_interleave(torch.full_like(rows, count))
        start = Start(Control(guesses.flatten(0, 1), self.options.kind, found.grid), found.result.final_time[many])
        instances = self.instances.pick(many)
        again = self._solve(instances, start, picked(found, many), COARSE_NEWTON, fresh=True)
        value, index = at_most(again.result, self._defects(again, instances)).reshape(-1, count).min(1)
        better = value < at_most(found.result, found.defects)[rows]
        chosen = (torch.arange(len(rows), device=rows.device) * count + index)[better]
        return taken_over(found, picked(again, chosen), rows[better].tolist()) if bool(better.any()) else None

    # -- one grid ----------------------------------------------------------------------------------------------------

    def _on_finer(self, found: Found, start: Start, starts: int, seed: int, limit: int) -> Found:
        """From what was found, on the grid of this start; problems that are astray begin again."""
        grid, astray = start.control.grid, self._astray(found)
        if bool(astray.all()):
            return self._begun(self.instances, start, starts, seed, found, limit)
        if not bool(astray.any()):
            return self._onward(self.instances, found, grid, limit)
        lost, kept = (which.nonzero().squeeze(1) for which in (astray, ~astray))
        again = self._begun(self.instances.pick(lost), rows_of(start, lost), starts, seed, picked(found, lost), limit)
        return joined(again, self._onward(self.instances.pick(kept), picked(found, kept), grid, limit), astray)

    def _begun(
        self, instances: Instances, start: Start, starts: int, seed: int, before: Found | None, limit: int | None
    ) -> Found:
        """Solve from guesses. What Newton's method cannot make feasible from one start, random ones may."""
        found = self._best_of(instances, random_starts(start, instances, starts, seed), starts, before, limit)
        if starts > 1 or not isinstance(found.result, NewtonAnswer):
            return found
        for turn, count in enumerate(RETRIES):
            failed = self._failed(found)
            if not failed or self._used_up(found):
                break
            rows = torch.tensor(failed, device=instances.device)
            some = instances.pick(rows)
            usual = read_guess(None, some, self.options.kind, start.control.grid)  # not about a guess that failed
            others = random_starts(usual, some, count, seed + turn, steady=True)
            again = self._best_of(some, others, count, picked(found, rows), COARSE_NEWTON)
            found = taken_over(found, again, failed)
        return found

    @staticmethod
    def _failed(found: Found) -> list[int]:
        far = (found.result.violation > ASTRAY).tolist()
        return [
            b
            for b, status in enumerate(found.result.status)
            if status in RETRIED or (status is Status.MAX_ITERATIONS and far[b])
        ]

    def _best_of(
        self, instances: Instances, start: Start, starts: int, before: Found | None, limit: int | None
    ) -> Found:
        """Solve from all starts in one batch, then keep one for each problem."""
        if starts == 1:
            return self._solve(instances, start, before, limit, fresh=True)
        rows = torch.arange(instances.batch, device=instances.device).repeat_interleave(starts)
        many = None if before is None else picked(before, rows)
        found = self._solve(instances.pick(rows), start, many, limit, fresh=True)
        return picked(found, best(found.result, instances.batch, starts))

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
            guess=options.warm,
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
        self, grid: TimeGrid, result: MethodResult, before: Found | None, history: tuple[IterationInfo, ...]
    ) -> Found:
        """With counts over all grids."""
        shift = self._shift(history)
        iterations = result.iterations if before is None else before.iterations + result.iterations
        return Found(
            grid, result, iterations, history + tuple(shift(row) for row in result.history),
            () if before is None else before.levels,
        )  # fmt: skip

    def _shift(self, history: tuple[IterationInfo, ...]) -> Callable[[IterationInfo], IterationInfo]:
        """Counts that go on from those of the grids before."""
        if not history:
            return lambda row: row
        last = history[-1]
        return lambda row: replace(
            row,
            iteration=row.iteration + last.iteration,
            sweeps=row.sweeps + last.sweeps,
            seconds=row.seconds + last.seconds,
        )

    def _told(self, history: tuple[IterationInfo, ...]) -> Callback:
        """The callback of a method: the caller's and the progress, with counts over all grids."""
        shift, options = self._shift(history), self.options

        def told(row: IterationInfo) -> bool:
            row = shift(row)
            if options.progress:
                options.progress.iteration(row)
            return bool(options.callback and options.callback(row))

        return told

    # -- from grid to grid -------------------------------------------------------------------------------------------

    def _defects(self, found: Found, instances: Instances) -> Tensor:
        result, fine = found.result, found.grid.refine(FINER)
        control = Control(result.control, self.options.kind, found.grid)
        instances = posed(instances, result)
        coarse, other = (
            self.backend(c.grid, s).evaluate(
                instances.arguments(c, result.final_time), {"state", "objective"}
            )
            for c, s in ((control, None), (control.on(fine), self._other_scheme))
        )  # fmt: skip
        assert coarse.state is not None and other.state is not None
        assert coarse.objective is not None and other.objective is not None
        states = distance(coarse.state, other.state[:, ::FINER])
        return torch.maximum(states, relative(coarse.objective, other.objective))

    def _largest(self, values: Tensor, found: Found) -> float:
        """Over the problems that are heard; infinite where there are none, and for NaN."""
        return max(values[self._heard(found)].nan_to_num(math.inf).tolist(), default=math.inf)

    def _heard(self, found: Found) -> Tensor:
        """(B,) whose answers say where the grid is too coarse: of those that are not lost the ones that Newton's method
        has finished with, where there are any. Losses of the others lie all over the horizon."""
        device = found.iterations.device
        kept = torch.tensor([status not in LOST for status in found.result.status], device=device)
        if not isinstance(found.result, NewtonAnswer):
            return kept
        under_way = torch.tensor([one is Status.MAX_ITERATIONS for one in found.result.status], device=device)
        if len(found.defects):
            under_way &= found.defects < ASTRAY
        return kept & ~under_way if bool((kept & ~under_way).any()) else kept

    def _measured(self, found: Found, before: Found | None, refine: bool) -> Found:
        """With the level of its grid, in place of an earlier one of the same grid."""
        change = defect = math.nan
        if before is not None:
            change = self._largest(relative(before.result.objective, found.result.objective), found)
        if refine:
            found = replace(found, defects=self._defects(found, self.instances))
            defect = self._largest(found.defects, found)
        levels = tuple(level for level in found.levels if level.steps != found.grid.steps)
        iterations = int(found.iterations.max()) - sum(level.iterations for level in levels)
        return replace(found, levels=(*levels, Level(found.grid.steps, iterations, change, defect)))

    def _finer(self, found: Found) -> TimeGrid | None:
        """The next grid, or None where this one is accurate or there is no next one."""
        level, accuracy = found.levels[-1], self.options.accuracy
        accurate = level.change < accuracy and level.defect < accuracy
        if not isinstance(found.result, NewtonAnswer) or not math.isfinite(level.defect):
            return found.grid.refine(2) if not accurate and 2 * found.grid.steps <= LARGEST else None
        mesh, heard = self._mesh(found.result, found.grid), self._heard(found)
        shares = torch.zeros(found.grid.steps, dtype=torch.float64)
        if not level.change < accuracy and self.instances.problem.functions.integrand is None:
            objective = found.result.objective.double().abs().clamp(min=1e-3)[:, None]
            shares = torch.fmax(shares, (mesh.losses() / objective)[heard].amax(0))
        if not level.defect < accuracy:  # of which growth on the way is a part
            local = mesh.defects()[heard]
            shares = torch.fmax(shares, (local / local.sum(1, keepdim=True)).amax(0) * level.defect)
        shares = shares * found.grid.steps / (SAFETY * accuracy)
        shares = torch.fmax(shares, mesh.jumps()[heard].amax(0) ** 2 / accuracy)
        return None if accurate and bool((shares <= 1).all()) else divided(found.grid, shares, LARGEST)

    def _mesh(self, result: NewtonAnswer, grid: TimeGrid) -> Mesh:
        control = Control(result.control.double(), self.options.kind, grid)
        instances, time = (
            posed(self.instances, result).double(),
            grid.times(self.instances.problem.t0, result.final_time.double()),
        )
        flows = Flows(instances, control, time, tableau_named(self._other_scheme), 1)
        return Mesh(instances, result, flows, grid, self.backend(grid))

    @property
    def _other_scheme(self) -> str:
        """A method of order 5 that is not that of the solve."""
        return "tsitouras" if self.options.scheme == "dormand_prince" else "dormand_prince"

    def _astray(self, found: Found) -> Tensor:
        """(B,) whether Newton's answer is none of the differential equation, but one of steps that are far too long."""
        lost = torch.tensor([status in LOST for status in found.result.status], device=found.defects.device)
        newton = isinstance(found.result, NewtonAnswer)
        return ~(found.defects < ASTRAY) & ~lost if newton else torch.zeros_like(lost)

    def _over(self, found: Found) -> bool:
        """Whether no finer grid can help, or nobody wants one."""
        status = found.result.status
        return (
            Status.INTERRUPTED in status
            or all(one in (Status.INFEASIBLE, Status.UNBOUNDED) for one in status)
            or self._used_up(found)
        )

    def _used_up(self, found: Found) -> bool:
        limit = self.options.max_iterations
        return limit is not None and int(found.iterations.max()) >= limit


def first_grid(steps: int | None, guess_grid: TimeGrid | None) -> TimeGrid:
    """The grid to begin with: `steps` equal ones, or FIRST; with a warm start, half the steps of its grid, so that the
    first refinement comes back to it."""
    if steps is not None:
        return TimeGrid.uniform(steps)
    if guess_grid is not None and guess_grid.steps % 2 == 0 and FIRST < guess_grid.steps <= LARGEST:
        return TimeGrid(guess_grid.nodes[::2])
    return TimeGrid.uniform(FIRST)
