"""The search itself: random starts on the first grid, then finer grids until the answer stands still.

On each grid the control of the one before is prolonged, which changes nothing about it as a function of time, and the
multipliers are kept. Refinement ends when, for every problem whose solve is not lost,
    change    of the objective against the grid before, relative
    defect    of states, objective and a tenth of the costates against the re-integration of the control by a method of
              order 5 on a grid four times as fine, relative
are below `accuracy`, or where LARGEST steps are not enough. After Newton's method, which knows costates and
multipliers at all nodes, the steps that cost too much are divided (mesh.py); after the others, all. A batch has one
grid, which suits all its problems; those that need another one are solved apart (apart.py). NaN is refined away
where it can be: steps that are too long are one of its
causes. Problems whose answer is none of the differential equation begin again on the next grid; where the control
turns between nodes, or H has a lower minimum than its own, they begin with another one there (branches.py).
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from pontryagin.apart import RETRIED, Apart
from pontryagin.branches import calmer_branches, combed
from pontryagin.control import Control, rows_at_nodes
from pontryagin.found import Found, at_most, best, joined, picked, posed, rows_of, taken_over
from pontryagin.guess import Start, random_starts, read_guess
from pontryagin.instances import Instances
from pontryagin.mesh import Mesh, divided
from pontryagin.newton_answer import NewtonAnswer
from pontryagin.on_grid import COARSE_NEWTON, FIRST, LARGEST
from pontryagin.pointwise import Points
from pontryagin.records import Level
from pontryagin.reintegrate import Flows
from pontryagin.status import Status
from pontryagin.tableau import tableau_named
from pontryagin.time_grid import TimeGrid
from pontryagin.verify import distance, minimum_limit, relative

#: No refinement has more grids.
LEVELS = 20

#: Iterations of a first-order method on a grid that is not the last: what they leave undone is done on a finer one.
COARSE = 300

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
TURNED, TURNS = 1e-3, 8

#: On the first grids, and with so many steps at most, other controls are tried for parts of the time.
EARLY, COMBED = 2, 200

#: From the third grid on that is asked of everything that is not accurate.
LATE = 3

#: What counts of the same error of costates, which verify() allows to be larger.
COSTATES = 0.1

#: Times the accuracy that the defect of an answer may be on the last grid, as in verify().
ALLOWED = 10

#: Whose objective says nothing about the grid.
LOST = (Status.NOT_FINITE, Status.INFEASIBLE, Status.UNBOUNDED)


class Search(Apart):
    """The search for B problems."""

    latest: Found | None = None  # on the way, of all problems

    def run(self, start: Start, starts: int, seed: int, refine: bool) -> Found:
        """Solve from each start, keep the best for each problem, and refine where asked. Ctrl-C keeps what there is."""
        try:
            found = self._begun(self.instances, start, starts, seed, None, self._coarse if refine else None)
            if refine:
                found = self._refined(found, None, start, starts, seed)
                found = found if starts > 1 else self._anew(found, seed)
        except KeyboardInterrupt:
            if self.latest is None:
                raise
            found = self.latest
            self.stop.set()
        if not found.levels:
            found = self._measured(found, None, False)
        if self.stop.is_set():
            done = () if refine else (Status.CONVERGED,)  # of finer grids nobody knows
            status = [one if one in done else Status.INTERRUPTED for one in found.result.status]
            found = replace(found, result=found.result.ended(status))
        return found

    @property
    def _coarse(self) -> int:
        return COARSE_NEWTON if self.options.method == "newton" else COARSE

    def _refined(self, found: Found, before: Found | None, start: Start, starts: int, seed: int) -> Found:
        """On finer grids until the accuracy holds; problems that fall behind go on alone."""
        coarse, complete, turned = self._coarse, False, 0
        while True:
            found = self.latest = self._measured(found, before, True)
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

    def _behind(self, found: Found) -> Tensor:
        """(B,) problems whose next grid would do the others no good; none where there are no others."""
        if self.apart or self.instances.batch == 1 or not isinstance(found.result, NewtonAnswer):
            return torch.zeros(self.instances.batch, dtype=torch.bool)
        grids = len(found.levels)
        limit = ASTRAY if grids == 1 else TURNED if grids < LATE else ALLOWED * self.options.accuracy
        unsolved = torch.tensor([status is not Status.CONVERGED for status in found.result.status])
        return unsolved | ~(found.defects < limit).cpu()

    def _judged(self, found: Found) -> Found:
        """Problems that converged on a grid that is too coarse for them, or where H is lower for other controls, do not
        count as solved."""
        status = list(found.result.status)
        short = Status.MAX_ITERATIONS if self._used_up(found) else Status.INACCURATE
        coarse, high = ~(found.defects <= ALLOWED * self.options.accuracy), self._above_minimum(found)
        for b in (b for b, one in enumerate(status) if one is Status.CONVERGED):
            status[b] = short if coarse[b] else Status.NOT_MINIMAL if high[b] else Status.CONVERGED
        return replace(found, result=found.result.ended(status))

    def _above_minimum(self, found: Found) -> Tensor:
        """(B,) whether H is above its minimum over U by more than a control of so many pieces can help."""
        functions = self.instances.problem.functions
        decided = functions.path_constraint is not None or functions.integrand is not None  # not by H alone
        if decided or not isinstance(found.result, NewtonAnswer):
            return torch.zeros(self.instances.batch, dtype=torch.bool)
        excess = self._mesh(found.result, found.grid).excess()
        return excess > minimum_limit(found.grid.steps, self.options.accuracy)

    def _calmer(self, found: Found) -> Found | None:
        """Problems whose control has other minima of H to take, solved again from those: taken where their controls
        turned between the nodes or where the objective falls. None where there are none."""
        if not isinstance(found.result, NewtonAnswer):
            return None
        limit = TURNED if len(found.levels) < LATE else ALLOWED * self.options.accuracy
        lost = torch.tensor([status in LOST for status in found.result.status], device=found.defects.device)
        if len(found.levels) >= LATE:
            lost |= torch.tensor(
                [status is Status.MAX_ITERATIONS for status in found.result.status], device=lost.device
            )
        turned = ~(found.defects < limit)
        early = len(found.levels) <= EARLY and found.grid.steps <= COMBED
        above = self._above_minimum(found) if early else torch.zeros_like(turned)
        which = ((turned | above) & ~lost).nonzero().squeeze(1)
        if not len(which):
            return None
        part, grid, problem = picked(found, which), found.grid, self.instances.problem
        result = part.result
        assert isinstance(result, NewtonAnswer)
        instances = self.instances.pick(which)
        instances, rows = posed(instances, result), result.control.shape[1]
        arguments = instances.arguments(Control(result.control, self.options.kind, grid), result.final_time)
        data = result.control[..., :0] if arguments.data is None else rows_at_nodes(arguments.data, rows)
        points = Points(
            grid.times(problem.t0, result.final_time)[:, :rows].to(result.state),
            result.state[:, :rows],
            result.control,
            instances.parameters[:, None].expand(-1, rows, -1),
            data.expand(instances.batch, rows, -1),
        )
        control = calmer_branches(problem, points, result.inner_costate[:, :rows])
        if control is None:
            return None
        changed = (control != result.control).any(2).any(1).nonzero().squeeze(1)
        turning = turned[which[changed]]
        some, others = changed[turning], changed[~turning]
        better: Found | None = None
        if len(some):
            better = self._improved(found, which[some], control[some][:, None])
        if len(others) and not self.stop.is_set():
            guesses = combed(result.control[others], control[others])
            better = self._improved(better or found, which[others], guesses) or better
        return better

    def _improved(self, found: Found, rows: Tensor, guesses: Tensor) -> Found | None:
        """Problems `rows` solved again from controls (R, C, K, m), the best of each kept where it is better."""
        count = int(guesses.shape[1])
        many = rows.repeat_interleave(torch.full_like(rows, count))
        start = Start(Control(guesses.flatten(0, 1), self.options.kind, found.grid), found.result.final_time[many])
        instances = self.instances.pick(many)
        again = self._solve(instances, start, picked(found, many), COARSE_NEWTON, fresh=True)
        if self.stop.is_set():
            return None
        value, index = at_most(again.result, self._defects(again, instances)).reshape(-1, count).min(1)
        better = value < at_most(found.result, found.defects)[rows]
        chosen = (torch.arange(len(rows), device=rows.device) * count + index)[better]
        return taken_over(found, picked(again, chosen), rows[better].tolist()) if bool(better.any()) else None

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
        rest = replace(picked(found, kept), told=again.history)
        return joined(again, self._onward(self.instances.pick(kept), rest, grid, limit), astray)

    def _begun(
        self, instances: Instances, start: Start, starts: int, seed: int, before: Found | None, limit: int | None
    ) -> Found:
        """Solve from guesses. What Newton's method cannot make feasible from one start, random ones may."""
        found = self._best_of(instances, random_starts(start, instances, starts, seed), starts, before, limit)
        if instances is self.instances:
            self.latest = found
        if self.stop.is_set() or starts > 1 or before is not None or not isinstance(found.result, NewtonAnswer):
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
        return [
            b
            for b, status in enumerate(found.result.status)
            if status in RETRIED or (status is Status.MAX_ITERATIONS and found.result.violation[b] > ASTRAY)
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
        found = replace(found, defects=search._defects(found, search.instances))
        return picked(found, best(found.result, search._astray(found), starts))

    # -- from grid to grid -------------------------------------------------------------------------------------------

    def _defects(self, found: Found, instances: Instances) -> Tensor:
        result, fine = found.result, found.grid.refine(FINER)
        control = Control(result.control, self.options.kind, found.grid)
        instances = posed(instances, result)
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
        device = self.instances.device
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
        iterations = max(0, int(found.iterations.max()) - sum(level.iterations for level in levels))
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

    def _far(self, found: Found) -> Tensor:
        """(B,) problems that Newton's method could not make feasible with the iterations of this grid."""
        unsolved = torch.tensor([one is Status.MAX_ITERATIONS for one in found.result.status]).to(found.defects.device)
        newton = isinstance(found.result, NewtonAnswer)
        return unsolved & (found.result.violation > FAR) if newton else torch.zeros_like(unsolved)

    def _over(self, found: Found) -> bool:
        """Whether no finer grid can help, or nobody wants one."""
        status = found.result.status
        return (
            self.stop.is_set()
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
