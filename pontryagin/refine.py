"""The search itself: random starts on the first grid, then finer grids until the answer stands still.

On each grid the control of the one before is prolonged, which changes nothing about it as a function of time, and the
multipliers are kept. Refinement ends when, for every problem whose solve is not lost,
    change    of the objective against the grid before, relative
    defect    of states and objective against the re-integration of the control by a method of order 5 on a grid four
              times as fine, relative
are below `accuracy`, or where the next grid would have more than LARGEST steps. After Newton's method, which knows
costates and multipliers at all nodes, the steps that cost too much are divided (mesh.py); after the others, all. A
batch has one grid, which suits all its problems. NaN is refined away where it can be: steps that are too long are one
of its causes. Problems whose answer is none of the differential equation begin again on the next grid; where the defect
comes from a control that turns between nodes, they begin with another minimum of H there (branches.py).
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pontryagin.answer import Answer
from pontryagin.backend.select import make_backend
from pontryagin.branches import calmer_branches
from pontryagin.control import Control, Kind
from pontryagin.found import Found, best, joined, picked, posed, rows_of, taken_over
from pontryagin.gather import common, merged
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
from pontryagin.verify import distance, mesh_limit, relative

#: Steps of the first grid where the caller names none.
FIRST = 50

#: No grid of a refinement has more steps.
LARGEST = 1600

#: No refinement has more grids.
LEVELS = 20

#: Iterations on a grid that is not the last: what they leave undone is done on a finer one. Newton's method takes more
#: where steps are so long that it finds ways to gain by their errors.
COARSE, COARSE_NEWTON = 300, 100

#: Steps of the re-integration in one step of the grid.
FINER = 4

#: Part of the accuracy that grids are divided for, so that the next one has it.
SAFETY = 0.25

#: Defect or violation from which a grid's answer is of no use for the next grid.
ASTRAY = 0.1

#: Steps from which an answer that is still of no use is given up.
HOPELESS = 4 * FIRST

#: Violation with which an answer counts as such a one, where the iterations of a grid were not enough.
FAR = 1e-4

#: Defect from which it is asked whether the control turns between nodes, and how often at most.
TURNED, TURNS = 1e-3, 4

#: From the third grid on that is asked of everything that is not accurate.
LATE = 3

#: Problems that fall behind go on in so many groups at most.
GROUPS = 32

#: What counts of the same error of costates, which verify() allows to be a hundred times as large.
COSTATES = 0.1

#: Times the accuracy that the defect of an answer may be on the last grid, as in verify().
ALLOWED = 10

#: How Newton's method may end from one start although another one leads to a solution, and so many are tried then; more
#: where none of those does.
RETRIED = (Status.INFEASIBLE, Status.NOT_FINITE, Status.STALLED)
RETRIES, TRIES, LIMIT = 8, 3, 300

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

    def __init__(self, instances: Instances, options: Options, apart: bool = False) -> None:
        self.instances, self.options = instances, options
        self.apart = apart  # one of the groups that others were divided into
        self.clock = time.perf_counter()
        self.seconds = {"backend": 0.0, "method": 0.0}

    def run(self, start: Start, starts: int, seed: int, refine: bool) -> Found:
        """Solve from each start, keep the best for each problem, and refine where asked. Ctrl-C keeps what there is."""
        found = self._begun(self.instances, start, starts, seed, None, self._coarse if refine else None)
        if not refine:
            return self._measured(found, None, refine)
        found = self._refined(found, None, start, starts, seed)
        return found if starts > 1 else self._anew(found, seed)

    @property
    def _coarse(self) -> int:
        return COARSE_NEWTON if self.options.method == "newton" else COARSE

    def _refined(self, found: Found, before: Found | None, start: Start, starts: int, seed: int) -> Found:
        """On finer grids until the accuracy holds; problems that fall behind go on alone."""
        coarse, complete, turned = self._coarse, False, 0
        try:
            while True:
                found = self._measured(found, before, True)
                if self._over(found):
                    return self._judged(found)
                behind = self._behind(found)
                if bool(behind.any()):
                    return self._apart(found, before, behind, start, starts, seed)
                finer = self._finer(found)
                if turned < TURNS:
                    calmer = self._calmer(found)
                    if calmer is not None:
                        found, turned = calmer, turned + 1
                        continue
                if finer is not None:
                    again = replace(start, control=start.control.on(finer))
                    before, found = found, self._on_finer(found, again, starts, seed, coarse)
                    complete, turned = False, 0
                elif complete or Status.MAX_ITERATIONS not in found.result.status:
                    return self._judged(found)
                else:  # all the iterations that there are; what they change decides whether this grid is the last
                    found, complete = self._onward(self.instances, found, found.grid, None), True
        except KeyboardInterrupt:
            status = [Status.INTERRUPTED] * self.instances.batch
            return replace(found, result=replace(found.result, status=status))

    # -- one by one --------------------------------------------------------------------------------------------------

    def _behind(self, found: Found) -> Tensor:
        """(B,) problems whose next grid would do the others no good; none where there are no others."""
        if self.apart or self.instances.batch == 1 or not isinstance(found.result, NewtonAnswer):
            return torch.zeros(self.instances.batch, dtype=torch.bool)
        grids = len(found.levels)
        limit = ASTRAY if grids == 1 else TURNED if grids < LATE else ALLOWED * self.options.accuracy
        unsolved = torch.tensor([status is not Status.CONVERGED for status in found.result.status])
        return unsolved | ~(found.defects < limit).cpu()

    def _apart(
        self, found: Found, before: Found | None, behind: Tensor, start: Start, starts: int, seed: int
    ) -> Found:
        """Each of those on grids of its own, or in groups where they are many, and the others together."""
        rows, kept = behind.nonzero().squeeze(1), (~behind).nonzero().squeeze(1)
        groups = [*([kept] if len(kept) else []), *rows.tensor_split(min(len(rows), GROUPS))]
        parts: list[Found] = []
        history = found.history
        for number, group in enumerate(groups):
            part = replace(picked(found, group), history=history)
            if not any(Status.INTERRUPTED in done.result.status for done in parts):
                search = Search(self.instances.pick(group), self.options, apart=number > 0 or not len(kept))
                search.clock, search.seconds = self.clock, self.seconds
                earlier = None if before is None else picked(before, group)
                part = search._refined(part, earlier, rows_of(start, group), starts, seed)
            else:
                part = replace(part, result=replace(part.result, status=[Status.INTERRUPTED] * len(group)))
            parts.append(part)
            history = part.history
        return self._together(parts, groups)

    def _anew(self, found: Found, seed: int) -> Found:
        """What is not solved begins once more: on a finer grid, from the usual guess and random ones."""
        failed = [b for b, status in enumerate(found.result.status) if status not in (Status.CONVERGED, Status.UNBOUNDED)]
        over = self._used_up(found) or Status.INTERRUPTED in found.result.status or 2 * FIRST > LARGEST
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
            return replace(found, history=again.history)
        better, all_rows = rows[solved], torch.arange(self.instances.batch, device=rows.device)
        others_rows = all_rows[~torch.isin(all_rows, better)]
        parts = [picked(again, solved.nonzero().squeeze(1))]
        if len(others_rows):
            parts.append(replace(picked(found, others_rows), history=again.history))
        return self._together(parts, [better, others_rows])

    def _tried(self, start: Start, before: Found, seed: int, failed: Callable[[Found], Tensor]) -> Found:
        """Solved from this start and random ones, a few at a time until none has `failed`."""
        batch, count = self.instances.batch, RETRIES * TRIES
        everything = random_starts(start, self.instances, count, seed, steady=True)
        rows = torch.arange(batch, device=self.instances.device)
        found: Found | None = None
        for turn in range(TRIES):
            drawn = (rows[:, None] * count + torch.arange(turn * RETRIES, (turn + 1) * RETRIES)).flatten()
            again = self._best_of(
                self.instances.pick(rows), rows_of(everything, drawn), RETRIES, picked(before, rows), LIMIT
            )
            found = again if found is None else taken_over(found, again, rows.tolist())
            rows = failed(found).to(rows)
            if not len(rows) or self._used_up(found):
                break
        assert found is not None
        return found

    def _of(self, instances: Instances) -> Search:
        """The search for other problems."""
        search = Search(instances, self.options)
        search.clock, search.seconds = self.clock, self.seconds
        return search

    def _together(self, parts: list[Found], groups: Sequence[Tensor]) -> Found:
        """On one grid."""
        if len(parts) == 1:
            return parts[0]
        solved = [any(status is Status.CONVERGED for status in part.result.status) for part in parts]
        grid = common([part.grid for part, good in zip(parts, solved, strict=True) if good] or [parts[0].grid], LARGEST)
        whole: Found | None = None
        history = parts[-1].history
        levels = merged([level for part in parts for level in part.levels])
        for part, group in zip(parts, groups, strict=True):
            onto = self._onto(self.instances.pick(group), replace(part, history=history), grid)
            history = onto.history
            whole = onto if whole is None else whole.with_others(onto)
        assert whole is not None
        index = torch.argsort(torch.cat(list(groups)))
        whole = picked(replace(whole, defects=torch.zeros(0)), index)
        whole = replace(whole, history=history, levels=levels)
        return self._judged(self._measured(whole, None, True))

    def _onto(self, instances: Instances, found: Found, grid: TimeGrid) -> Found:
        """What was found, on this grid; what was not solved stays so."""
        if torch.equal(found.grid.nodes, grid.nodes):
            return found
        ends = found.result.status
        solved = torch.tensor([status is Status.CONVERGED for status in ends])
        moved = self._onward(instances, found, grid, COARSE_NEWTON if bool(solved.any()) else 1)
        status = [new if good else old for new, old, good in zip(moved.result.status, ends, solved, strict=True)]
        return replace(moved, result=replace(moved.result, status=status))

    def _judged(self, found: Found) -> Found:
        """Problems that converged on a grid that is too coarse for them, or where H has a lower minimum in u, do not count
        as solved."""
        status = list(found.result.status)
        coarse, high = ~(found.defects <= ALLOWED * self.options.accuracy), self._above_minimum(found)
        for b in (b for b, one in enumerate(status) if one is Status.CONVERGED):
            status[b] = Status.INACCURATE if coarse[b] else Status.NOT_MINIMAL if high[b] else Status.CONVERGED
        return replace(found, result=replace(found.result, status=status))

    def _above_minimum(self, found: Found) -> Tensor:
        """(B,) whether H is above its minimum over U by more than a control of so many pieces can help, as in verify()."""
        functions = self.instances.problem.functions
        decided = functions.path_constraint is not None or functions.integrand is not None  # not by H alone
        if decided or not isinstance(found.result, NewtonAnswer):
            return torch.zeros(self.instances.batch, dtype=torch.bool)
        excess = self._mesh(found.result, found.grid).excess()
        return excess > mesh_limit(found.grid.steps, self.options.accuracy)

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

    def _calmer(self, found: Found) -> Found | None:
        """Problems whose control has other minima of H to take, solved again from those: taken where their controls
        turned between the nodes, elsewhere where the objective falls. None where there are none."""
        if not isinstance(found.result, NewtonAnswer):
            return None
        limit = TURNED if len(found.levels) < LATE else ALLOWED * self.options.accuracy
        lost = torch.tensor([status in LOST for status in found.result.status], device=found.defects.device)
        if len(found.levels) >= LATE:
            lost |= torch.tensor([status is Status.MAX_ITERATIONS for status in found.result.status], device=lost.device)
        turned = ~(found.defects < limit)
        which = ((turned | self._above_minimum(found)) & ~lost).nonzero().squeeze(1)
        if not len(which):
            return None
        part, grid, problem = picked(found, which), found.grid, self.instances.problem
        result = part.result
        assert isinstance(result, NewtonAnswer)
        instances = self.instances.pick(which)
        instances, rows = posed(instances, result), result.control.shape[1]
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
        start = rows_of(Start(Control(control, self.options.kind, grid), result.final_time), changed)
        which = which[changed]
        again = self._solve(self.instances.pick(which), start, picked(found, which), COARSE_NEWTON, fresh=True)
        solved = torch.tensor([status is Status.CONVERGED for status in again.result.status], device=which.device)
        lower = again.result.objective < found.result.objective[which]
        better = (solved & (lower | turned[which])).nonzero().squeeze(1)
        return taken_over(found, picked(again, better), which[better].tolist()) if len(better) else None

    # -- one grid ----------------------------------------------------------------------------------------------------

    def _on_finer(self, found: Found, start: Start, starts: int, seed: int, limit: int) -> Found:
        """From what was found, on the grid of this start; problems that are astray begin again."""
        grid, astray = start.control.grid, self._astray(found)
        if bool(astray.any()) and isinstance(found.result, NewtonAnswer):  # but not those that a long way leads astray
            solved = torch.tensor([status is Status.CONVERGED for status in found.result.status], device=astray.device)
            astray &= ~(solved & (self._mesh(found.result, found.grid).defects().amax(1) < ASTRAY))
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
        if starts > 1 or before is not None or not isinstance(found.result, NewtonAnswer):
            return found
        failed = self._failed(found)
        if not failed or self._used_up(found):
            return found
        rows = torch.tensor(failed, device=instances.device)
        search = self._of(instances.pick(rows))
        usual = read_guess(None, search.instances, self.options.kind, start.control.grid)  # not about one that failed
        again = search._tried(usual, picked(found, rows), seed, search._unsound)
        return taken_over(found, again, failed)

    def _unsound(self, found: Found) -> Tensor:
        """Problems that are not solved, or astray."""
        unsolved = torch.tensor([status is not Status.CONVERGED for status in found.result.status])
        return (unsolved.to(found.defects.device) | self._astray(found)).nonzero().squeeze(1)

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
        search = self._of(instances.pick(rows))
        found = search._solve(search.instances, start, many, limit, fresh=True)
        found = replace(found, defects=search._defects(found))
        return picked(found, best(found.result, search._astray(found), starts))

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

    def _defects(self, found: Found) -> Tensor:
        result, fine = found.result, found.grid.refine(FINER)
        control = Control(result.control, self.options.kind, found.grid)
        instances = posed(self.instances, result)
        problem = instances.problem
        constrained = problem.functions.path_constraint is not None or problem.state_bounds is not None
        costates = isinstance(result, NewtonAnswer) and not constrained and problem.functions.integrand is None
        outputs = {"state", "objective"}
        coarse, other = (
            self.backend(c.grid, s).evaluate(
                instances.arguments(c, result.final_time, result.multipliers), outputs | more
            )
            for c, s, more in (
                (control, None, set()), (control.on(fine), self._other_scheme, {"costate"} if costates else set())
            )
        )  # fmt: skip
        assert coarse.state is not None and other.state is not None
        assert coarse.objective is not None and other.objective is not None
        states = distance(coarse.state, other.state[:, ::FINER])
        defects = torch.maximum(states, relative(coarse.objective, other.objective))
        if isinstance(result, NewtonAnswer) and costates:
            assert other.costate is not None
            p = other.costate[:, ::FINER]
            miss = (result.costate - p).abs().amax((1, 2)) / (1 + result.costate.abs().amax((1, 2)))
            defects = torch.maximum(defects, COSTATES * miss)
        return defects

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
            found = replace(found, defects=self._defects(found))
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
        shares = torch.fmax(shares * found.grid.steps / (SAFETY * accuracy), mesh.jumps()[heard].amax(0) ** 2 / accuracy)
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

    def _far(self, found: Found) -> Tensor:
        """(B,) problems that Newton's method could not make feasible with the iterations of this grid."""
        unsolved = torch.tensor([one is Status.MAX_ITERATIONS for one in found.result.status]).to(found.defects.device)
        newton = isinstance(found.result, NewtonAnswer)
        return unsolved & (found.result.violation > FAR) if newton else torch.zeros_like(unsolved)

    def _over(self, found: Found) -> bool:
        """Whether no finer grid can help, or nobody wants one."""
        status = found.result.status
        return (
            Status.INTERRUPTED in status
            or all(one in (Status.INFEASIBLE, Status.UNBOUNDED) for one in status)
            or (found.grid.steps >= HOPELESS and bool((self._astray(found) | self._far(found)).all()))
            or len(found.levels) >= LEVELS
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
