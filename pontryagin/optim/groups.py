"""G groups of problems on their way, which finish at their own pace.

On a CPU the host looks at the numbers after each iteration. On another device each look waits for all that was issued,
so that it looks only now and then: an iteration in between is work for all groups that the host issues and knows
nothing of. A group that is done has its verdict at once and moves no more; the next look takes it out.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from pontryagin.optim.lagrangian import CountingBackend, Lagrangian, Point
from pontryagin.optim.line_search import Searched, line_search, one_trial
from pontryagin.optim.result import Callback, IterationInfo, Ledger, Row, Standing, read
from pontryagin.optim.settings import MethodSettings
from pontryagin.optim.start import Start
from pontryagin.status import Status

ROUNDED_RESIDUAL = {torch.float64: 1e-6, torch.float32: 1e-3}  # rounding of J excuses no larger residual than this
QUIET = 20  # steps in a row that promise less than the rounding of J, before they count as failed searches
PATIENCE = 2  # line searches in a row that may fail before an inner problem counts as stalled

#: How a group may end, in the order in which reasons count; the first is the end of those that have no verdict.
ENDS = (
    Status.INTERRUPTED,
    Status.CONVERGED,
    Status.NOT_FINITE,
    Status.INFEASIBLE,
    Status.STALLED,
    Status.MAX_ITERATIONS,
)


class Rule(Protocol):
    """Where to go from a point: the only thing in which the methods differ."""

    def direction(self, point: Point, lagrangian: Lagrangian) -> Tensor: ...
    def learn(self, old: Point, new: Point, step: Tensor, moved: Tensor) -> None: ...
    def predicted(self, lagrangian: Lagrangian, point: Point, step: Tensor) -> Tensor: ...
    def restart(self, which: Tensor) -> None: ...
    def select(self, rows: Tensor) -> None: ...


class Groups:
    """G groups on their way. Finished ones leave; the others never notice."""

    def __init__(
        self,
        first: Start,
        backend: CountingBackend,
        rule: Rule,
        limit: int,
        step_rule: str,
        settings: MethodSettings,
        callback: Callback | None,
    ) -> None:
        self.clock = time.perf_counter()
        self.backend, self.settings, self.callback = backend, settings, callback
        self.variables, self.lagrangian, self.multipliers = first.variables, first.lagrangian, first.multipliers
        self.point = point = first.point
        self.rule, self.limit = rule, limit
        self.rounded_residual = ROUNDED_RESIDUAL[point.z.dtype]
        self.patience = PATIENCE * (4 if first.lagrangian.constrained else 1)

        self.fixed = step_rule == "fixed"
        spectral = step_rule == "barzilai_borwein"
        # Curved constraints, too, are followed faster where J_a may rise for a while.
        length = settings.nonmonotone if spectral or first.lagrangian.apart else 1
        self.window = point.value.unsqueeze(1).repeat(1, length)  # last values of J_a
        self.best = point if (spectral or self.fixed) and not first.lagrangian.constrained else None
        self.rows = torch.arange(point.z.shape[0], device=point.z.device)  # numbers of the groups still running
        self.idle = torch.zeros_like(self.rows)  # line searches in a row that failed
        self.rounded = self.idle > 0  # a search failed that promised less than the rounding of J
        self.quiet = torch.zeros_like(self.rows)  # steps in a row that promised less than the rounding of J
        self.disturbed = not settings.asks  # any of these three may be other than zero
        self.failed = torch.zeros_like(self.rows)  # trials of a search that is not over
        self.stale = self.idle > 0  # the multipliers moved, and no sweep at the point knows of it
        self.exhausted = self.idle > 0  # a penalty would have to grow beyond its limit
        self.step = torch.zeros_like(point.value)
        self.trouble = True  # a group may have to end for another reason than convergence
        self.iteration = 0
        self.verdict = torch.zeros_like(self.rows)  # place in ENDS, zero while a group goes on
        self.ended = torch.zeros_like(self.rows)  # iteration of the verdict
        self.untold: list[Row] = []  # rows of the history whose numbers are still on the device
        self.history: list[IterationInfo] = []
        self.ledger = Ledger(point, self.lagrangian)
        self.standing: Standing
        self._measure()
        self.multipliers.last = self.violation

    @property
    def finished(self) -> bool:
        return self.rows.numel() == 0

    @property
    def looking(self) -> bool:
        """Whether the host looks at the device after this iteration."""
        return self.iteration % (self.settings.interval or 1) == 0 or self.iteration >= self.limit

    def shift_multipliers(self) -> None:
        """Move multipliers and penalties where it is time to."""
        if not self.lagrangian.constrained:
            return
        outer, lagrangian = self.multipliers, self.lagrangian
        solved = (self.residual <= outer.tolerance) | (outer.count >= self.settings.max_inner_iterations)
        solved = solved | (self.idle >= PATIENCE)
        running = ~self.converged
        if not self.settings.asks:  # a search goes on with the function that it began with
            running = running & (self.verdict == 0) & (self.failed == 0)
        if self.settings.asks and not outer.due(lagrangian, self.violation, solved & running):
            return
        predicted = self.rule.predicted(lagrangian, self.point, self.step)
        changed, raised = outer.shift(lagrangian, predicted, self.violation, solved, running)
        self.trouble = True
        self.exhausted = raised & outer.exhausted(lagrangian)
        self.quiet = self.quiet.masked_fill(changed, 0)
        self.rounded = self.rounded & ~changed
        if lagrangian.apart:
            self.point = lagrangian.renew(self.point)
        else:
            self.rule.restart(raised)
            if not self.settings.asks:
                self.stale = changed
                return
            rows = changed.nonzero().squeeze(1)
            self.point = self.point.put(rows, lagrangian.select(rows).renew(self.point.select(rows)))
        self.window = torch.where(changed.unsqueeze(1), self.point.value.unsqueeze(1), self.window)
        self._measure()

    def retire(self) -> None:
        """Give groups that are done their verdict; at a look, write them down and go on with the others alone."""
        at_limit = self.iteration >= self.limit
        if self.settings.asks and not (self.trouble or at_limit or bool(self.converged.any())):
            return
        self.trouble = False
        blocked = self.exhausted | (self.idle >= self.patience)
        far = self.violation > self.settings.tolerance**0.5
        verdicts = {
            Status.CONVERGED: self.converged,
            Status.NOT_FINITE: ~self.residual.isfinite(),  # a bad start: no such trial is accepted
            Status.INFEASIBLE: blocked & far,
            Status.STALLED: blocked,
            Status.MAX_ITERATIONS: torch.full_like(self.converged, at_limit),
        }
        reasons = torch.stack([verdicts[status] for status in ENDS[1:]])
        if self.settings.asks and not bool(reasons.any()):
            return
        ends = (self.verdict == 0) & reasons.any(0)
        self.verdict = torch.where(ends, reasons.to(torch.uint8).argmax(0) + 1, self.verdict)
        self.ended = self.ended.masked_fill(ends, self.iteration)
        self.standing = replace(self.standing, verdict=self.verdict, ended=self.ended)
        if self.looking and bool((done := self.verdict > 0).any()):
            self._write(done)
            self._keep((~done).nonzero().squeeze(1))

    def advance(self) -> None:
        """One step of every group: direction, line search, and what is learnt from it."""
        old = self.point
        direction = self.rule.direction(old, self.lagrangian)
        if self.fixed:
            reference = torch.full_like(old.value, torch.finfo(old.value.dtype).max)
        else:
            reference = self.window.amax(1) if self.window.shape[1] > 1 else old.value
        search = self._search(old, direction, reference)
        new, self.step = search.point, search.step
        self.rule.learn(old, new, search.step, search.moved)
        self.point = new
        self._remember(new.value, search.over)
        if self.best is not None:
            self.best = self.best.merge(new.value < self.best.value, new)
        self.iteration += 1
        if self.lagrangian.constrained:
            self.multipliers.count += 1
        hopeless = -search.slope <= self.noise
        if self.disturbed or not bool((search.moved & ~hopeless).all()):
            self._count_failures(search, hopeless)
        self._measure()

    def _search(self, old: Point, direction: Tensor, reference: Tensor) -> Searched:
        """All of a line search where the host may ask how it goes, else one trial of it."""
        if self.settings.asks:
            return line_search(self.lagrangian, old, direction, reference, self.noise, self.settings)
        search = one_trial(
            self.lagrangian, old, direction, reference, self.noise, self.settings,
            self.failed, self.verdict == 0, self.stale,
        )  # fmt: skip
        self.failed = (self.failed + 1).masked_fill(search.over | self.stale, 0)
        return search

    def _remember(self, value: Tensor, over: Tensor) -> None:
        """J_a (G,) at the end of each search that is over, or under new multipliers, of which there is nothing else."""
        column = self.iteration % self.window.shape[1]
        if self.settings.asks:
            self.window[:, column] = value
            return
        self.window[:, column] = torch.where(over, value, self.window[:, column])
        self.window = torch.where(self.stale.unsqueeze(1), value.unsqueeze(1), self.window)
        self.stale = torch.zeros_like(self.stale)

    def _count_failures(self, search: Searched, hopeless: Tensor) -> None:
        """Searches that failed, and steps of which J can show nothing; both start anew."""
        over, asks = search.over, self.settings.asks
        self.quiet = torch.where(over, (self.quiet + 1).masked_fill(~hopeless, 0), self.quiet)
        moved = search.moved & (self.quiet < QUIET)
        self.idle = torch.where(over, (self.idle + 1).masked_fill(moved, 0), self.idle)
        self.rounded = torch.where(over, ~moved & hopeless, self.rounded)
        self.disturbed = not asks or bool((self.quiet + self.idle > 0).any())
        failed = over & ~moved
        if not asks or bool(failed.any()):
            self.trouble = True
            self.rule.restart(failed)

    def report(self) -> bool:
        """Keep a row of the history; at a look, tell the callback of all that are new: whether it wants to stop."""
        zero = self.violation  # without constraints
        penalty = self.multipliers.relative_penalty(self.lagrangian) if self.lagrangian.constrained else zero
        values = (self.point.objective, self.residual, self.violation, self.step, penalty)
        seconds = time.perf_counter() - self.clock
        self.untold.append(Row(self.iteration, self.rows.numel(), values, self.backend.sweeps, seconds))
        if not self.looking:
            return False
        new, callback = self._read(), self.callback
        return callback is not None and any(callback(info) for info in new)

    def _read(self) -> list[IterationInfo]:
        """The numbers of the rows that are new, also added to the history."""
        rows, self.untold = self.untold, []
        new = read(rows)
        self.history += new
        return new

    def interrupt(self) -> None:
        """Write down everything that still runs as it stood last; possible at any moment."""
        self._read()
        self._write(self.ledger.running(self.standing.rows))

    def _measure(self) -> None:
        """Residual, violation and the rounding of J_a at the point."""
        point, outer = self.point, self.multipliers
        self.residual = self.variables.residual(point.z, point.gradient, point.objective)
        omega = self.lagrangian.omega(point.terminal)
        self.violation = outer.violation(self.lagrangian, point, omega)
        self.noise = outer.noise(point, omega)
        tolerance = self.settings.tolerance
        self.converged = (self.residual <= tolerance) & (self.violation <= tolerance)
        if self.disturbed:
            rounded = self.rounded & (self.residual <= self.rounded_residual)
            self.converged = self.converged | (rounded & (self.violation <= tolerance))
        self.standing = Standing(
            self.rows, point, self.best, self.residual, self.violation, omega, self.lagrangian.rho,
            self.verdict, self.ended,
        )  # fmt: skip

    def _write(self, which: Tensor) -> None:
        """The groups `which` (G,) end, without constraints at the best point that they have seen."""
        given = self.standing
        for verdict in sorted(set(given.verdict[which].tolist())):
            status, standing = ENDS[verdict], given
            if standing.best is not None and status is not Status.CONVERGED:
                best = standing.point.merge(standing.best.value < standing.point.value, standing.best)
                residual = self.variables.residual(best.z, best.gradient, best.objective)
                standing = replace(standing, point=best, residual=residual)
            if not verdict:
                standing = replace(standing, ended=torch.full_like(standing.ended, self.iteration))
            self.ledger.write(status, standing, which & (standing.verdict == verdict))

    def _keep(self, rows: Tensor) -> None:
        """Go on with the groups `rows` alone."""
        self.rule.select(rows)
        self.multipliers.select(rows)
        self.lagrangian = self.lagrangian.select(rows)
        self.window, self.idle, self.step = self.window[rows], self.idle[rows], self.step[rows]
        self.quiet, self.failed, self.stale = self.quiet[rows], self.failed[rows], self.stale[rows]
        self.verdict, self.ended = self.verdict[rows], self.ended[rows]
        self.rounded, self.exhausted = self.rounded[rows], self.exhausted[rows]
        self.best = None if self.best is None else self.best.select(rows)
        self.point, self.rows = self.point.select(rows), self.rows[rows]
        self._measure()
