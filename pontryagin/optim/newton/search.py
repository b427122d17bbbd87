"""The filter: a step is good that brings the constraints nearer or the barrier function down.

    theta = sum of |defects| and w |c + sigma|, and sqrt(r) |psi|, scaled;      phi = weight J - mu sum w log sigma

with the Euclidean |psi| of r rows, which a restoration shortens; the sum of their absolute values need not fall along.

A trial is acceptable to the filter when for every pair (theta_j, phi_j) in it, theta < theta_j or phi < phi_j. From a
point (theta, phi) with slope m of phi along the step, a step of length alpha is accepted when

    theta <= THETA_MIN and alpha (-m)^2.3 > theta^1.1:    phi falls by 1e-8 alpha m at least  (Armijo)
    else:                                                 theta <= (1 - 1e-5) theta_0 or phi <= phi_0 - 1e-8 theta_0

and in the second case (theta_0, phi_0) joins the filter. (Waechter & Biegler 2006, section 2.3.)

Far away, defects that the step's second-order error leaves are no sign of a bad step, and a filter that refuses them
makes a problem creep. So PATIENCE straight trials that are refused are taken all the same, while theta_0 > SMALL and
theta < LARGEST; after them the filter rules alone. (A watchdog without a way back: Chamberlain, Powell, Lemarechal &
Pedersen, Mathematical Programming Study 16 (1982).)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pontryagin.shooting import Array, Mask

MARGIN_THETA, MARGIN_PHI, ARMIJO = 1e-5, 1e-8, 1e-8
POWER_SLOPE, POWER_THETA = 2.3, 1.1

#: Relative to max(1, theta) at the start: no trial may have more, and below the other one phi decides.
LARGEST, SMALL = 10, 1e-4

#: Trials of a problem that are taken although they are refused.
PATIENCE = 8

#: Rounding of phi, relative.
ROUNDING = 10 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Merit:
    """(theta, phi) of a point."""

    theta: Array  # (B,)
    phi: Array  # (B,)

    @property
    def finite(self) -> Mask:
        """(B,)"""
        return np.isfinite(self.theta) & np.isfinite(self.phi)


@dataclass(frozen=True)
class Filter:
    """The filters of B problems: F pairs each, infinite where there are fewer, the first being the largest theta."""

    theta: Array  # (B, F)
    phi: Array  # (B, F)
    small: Array  # (B,)
    patience: Array  # (B,)

    @classmethod
    def fresh(cls, theta: Array) -> Filter:
        """From theta (B,) at the start."""
        unit = np.maximum(1.0, theta)
        patience = np.full(len(theta), PATIENCE)
        return cls(LARGEST * unit[:, None], np.full((len(theta), 1), -np.inf), SMALL * unit, patience)

    def accepts(self, trial: Merit) -> Mask:
        """(B,) whether a trial is acceptable to the filter."""
        better = (trial.theta[:, None] < self.theta) | (trial.phi[:, None] < self.phi)
        return trial.finite & better.all(1)

    def ventures(self, at: Merit, trial: Merit) -> Mask:
        """(B,) whether a straight trial that is refused is taken all the same."""
        return (self.patience > 0) & trial.finite & (at.theta > self.small) & (trial.theta < self.theta[:, 0])

    def joined(self, at: Merit, which: Mask) -> Filter:
        """With the point, for the problems `which`."""
        theta = np.where(which, (1 - MARGIN_THETA) * at.theta, np.inf)
        phi = np.where(which, at.phi - MARGIN_PHI * at.theta, np.inf)
        return replace(
            self,
            theta=np.concatenate((self.theta, theta[:, None]), 1),
            phi=np.concatenate((self.phi, phi[:, None]), 1),
        )

    def emptied(self, which: Mask) -> Filter:
        """With the first pair alone, for the problems `which`."""
        later = np.arange(self.theta.shape[1]) > 0
        clear = which[:, None] & later
        theta, phi = np.where(clear, np.inf, self.theta), np.where(clear, np.inf, self.phi)
        kept = np.isfinite(theta).any(0)
        return replace(self, theta=theta[:, kept], phi=phi[:, kept])


def verdict(filters: Filter, at: Merit, slope: Array, alpha: Array, trial: Merit) -> tuple[Mask, Mask]:
    """Whether to accept a trial of length alpha (B,), and whether `at` joins the filter then."""
    descent = np.maximum(-slope, 0.0)
    armijo = (alpha * descent**POWER_SLOPE > at.theta**POWER_THETA) & (at.theta <= filters.small) & (slope < 0)
    slack = ROUNDING * np.abs(at.phi)
    lower = trial.phi - at.phi - slack <= ARMIJO * alpha * slope
    nearer = trial.theta <= (1 - MARGIN_THETA) * at.theta
    better = nearer | (trial.phi - slack <= at.phi - MARGIN_PHI * at.theta)
    good = filters.accepts(trial) & np.where(armijo, lower, better)
    return good, ~(armijo & lower)


def shortest(filters: Filter, at: Merit, slope: Array) -> Array:
    """(B,) below this length no trial can be accepted."""
    descent = np.maximum(-slope, 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        bound = np.minimum(MARGIN_THETA, MARGIN_PHI * at.theta / descent)
        switch = np.where(at.theta <= filters.small, at.theta**POWER_THETA / descent**POWER_SLOPE, np.inf)
    bound = np.where(slope < 0, np.minimum(bound, switch), MARGIN_THETA)
    return np.clip(0.05 * bound, 1e-12, None)
