"""The loop: a primal-dual interior point method whose linear algebra is a Riccati recursion, batched.

At each iteration, for every problem that still runs,

    linearise      the steps, cost and constraints at (s, v) with the multipliers of the last iteration
    measure        dual and primal infeasibility and complementarity
    retire         what is done
    lower_barrier  where the barrier problem is solved
    factorise      H + barrier + delta D, with delta raised until all reduced Hessians are positive definite
    solve          for the step, the costates and the multipliers of the end
    search         along it: fraction to the boundary, filter, the nonlinear path

Problems share nothing but these calls: each has its own mu, delta, filter and step length. One whose search fails
while constraints are violated goes through a restoration: the same step with H = D, no cost and a penalty on the end,
which is a short way towards the linearised constraints, until the filter accepts it. Where that leads nowhere, the
barrier may be what holds it back, and mu is lowered; with the smallest mu, it is infeasible.

Sources: Waechter & Biegler, Mathematical Programming 106 (2006), whose numbers are used where there are any; Rao,
Wright & Rawlings, JOTA 99 (1998) for the Riccati recursion; Vanroye et al., Fatrop, IROS 2023.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from pontryagin.optim.newton import barrier, riccati
from pontryagin.optim.newton.barrier import Slacks
from pontryagin.optim.newton.iterate import (
    Direction,
    Iterate,
    Memory,
    Residuals,
    first_iterate,
    moved,
    part_of,
    put,
    residuals,
    violation,
)
from pontryagin.optim.newton.line_search import SHORTEST, Found, LineSearch, merit_of
from pontryagin.optim.newton.result import NewtonInfo, NewtonResult, NewtonSettings, Warm
from pontryagin.optim.newton.riccati import Factors
from pontryagin.optim.newton.scaling import scales_of
from pontryagin.optim.newton.search import Filter, Merit
from pontryagin.optim.newton.worst import worst_of
from pontryagin.optim.result import Callback
from pontryagin.shooting import Array, Dual, Mask, Primal, Rows, Shooting
from pontryagin.status import Status

#: Multipliers above this enlarge the unit in which dual infeasibility is measured.
LARGE_MULTIPLIER = 100.0

#: Estimates of multipliers above this, scaled, are not used.
LARGEST_ESTIMATE = 1e3

#: J below minus this, scaled, has no minimum.
UNBOUNDED = 1e8

#: Complementarity must be so much smaller than the tolerance: near a bound, its root is what the control is off by.
COMPLEMENTARITY = 1e-2

#: A restoration ends when theta has come down to this part of what it was, and the filter accepts.
RESTORED = 0.9

#: Factor of mu where a restoration finds no way on.
LOWERED = 1e-2

#: After so many restorations the next one goes on to a hundredth.
TRUSTED = 4

#: So many steps in a row that are shorter than this, while constraints are violated, make a restoration begin.
CRAWLED, CRAWL = 30, 0.1

#: A restoration leads nowhere when so many steps in a row take off less than this part of theta.
SLOWED, SLOW = 10, 1e-3

#: Where the violation is below this times the tolerance, a search does not fail because of the constraints.
FEASIBLE = 10.0

#: A point that meets the conditions of first order is left so often, by so much of the scales, where the curvature in
#: the scaled variables is more negative than FLAT.
PUSHES, PUSHED, FLAT = 3, 1e-2, 1e-6

#: Points are as good as the same where no component moves by more, relative to the scales, and no product of a slack
#: and its multiplier was larger.
NEAR, CENTRED = 1e-4, 1e-6

#: An answer that cannot be improved counts as solved with an error up to this.
ACCEPTABLE = 1e-6


@dataclass(frozen=True)
class Measure:
    """How far problems are from the conditions of optimality, scaled."""

    dual: Array  # (B,) derivative of the Lagrangian
    primal: Array  # (B,)
    complementarity: Array  # (B,) of sigma lambda = 0

    @property
    def error(self) -> Array:
        """(B,) the largest of the three."""
        return np.maximum(np.maximum(self.dual, self.primal), self.complementarity / COMPLEMENTARITY)


def solve_newton(
    shooting: Shooting, start: Primal | Warm, settings: NewtonSettings, callback: Callback | None = None
) -> NewtonResult:
    """Minimise J of every problem of the batch from a guess of states and controls, or from a known point.

    Never raises for numbers: each problem has its status. Ctrl-C and a callback that returns True end what still runs
    with Status.INTERRUPTED.
    """
    with np.errstate(all="ignore"):
        solve = _Solve(shooting, start, settings)
        try:
            solve.linearise()
            solve.estimate_multipliers(~solve.known)
            while True:
                solve.leave_saddles()
                solve.retire()
                if solve.finished:
                    break
                solve.lower_barrier()
                factors = solve.factorise()
                direction = solve.solve(factors)
                solve.search(factors, direction)
                solve.linearise()
                solve.estimate_multipliers(solve.restored)
                if solve.report(callback):
                    solve.interrupt()
                    break
        except KeyboardInterrupt:
            solve.interrupt()
        return solve.result()


class _Solve:
    """B problems on their way. Finished ones leave; the others never notice."""

    def __init__(self, shooting: Shooting, start: Primal | Warm, settings: NewtonSettings) -> None:
        self.clock = time.perf_counter()
        self.settings, self.shooting, self.everything = settings, shooting, shooting
        self.statement, self.there = shooting.statement, barrier.existing(shooting.statement)
        guess = start.primal if isinstance(start, Warm) else start
        guess = barrier.inside(self.statement, guess, start.known if isinstance(start, Warm) else None)
        self.scales = self.all_scales = scales_of(shooting, guess)
        self.x = first_iterate(shooting, start, guess, self.scales, settings)
        batch, self.ns = len(self.x.mu), self.x.costate.shape[2]
        self.known = start.known if isinstance(start, Warm) else np.zeros(batch, dtype=bool)
        first = merit_of(shooting, self.scales, self.x, shooting.values(self.x.primal))
        self.filters = Filter.fresh(first.theta)
        self.memory = Memory.blank(batch)
        self.restored = np.zeros(batch, dtype=bool)
        self.rows = np.arange(batch)  # numbers of the problems that still run
        self.alpha, self.delta = np.zeros(batch), np.zeros(batch)
        self.iteration = self.sweeps = 0
        self.history: list[NewtonInfo] = []
        # What is handed back, written when a problem leaves.
        self.last = part_of(self.x, self.rows)
        self.ends = Measure(*(np.full(batch, np.nan) for _ in range(3)))
        self.status: list[Status | None] = [None] * batch
        self.counts = np.zeros(batch, dtype=np.int64)

    @property
    def finished(self) -> bool:
        return len(self.rows) == 0

    # -- the phases of an iteration ----------------------------------------------------------------------------------

    def linearise(self) -> None:
        """Values and derivatives at the point, and how far it is from optimal."""
        x, scales = self.x, self.scales
        dual = Dual(x.costate, x.end, x.slacks.multiplier[..., 2 * scales.z.shape[1] :])
        self.found = self.shooting.linearise(x.primal, dual, scales.weight, self.settings.exact)
        self.residuals = residuals(self.shooting, x, self.found.values)
        self.measure = self._measured()

    def estimate_multipliers(self, which: Mask) -> None:
        """The costates and nu with the smallest derivative of J + p (F - s) + nu psi in the norm of D, to begin with.

        They are the multipliers of the step with H = D and all constraints kept as they are. Large ones say nothing.
        """
        rows = np.flatnonzero(which)
        if not len(rows):
            return
        zero = part_of(self.residuals, rows)
        factors = self._factors(np.zeros_like(self.found.hessian), np.ones(len(which)), rows)
        step = riccati.solve(factors, self.found.gradient[rows], 0 * zero.defect, 0 * zero.initial, 0 * zero.end)
        size = np.abs(step.costate * self.scales.z[rows, None, : self.ns]).max((1, 2))
        good = (factors.definite & (size < LARGEST_ESTIMATE))[:, None]
        self.x.costate[rows] = np.where(good[..., None], step.costate, 0.0)
        self.x.end[rows] = np.where(good, step.end, 0.0)
        self.linearise()

    def retire(self) -> None:
        """Write down the problems that are done, and go on with the others alone."""
        settings, measure, memory = self.settings, self.measure, self.memory
        error = measure.error
        stuck = memory.failures >= settings.patience
        verdicts = {
            Status.CONVERGED: (error <= settings.tolerance) | ((stuck | memory.lost) & (error <= ACCEPTABLE)),
            Status.UNBOUNDED: self.scales.weight * self.found.values.cost < -UNBOUNDED,
            Status.NOT_FINITE: ~np.isfinite(error),
            Status.INFEASIBLE: memory.lost & (measure.primal > ACCEPTABLE),
            Status.STALLED: stuck | memory.lost,
            Status.MAX_ITERATIONS: np.full(len(error), self.iteration >= settings.max_iterations),
        }
        running = np.ones(len(error), dtype=bool)
        for status, verdict in verdicts.items():
            self._write(status, running & verdict)
            running &= ~verdict
        if not running.all():
            self._keep(np.flatnonzero(running))

    def leave_saddles(self) -> None:
        """Where all conditions of first order hold but the curvature is negative somewhere, move along it.

        With delta just enough, (H + delta D)^{-1} magnifies the directions of the most negative curvature in whatever
        it is given. The point moves by PUSHED, in a direction that keeps the linearised constraints. Nobody looks
        where the Hessian was positive definite at a point that is as good as the same.
        """
        memory, met = self.memory, self.measure.error <= self.settings.tolerance
        rows = np.flatnonzero(met & ~memory.curved & (memory.pushes < PUSHES))
        if not len(rows):
            return
        _, hessian = self._condensed(np.arange(len(self.rows)), self.residuals.path)
        delta = np.full(len(self.rows), FLAT)
        rows = rows[~self._factors(hessian, delta, rows).definite]
        while len(rows) and delta.max() < self.settings.largest_regularisation:
            factors = self._factors(hessian, delta, rows)
            if factors.definite.all():
                break
            delta[rows[~factors.definite]] *= 4
        if not len(rows):
            return
        zero = part_of(self.residuals, rows)
        pattern = np.cos(np.arange(self.found.gradient[0].size)).reshape(self.found.gradient[0].shape)
        push = self.statement.bound_weights * pattern / self.scales.z[rows, None]
        push[:, -1, self.ns :] = 0.0
        step = riccati.solve(factors, push, 0 * zero.defect, 0 * zero.initial, 0 * zero.end)
        dz = Primal(step.state, step.control).z
        size = np.abs(dz / self.scales.z[rows, None]).max((1, 2))
        dz *= (PUSHED / np.where(size > 0, size, 1.0))[:, None, None]
        found, x = part_of(self.found, rows), part_of(self.x, rows)
        dsigma, _ = barrier.direction(self.statement, found, x.slacks, x.mu, 0 * zero.path, dz)
        alpha = barrier.longest_step(x.slacks.sigma, dsigma, x.mu)[:, None, None]
        new = moved(self.statement, x, alpha * dz, alpha * dsigma)
        mu = np.maximum(x.mu, PUSHED)
        put(self.x, rows, replace(new, slacks=barrier.recentred(new.slacks, mu, np.ones(len(rows))), mu=mu))
        self.memory.pushes[rows] += 1
        pushed = np.isin(np.arange(len(self.rows)), rows)
        self.filters = self.filters.emptied(pushed)
        self.linearise()

    def lower_barrier(self) -> None:
        """mu <- max(smallest, min(factor mu, mu^power)) where the barrier problem is solved; an empty filter."""
        settings, mu = self.settings, self.x.mu
        smallest, lowered = settings.smallest_barrier, np.zeros(len(mu), dtype=bool)
        for _ in range(20):
            error = np.maximum(np.maximum(self.measure.dual, self.measure.primal), self._complementarity(mu))
            now = (error <= settings.barrier_solved * mu) & (mu > smallest) & ~self.memory.restoring
            if not now.any():
                break
            lower = np.maximum(smallest, np.minimum(settings.barrier_factor * mu, mu**settings.barrier_power))
            mu, lowered = np.where(now, lower, mu), lowered | now
        self.x = replace(self.x, mu=mu)
        self.filters = self.filters.emptied(lowered)

    def factorise(self) -> Factors:
        """With the smallest delta tried that makes the inertia right, problem by problem.

        First none, then a third of the last one that was needed, and eight times more until it is enough (a hundred
        times where none was ever needed). D = w / scale^2.
        """
        settings, memory = self.settings, self.memory
        _, hessian = self._condensed(np.arange(len(self.rows)), self.residuals.path)
        delta = np.where(memory.restoring, np.maximum(np.sqrt(self.x.mu), 1e-6), memory.floor)
        known = memory.delta > 0
        first = np.where(known, np.maximum(memory.delta / 3, 1e-12), settings.first_regularisation)
        factor, needed = np.where(known, 8.0, 100.0), np.zeros(len(delta), dtype=bool)
        factors = self._factors(hessian, delta, np.arange(len(delta)))
        while True:
            wrong = np.flatnonzero(~factors.definite & (delta < settings.largest_regularisation))
            if not len(wrong):
                break
            more = np.where(needed, delta * factor, np.maximum(first, 8 * delta))
            delta[wrong], needed[wrong] = more[wrong], True
            put(factors, wrong, self._factors(hessian, delta, wrong))
        self.memory = replace(memory, delta=np.where(needed, delta, memory.delta))
        self.delta = delta
        return factors

    def solve(self, factors: Factors) -> Direction:
        """The Newton step."""
        return self._direction(factors, np.arange(len(self.rows)), self.residuals)

    def search(self, factors: Factors, direction: Direction) -> None:
        """The next point, with the costates and multipliers that belong to it."""
        x, found, statement = self.x, self.found, self.statement
        at = merit_of(self.shooting, self.scales, x, found.values)
        logs = np.where(self.there, direction.dsigma / x.slacks.sigma, 0.0)
        slope = (found.gradient * direction.dz).sum((1, 2)) - x.mu * (barrier.weights(statement) * logs).sum((1, 2))
        restoring = self.memory.restoring
        ended = LineSearch(
            self.shooting, self.scales, self.settings, self.filters, x, self.residuals, at, slope, direction,
            factors.gain, restoring,
        ).run()  # fmt: skip

        alpha = np.where(restoring, 0.0, ended.alpha)[:, None]  # the costates of a restoration mean nothing
        multiplier = x.slacks.multiplier + ended.dual_alpha[:, None, None] * direction.dmultiplier
        within = np.where(restoring, 1.0, barrier.CENTRAL)
        self.x = Iterate(
            primal=ended.point.primal,
            costate=_between(x.costate, direction.costate, alpha[..., None]),
            end=_between(x.end, direction.end, alpha),
            slacks=barrier.recentred(Slacks(ended.point.slacks.sigma, multiplier), x.mu, within),
            mu=x.mu,
        )
        self.alpha = ended.alpha
        size = np.abs(direction.dz / self.scales.z[:, None]).max((1, 2))
        curved = (self.delta == 0) & ~restoring & (self.measure.complementarity <= CENTRED) & (size <= NEAR)
        self.memory = replace(self.memory, curved=curved)
        self.iteration += 1
        self.sweeps += len(self.rows)
        self._remember(at, ended)

    def report(self, callback: Callback | None) -> bool:
        """A row of the history, told to the callback as well; whether that wants to stop."""
        measure = self.measure
        info = NewtonInfo(
            iteration=self.iteration,
            running=len(self.rows),
            objective=float(self.found.values.cost.mean()),
            residual=float(measure.dual.max()),
            violation=float(measure.primal.max()),
            complementarity=float(measure.complementarity.max()),
            barrier=float(self.x.mu.max()),
            step=float(self.alpha.min()),
            regularisation=float(self.delta.max()),
            penalty=0.0,
            sweeps=self.sweeps,
            seconds=time.perf_counter() - self.clock,
        )
        self.history.append(info)
        return callback is not None and bool(callback(info))

    def interrupt(self) -> None:
        """Write down everything that still runs as it stands."""
        self._write(Status.INTERRUPTED, np.ones(len(self.rows), dtype=bool))

    # -- the linear-quadratic problem --------------------------------------------------------------------------------

    def _condensed(self, rows: Rows, r: Array) -> tuple[Array, Array]:
        """Gradient and Hessian with the inequalities in them; in a restoration, without the cost."""
        found, x = part_of(self.found, rows), part_of(self.x, rows)
        hessian, gradient = barrier.condensed(self.shooting, found, x.slacks, x.mu, r)
        cost = ~self.memory.restoring[rows, None, None]
        return np.where(cost, found.gradient, 0.0) + gradient, np.where(cost[..., None], found.hessian, 0.0) + hessian

    def _factors(self, hessian: Array, delta: Array, rows: Rows) -> Factors:
        regular, diagonal = hessian[rows], np.arange(hessian.shape[2])
        proximal = self.statement.weights[:, None] / self.scales.z[rows, None] ** 2
        regular[..., diagonal, diagonal] += delta[rows, None, None] * proximal
        rho = self.settings.penalty / self.scales.end[rows] ** 2
        found = self.found
        return riccati.factorise(
            regular, found.jacobian[rows], found.end_jacobian[rows], rho, self.statement.free,
            self.memory.restoring[rows],
        )  # fmt: skip

    def _direction(self, factors: Factors, rows: Rows, wrong: Residuals) -> Direction:
        """The step of the problems `rows` that makes up for these residuals."""
        gradient, _ = self._condensed(rows, wrong.path)
        step = riccati.solve(factors, gradient, wrong.defect, wrong.initial, wrong.end)
        dz = Primal(step.state, step.control).z
        found, x = part_of(self.found, rows), part_of(self.x, rows)
        return Direction(
            dz, step.costate, step.end, *barrier.direction(self.statement, found, x.slacks, x.mu, wrong.path, dz)
        )

    # -- what a search leaves behind ---------------------------------------------------------------------------------

    def _remember(self, at: Merit, ended: Found) -> None:
        """The filter; restorations that begin and end; searches that failed."""
        memory, settings, failed = self.memory, self.settings, ~ended.accepted
        filters = self.filters.joined(at, ended.joins)
        self.filters = replace(filters, patience=filters.patience - ended.ventured)
        feasible = self.measure.primal <= FEASIBLE * settings.tolerance
        short = ended.accepted & (ended.alpha < CRAWL) & ~memory.restoring & ~feasible
        begins = ~memory.restoring & ((failed & ~feasible) | (short & (memory.crawl + 1 >= CRAWLED)))
        self.filters = self.filters.joined(at, begins)
        ends = np.zeros(len(begins), dtype=bool)
        if memory.restoring.any():
            now = merit_of(self.shooting, self.scales, self.x, self.shooting.values(self.x.primal))
            enough = np.where(memory.restorations > TRUSTED, 0.01, RESTORED) * memory.entry
            ends = memory.restoring & (now.theta <= enough) & self.filters.accepts(now)
            short |= memory.restoring & (now.theta > (1 - SLOW) * at.theta)
        crawl = np.where(short & ~begins & ~ends, memory.crawl + 1, 0)
        blocked = failed & ~memory.restoring & feasible  # a model that is too long: regularise
        floor = np.where(blocked, np.maximum(10 * memory.floor, settings.first_regularisation), memory.floor / 10)
        self.restored = ends
        blind = memory.restoring & ((ended.alpha < SHORTEST) | (crawl >= SLOWED)) & ~ends
        lower = blind & (self.x.mu > settings.warm_barrier)
        mu = np.where(lower, np.maximum(LOWERED * self.x.mu, settings.warm_barrier), self.x.mu)
        self.x = replace(self.x, mu=mu)
        self.memory = Memory(
            delta=np.where(ends, 0.0, memory.delta),
            floor=np.where(floor < 0.1 * settings.first_regularisation, 0.0, floor),
            restoring=(memory.restoring | begins) & ~ends,
            entry=np.where(begins, at.theta, memory.entry),
            failures=np.where(blocked, memory.failures + 1, np.where(failed, memory.failures, 0)),
            lost=blind & ~lower,
            curved=memory.curved,
            pushes=memory.pushes,
            crawl=np.where(lower, 0, crawl),
            restorations=memory.restorations + begins,
        )

    # -- measures ----------------------------------------------------------------------------------------------------

    def _measured(self) -> Measure:
        """Derivatives of the Lagrangian are divided by the weights of nodes: those in the controls are H_u."""
        x, scales, found, ns = self.x, self.scales, self.found, self.ns
        slope = found.gradient + barrier.pulled_back(self.shooting, found, x.slacks.multiplier)
        slope[:, :-1] += (x.costate[:, 1:, None, :] @ found.jacobian)[:, :, 0]
        slope[:, -1, :ns] += (x.end[:, None, :] @ found.end_jacobian)[:, 0]
        slope[:, 1:, :ns] -= x.costate[:, 1:]
        x.costate[:, 0] = np.where(self.statement.free, 0.0, slope[:, 0, :ns])  # of the initial state: nothing else
        slope[:, 0, :ns] *= self.statement.free
        unit = np.maximum(1.0, np.abs(x.costate * scales.z[:, None, :ns]).mean((1, 2)) / LARGE_MULTIPLIER)
        dual = np.abs(slope * scales.z[:, None] / self.statement.bound_weights).max((1, 2)) / unit
        return Measure(
            dual, violation(scales, self.residuals, x.primal.state), self._complementarity(np.zeros_like(x.mu))
        )

    def _complementarity(self, mu: Array) -> Array:
        """(B,) largest |sigma lambda - mu|."""
        product = self.x.slacks.sigma * self.x.slacks.multiplier
        away: Array = np.where(self.there, np.abs(product - mu[:, None, None]), 0.0).max((1, 2), initial=0.0)
        return away

    # -- coming and going --------------------------------------------------------------------------------------------

    def _write(self, status: Status, which: Mask) -> None:
        """The problems `which` end here."""
        here = np.flatnonzero(which)
        rows = self.rows[here]
        put(self.last, rows, part_of(self.x, here))
        put(self.ends, rows, part_of(self.measure, here))
        self.counts[rows] = self.iteration
        for row in rows:
            self.status[row] = status

    def _keep(self, rows: Rows) -> None:
        """Go on with these problems alone."""
        self.rows, self.shooting = self.rows[rows], self.shooting.select(rows)
        for name in ("x", "scales", "filters", "memory", "found", "residuals", "measure", "alpha", "delta"):
            setattr(self, name, part_of(getattr(self, name), rows))

    def result(self) -> NewtonResult:
        """What was written down."""
        x, weight = self.last, self.all_scales.weight[:, None]
        values = self.everything.values(x.primal)
        status = [one or Status.INTERRUPTED for one in self.status]
        known = [one in (Status.CONVERGED, Status.STALLED, Status.MAX_ITERATIONS) for one in status]
        return NewtonResult(
            warm=Warm(
                x.primal, x.costate / weight[..., None], x.end / weight, x.slacks.sigma,
                x.slacks.multiplier / weight[..., None], np.array(known),
            ),
            objective=values.cost,
            status=status,
            iterations=self.counts,
            residual=np.maximum(self.ends.dual, self.ends.complementarity),
            violation=self.ends.primal,
            worst=worst_of(self.everything, self.all_scales, x.primal, self.ends.primal),
            history=self.history,
        )  # fmt: skip


def _between(old: Array, new: Array, alpha: Array) -> Array:
    """old + alpha (new - old), the old one where alpha is zero, whatever the new one is."""
    return np.where(alpha > 0, old + alpha * (new - old), old)
