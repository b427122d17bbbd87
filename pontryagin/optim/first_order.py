"""The loop that the first-order methods share, over a batch whose problems finish at their own pace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from pontryagin.control_set import ControlSet
from pontryagin.errors import unknown_name
from pontryagin.optim.gradient import GradientRule
from pontryagin.optim.lagrangian import CountingBackend, Lagrangian, Point
from pontryagin.optim.lbfgs import LbfgsRule
from pontryagin.optim.line_search import line_search
from pontryagin.optim.result import Callback, IterationInfo, Ledger, MethodResult, Standing
from pontryagin.optim.settings import MethodSettings
from pontryagin.optim.start import Start, begin
from pontryagin.status import Status
from pontryagin.sweep import Arguments, SweepBackend


class Rule(Protocol):
    """Where to go from a point: the only thing in which the methods differ."""

    def direction(self, point: Point, lagrangian: Lagrangian) -> Tensor: ...
    def learn(self, old: Point, new: Point, step: Tensor, moved: Tensor) -> None: ...
    def predicted(self, lagrangian: Lagrangian, point: Point, step: Tensor) -> Tensor: ...
    def restart(self, rows: Tensor) -> None: ...
    def select(self, rows: Tensor) -> None: ...


@dataclass(frozen=True)
class Method:
    """A first-order method: its rule, and the limit of iterations where the settings name none."""

    description: str
    rule: type[GradientRule] | type[LbfgsRule]
    max_iterations: int


METHODS: dict[str, Method] = {
    "gradient": Method("projected gradient with fixed, Armijo or Barzilai-Borwein steps", GradientRule, 20_000),
    "lbfgs": Method("projected limited-memory quasi-Newton", LbfgsRule, 3_000),
}

ROUNDED_RESIDUAL = {torch.float64: 1e-6, torch.float32: 1e-3}  # rounding of J excuses no larger residual than this
QUIET = 20  # steps in a row that promise less than the rounding of J, before they count as failed searches
PATIENCE = 2  # line searches in a row that may fail before an inner problem counts as stalled


def solve_first_order(
    backend: SweepBackend,
    control_set: ControlSet,
    grid_mass: Tensor,
    start: Arguments,
    *,
    t0: float,
    final_time_bounds: tuple[float, float] | None = None,
    equality_count: int = 0,
    method: str = "lbfgs",
    settings: MethodSettings | None = None,
    callback: Callback | None = None,
) -> MethodResult:
    """Minimise J over the control, and t1 where it is free, subject to the terminal constraints.

    Arguments, result and errors: see the docstring of this package.
    """
    if method not in METHODS:
        raise unknown_name("first-order method", method, METHODS)
    settings = settings or MethodSettings()
    settings = replace(settings, tolerance=max(settings.tolerance, 128 * torch.finfo(backend.dtype).eps))
    step_rule = settings.step_rule if method == "gradient" else "none"
    counting = CountingBackend(backend)
    like = torch.empty(0, dtype=backend.dtype, device=backend.device)
    first = begin(
        counting,
        control_set,
        grid_mass.to(like),
        replace(start, control=start.control.to(like), final_time=start.final_time.to(like)),
        t0=t0,
        final_time_bounds=final_time_bounds,
        equality_count=equality_count,
        settings=settings,
        step=settings.step if step_rule in ("fixed", "armijo") else None,
        apart=method == "lbfgs",
    )
    solve = _Solve(first, counting, METHODS[method], step_rule, settings, callback)
    try:
        while True:
            solve.shift_multipliers()
            solve.retire()
            if solve.finished:
                break
            solve.advance()
            if solve.report():
                solve.interrupt()
                break
    except KeyboardInterrupt:
        solve.interrupt()
    return solve.ledger.result(counting.sweeps, solve.history)


class _Solve:
    """G groups on their way. Finished ones leave; the others never notice."""

    def __init__(
        self,
        first: Start,
        backend: CountingBackend,
        method: Method,
        step_rule: str,
        settings: MethodSettings,
        callback: Callback | None,
    ) -> None:
        self.clock = time.perf_counter()
        self.backend, self.settings, self.callback = backend, settings, callback
        self.variables, self.lagrangian, self.multipliers = first.variables, first.lagrangian, first.multipliers
        self.point = point = first.point
        self.rule: Rule = method.rule(
            first.variables, settings, first.theta, first.lagrangian.nu[:, : point.jacobian.shape[1]]
        )
        self.limit = settings.max_iterations or method.max_iterations
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
        self.disturbed = False  # any of these three is not zero
        self.exhausted = self.idle > 0  # a penalty would have to grow beyond its limit
        self.step = torch.zeros_like(point.value)
        self.trouble = True  # a group may have to end for another reason than convergence
        self.iteration = 0
        self.history: list[IterationInfo] = []
        self.ledger = Ledger(point, self.lagrangian)
        self._measure()
        self.multipliers.last = self.violation

    @property
    def finished(self) -> bool:
        return self.rows.numel() == 0

    def shift_multipliers(self) -> None:
        """Move multipliers and penalties where it is time to."""
        if not self.lagrangian.constrained:
            return
        outer, lagrangian = self.multipliers, self.lagrangian
        solved = (self.residual <= outer.tolerance) | (outer.count >= self.settings.max_inner_iterations)
        solved = solved | (self.idle >= PATIENCE)
        if not outer.due(lagrangian, self.violation, solved & ~self.converged):
            return
        predicted = self.rule.predicted(lagrangian, self.point, self.step)
        changed, raised = outer.shift(lagrangian, predicted, self.violation, solved, ~self.converged)
        self.trouble = True
        self.exhausted = raised & outer.exhausted(lagrangian)
        if lagrangian.apart:
            self.point = lagrangian.renew(self.point)
        else:
            self.rule.restart(raised.nonzero().squeeze(1))
            rows = changed.nonzero().squeeze(1)
            self.point = self.point.put(rows, lagrangian.select(rows).renew(self.point.select(rows)))
        self.window = torch.where(changed.unsqueeze(1), self.point.value.unsqueeze(1), self.window)
        self.quiet = self.quiet.masked_fill(changed, 0)
        self.rounded = self.rounded & ~changed
        self._measure()

    def retire(self) -> None:
        """Write down the groups that are done, and go on with the others alone."""
        at_limit = self.iteration >= self.limit
        if not (self.trouble or at_limit or bool(self.converged.any())):
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
        running = ~torch.stack(list(verdicts.values())).any(0)
        if bool(running.all()):
            return
        left = ~running
        for status, verdict in verdicts.items():
            self._write(status, left & verdict)
            left = left & ~verdict
        self._keep(running.nonzero().squeeze(1))

    def advance(self) -> None:
        """One step of every group: direction, line search, and what is learnt from it."""
        old = self.point
        direction = self.rule.direction(old, self.lagrangian)
        reference = torch.full_like(old.value, torch.finfo(old.value.dtype).max) if self.fixed else self.window.amax(1)
        new, self.step, slope, moved = line_search(
            self.lagrangian, old, direction, reference, self.noise, self.settings
        )
        self.rule.learn(old, new, self.step, moved)
        self.point = new
        self.window[:, self.iteration % self.window.shape[1]] = new.value
        if self.best is not None:
            self.best = self.best.merge(new.value < self.best.value, new)
        self.iteration += 1
        self.multipliers.count += 1
        hopeless = -slope <= self.noise
        if self.disturbed or not bool((moved & ~hopeless).all()):
            self._count_failures(moved, hopeless)
        self._measure()

    def _count_failures(self, moved: Tensor, hopeless: Tensor) -> None:
        """Searches that failed, and steps of which J can show nothing; both start anew."""
        self.quiet = torch.where(hopeless, self.quiet + 1, 0)
        moved = moved & (self.quiet < QUIET)
        self.idle = torch.where(moved, 0, self.idle + 1)
        self.rounded = ~moved & hopeless
        self.disturbed = bool((self.quiet + self.idle > 0).any())
        if not bool(moved.all()):
            self.trouble = True
            self.rule.restart((~moved).nonzero().squeeze(1))

    def report(self) -> bool:
        """A row of the history, told to the callback as well; whether that wants to stop."""
        info = IterationInfo(
            iteration=self.iteration,
            running=self.rows.numel(),
            objective=_number(self.point.objective, torch.mean),
            residual=_number(self.residual, torch.amax),
            violation=_number(self.violation, torch.amax),
            step=_number(self.step, torch.amin),
            penalty=_number(self.multipliers.relative_penalty(self.lagrangian), torch.amax),
            sweeps=self.backend.sweeps,
            seconds=time.perf_counter() - self.clock,
        )
        self.history.append(info)
        return self.callback is not None and bool(self.callback(info))

    def interrupt(self) -> None:
        """Write down everything that still runs as it stood last; possible at any moment."""
        self._write(Status.INTERRUPTED, self.ledger.running(self.standing.rows))

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
        self.standing = Standing(self.rows, point, self.best, self.residual, self.violation, omega, self.lagrangian.rho)

    def _write(self, status: Status, which: Tensor) -> None:
        """The groups `which` (G,) end here, without constraints at the best point that they have seen."""
        if not bool(which.any()):
            return
        standing = self.standing
        if standing.best is not None and status is not Status.CONVERGED:
            best = standing.point.merge(standing.best.value < standing.point.value, standing.best)
            residual = self.variables.residual(best.z, best.gradient, best.objective)
            standing = replace(standing, point=best, residual=residual)
        self.ledger.write(status, standing, which, self.iteration)

    def _keep(self, rows: Tensor) -> None:
        """Go on with the groups `rows` alone."""
        self.rule.select(rows)
        self.multipliers.select(rows)
        self.lagrangian = self.lagrangian.select(rows)
        self.window, self.idle, self.step = self.window[rows], self.idle[rows], self.step[rows]
        self.quiet = self.quiet[rows]
        self.rounded, self.exhausted = self.rounded[rows], self.exhausted[rows]
        self.best = None if self.best is None else self.best.select(rows)
        self.point, self.rows = self.point.select(rows), self.rows[rows]
        self._measure()


def _number(values: Tensor, over: Callable[[Tensor], Tensor]) -> float:
    return float((values if values.numel() == 1 else over(values)).item())
