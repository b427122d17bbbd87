"""Which path to begin with: the one that was guessed, or the one that the guessed controls lead to.

The first meets the constraints at the end, the second the dynamics. The better one violates less in sum, problem by
problem.
"""

from __future__ import annotations

import numpy as np

from pontryagin.optim.newton import barrier
from pontryagin.optim.newton.barrier import Slacks
from pontryagin.optim.newton.iterate import Iterate, residuals, total_violation
from pontryagin.optim.newton.scaling import Scales, scales_of
from pontryagin.shooting import Array, Primal, Shooting


def better_start(shooting: Shooting, guess: Primal, favour: float) -> Primal:
    """The guess, or what its controls lead to; that may violate `favour` times as much."""
    with np.errstate(all="ignore"):
        return nearer(shooting, guess, rolled_out(shooting, guess), favour)


def rolled_out(shooting: Shooting, guess: Primal) -> Primal:
    """The states that follow from the first state and the controls."""
    batch, steps, nv = guess.control.shape
    ns = guess.state.shape[2]
    gain, defect = np.zeros((batch, steps, nv, ns)), np.zeros((batch, steps, ns))
    return shooting.follow(guess, 0.0 * guess.z, np.ones(batch), defect, gain)


def nearer(shooting: Shooting, first: Primal, second: Primal, favour: float) -> Primal:
    """For each problem the one with the smaller sum of violations, measured on the scales of the first.

    The second may have `favour` times more.
    """
    scales = scales_of(shooting, first)
    better = _violation(shooting, scales, second) < favour * _violation(shooting, scales, first)
    return Primal(
        np.where(better[:, None, None], second.state, first.state),
        np.where(better[:, None, None], second.control, first.control),
    )


def _violation(shooting: Shooting, scales: Scales, point: Primal) -> Array:
    """Of dynamics, ends and path constraints, and by how far bounds are crossed."""
    statement, values = shooting.statement, shooting.values(point)
    slacks = barrier.first_slacks(statement, point, values, np.ones(len(scales.weight)), 0.0 * scales.path)
    x = Iterate(point, np.zeros_like(point.state), values.end, Slacks(slacks.sigma, slacks.sigma), scales.weight)
    theta = total_violation(statement, scales, residuals(shooting, x, values))
    gaps = np.concatenate(barrier.gaps(statement, point), 2)
    there = barrier.existing(statement)[:, : gaps.shape[2]]
    crossed = np.where(there, np.maximum(-gaps, 0.0), 0.0) / np.concatenate((scales.z, scales.z), 1)[:, None]
    return np.asarray(theta + (statement.weights[:, None] * crossed).sum((1, 2)))
