"""How far along a Newton step: fraction to the boundary, then halves, with second-order corrections of the first trial.

A second-order correction solves the same linear-quadratic problem once more with the residuals of the trial added to
alpha times the old ones, so that the step follows the curvature of the constraints. In a restoration a trial is good
when theta falls. (Waechter & Biegler 2006, sections 2.3, 2.4 and 3.3.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pontryagin.optim.newton import barrier, search
from pontryagin.optim.newton.iterate import (
    Direction,
    Iterate,
    Residuals,
    moved,
    part_of,
    put,
    residuals,
    total_violation,
)
from pontryagin.optim.newton.result import NewtonSettings
from pontryagin.optim.newton.scaling import Scales
from pontryagin.optim.newton.search import Filter, Merit
from pontryagin.shooting import Array, Mask, Rows, Shooting, Values

#: Steps shorter than this, relative to the scales, are below rounding and taken as they are.
TINY = 1e-14

#: theta up to which constraints count as met by the point that such a step leaves.
MET = 1e-8

#: No step of a restoration is shorter.
SHORTEST = 1e-8

#: A correction goes on while theta falls by this factor.
PROGRESS = 0.99

#: The direction that follows from residuals of the problems `rows`.
Correct = Callable[[Rows, Residuals], Direction]


@dataclass(frozen=True)
class Found:
    """Where a search ended."""

    point: Iterate  # the old point where nothing was accepted
    alpha: Array  # (B,) of primal and costate, 0 where nothing was accepted
    dual_alpha: Array  # (B,) of the multipliers of inequalities
    accepted: Mask  # (B,)
    joins: Mask  # (B,) the point where the search began joins the filter


@dataclass(frozen=True)
class LineSearch:
    """A search of B problems."""

    shooting: Shooting
    scales: Scales
    settings: NewtonSettings
    filters: Filter
    x: Iterate
    residuals: Residuals
    at: Merit  # of x
    slope: Array  # (B,) of phi along the direction
    direction: Direction
    restoring: Mask  # (B,)

    def run(self, correct: Correct) -> Found:
        """Search. `correct` is asked for second-order corrections."""
        x, direction, settings = self.x, self.direction, self.settings
        alpha = barrier.longest_step(x.slacks.sigma, direction.dsigma, x.mu)
        dual_alpha = barrier.longest_step(x.slacks.multiplier, direction.dmultiplier, x.mu)
        shortest = np.where(self.restoring, SHORTEST, search.shortest(self.filters, self.at, self.slope))
        batch = len(alpha)
        new = part_of(x, np.arange(batch))
        accepted, joins = np.zeros(batch, dtype=bool), np.zeros(batch, dtype=bool)

        def take(rows: Rows, points: Iterate, good: Mask, joining: Mask) -> None:
            put(new, rows[good], part_of(points, np.flatnonzero(good)))
            accepted[rows[good]], joins[rows[good]] = True, joining[good]

        pending = np.flatnonzero(alpha > shortest)
        for trial in range(settings.trials if len(pending) else 0):
            a = alpha[pending, None, None]
            points, values = self._at(pending, a * direction.dz[pending], a * direction.dsigma[pending])
            good, joining, merit = self._judged(pending, alpha, points, values)
            take(pending, points, good, joining)
            if trial == 0 and len(pending):
                wish = np.flatnonzero(~good & ~self.restoring[pending] & (merit.theta >= self.at.theta[pending]))
                self._correct(pending[wish], alpha, part_of(points, wish), part_of(values, wish), correct, take)
            pending = pending[~accepted[pending] & (alpha[pending] > shortest[pending])]
            if not len(pending):
                break
            alpha[pending] *= 0.5
        zero = np.zeros(batch)
        return Found(
            new, np.where(accepted, alpha, zero), np.where(accepted, dual_alpha, zero), accepted,
            joins & ~self.restoring,
        )  # fmt: skip

    def _correct(
        self,
        rows: Rows,
        alpha: Array,
        points: Iterate,
        values: Values,
        correct: Correct,
        take: Callable[[Rows, Iterate, Mask, Mask], None],
    ) -> None:
        """Second-order corrections of the problems `rows`, from their first trials."""
        before, total = self.at.theta[rows], part_of(self.residuals, rows)
        for _ in range(self.settings.corrections):
            if not len(rows):
                return
            total = _added(alpha[rows], total, residuals(self.shooting.select(rows), points, values))
            direction = correct(rows, total)
            a = barrier.longest_step(self.x.slacks.sigma[rows], direction.dsigma, self.x.mu[rows])[:, None, None]
            points, values = self._at(rows, a * direction.dz, a * direction.dsigma)
            good, joining, merit = self._judged(rows, alpha, points, values)
            take(rows, points, good, joining)
            going = np.flatnonzero(~good & (merit.theta <= PROGRESS * before))
            rows, before, total = rows[going], merit.theta[going], part_of(total, going)
            points, values = part_of(points, going), part_of(values, going)

    def _at(self, rows: Rows, dz: Array, dsigma: Array) -> tuple[Iterate, Values]:
        point = moved(self.shooting.statement, part_of(self.x, rows), dz, dsigma)
        return point, self.shooting.select(rows).values(point.primal)

    def _judged(self, rows: Rows, alpha: Array, points: Iterate, values: Values) -> tuple[Mask, Mask, Merit]:
        """Whether trials are good, whether their starting points join the filter then, and what they are worth."""
        merit = merit_of(self.shooting.select(rows), part_of(self.scales, rows), points, values)
        here = part_of(self.at, rows)
        good, joining = search.verdict(part_of(self.filters, rows), here, self.slope[rows], alpha[rows], merit)
        nearer = merit.theta <= (1 - 1e-4 * alpha[rows]) * here.theta
        tiny = (np.abs(self.direction.dz[rows]) / self.scales.z[rows, None]).max((1, 2)) < TINY
        good = np.where(self.restoring[rows], nearer, good | (tiny & (here.theta <= MET) & np.isfinite(merit.phi)))
        return good, joining, merit


def merit_of(shooting: Shooting, scales: Scales, x: Iterate, values: Values) -> Merit:
    """theta and phi of points with these values."""
    theta = total_violation(shooting.statement, scales, residuals(shooting, x, values))
    return Merit(theta, scales.weight * values.cost - x.mu * barrier.logarithms(shooting.statement, x.slacks.sigma))


def _added(alpha: Array, old: Residuals, new: Residuals) -> Residuals:
    a = alpha[:, None]
    return Residuals(
        a[..., None] * old.defect + new.defect,
        a * old.initial + new.initial,
        a * old.end + new.end,
        a[..., None] * old.path + new.path,
    )
