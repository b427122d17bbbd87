"""How far along a Newton step: fraction to the boundary, then halves, each straight and along the nonlinear path.

Where the straight trial is refused, the path that the controls of the step and its feedback gains lead to is tried at
the same length: a second-order correction of the dynamics, whose defects are then 1 - alpha of what they were, however
long the step is. In a restoration a trial is good when theta falls. (Waechter & Biegler 2006, sections 2.3 and 3.3;
Giftthaler et al., IROS 2018, and Mastalli et al., Crocoddyl, ICRA 2020, for the path.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Found:
    """Where a search ended."""

    point: Iterate  # the old point where nothing was accepted
    alpha: Array  # (B,) of primal and costate, 0 where nothing was accepted
    dual_alpha: Array  # (B,) of the multipliers of inequalities
    accepted: Mask  # (B,)
    joins: Mask  # (B,) the point where the search began joins the filter
    ventured: Mask  # (B,) the step is one of those that the filter refuses


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
    gain: Array  # (B, N, nv, ns) feedback of the step
    restoring: Mask  # (B,)

    def run(self) -> Found:
        """Search."""
        x, direction, settings = self.x, self.direction, self.settings
        alpha = barrier.longest_step(x.slacks.sigma, direction.dsigma, x.mu)
        dual_alpha = barrier.longest_step(x.slacks.multiplier, direction.dmultiplier, x.mu)
        shortest = np.where(self.restoring, SHORTEST, search.shortest(self.filters, self.at, self.slope))
        batch = len(alpha)
        new = part_of(x, np.arange(batch))
        accepted, joins, ventured = (np.zeros(batch, dtype=bool) for _ in range(3))

        def take(rows: Rows, points: Iterate, good: Mask, joining: Mask) -> None:
            put(new, rows[good], part_of(points, np.flatnonzero(good)))
            accepted[rows[good]], joins[rows[good]] = True, joining[good]

        pending = np.flatnonzero(alpha > shortest)
        for _ in range(settings.trials if len(pending) else 0):
            points = self._straight(pending, alpha)
            good, joining, merit = self._judged(pending, alpha, points)
            bold = self._ventures(pending, merit) & ~good
            ventured[pending[bold]] = True
            good, joining = good | bold, joining & ~bold
            take(pending, points, good, joining)
            straight, pending = merit.phi[~good], pending[~good]
            if len(pending):
                points, allowed = self._along_path(pending, alpha)
                good, joining, merit = self._judged(pending, alpha, points)
                good &= allowed & self._near(pending, straight, merit)
                take(pending, points, good, joining)
                pending = pending[~good]
            pending = pending[alpha[pending] > shortest[pending]]
            if not len(pending):
                break
            alpha[pending] *= 0.5
        zero = np.zeros(batch)
        return Found(
            new, np.where(accepted, alpha, zero), np.where(accepted, dual_alpha, zero), accepted,
            joins & ~self.restoring, ventured,
        )  # fmt: skip

    def _straight(self, rows: Rows, alpha: Array) -> Iterate:
        a, direction = alpha[rows, None, None], part_of(self.direction, rows)
        return moved(self.shooting.statement, part_of(self.x, rows), a * direction.dz, a * direction.dsigma)

    def _along_path(self, rows: Rows, alpha: Array) -> tuple[Iterate, Mask]:
        """And where it stays inside of its bounds; a restoration has none."""
        x, direction = part_of(self.x, rows), part_of(self.direction, rows)
        defect = self.residuals.defect[rows]
        path = self.shooting.select(rows).follow(x.primal, direction.dz, alpha[rows], defect, self.gain[rows])
        point = moved(self.shooting.statement, replace(x, primal=path), 0.0 * direction.dz,
                      alpha[rows, None, None] * direction.dsigma)  # fmt: skip
        bounds = slice(0, 2 * direction.dz.shape[2])  # the slacks of c move as they do along the straight trial
        least = np.minimum(0.01, x.mu)[:, None, None] * x.slacks.sigma[..., bounds]
        inside = (point.slacks.sigma[..., bounds] >= least).all((1, 2))
        return point, inside & ~self.restoring[rows]

    def _near(self, rows: Rows, straight: Array, merit: Merit) -> Mask:
        """A path has hardly any defects wherever it goes: its phi must not be far from what the step foresees."""
        here = part_of(self.at, rows)
        foreseen = np.where(np.isfinite(straight), straight - here.phi, 1 + np.abs(here.phi))
        near: Mask = merit.phi - here.phi <= np.abs(foreseen) + here.theta
        return near

    def _ventures(self, rows: Rows, merit: Merit) -> Mask:
        """Whether straight trials are taken even if they are refused."""
        return part_of(self.filters, rows).ventures(part_of(self.at, rows), merit) & ~self.restoring[rows]

    def _judged(self, rows: Rows, alpha: Array, points: Iterate) -> tuple[Mask, Mask, Merit]:
        """Whether trials are good, whether their starting points join the filter then, and what they are worth."""
        shooting = self.shooting.select(rows)
        merit = merit_of(shooting, part_of(self.scales, rows), points, shooting.values(points.primal))
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
