"""Line search for G groups at once, each with its own step length.

A trial z + lambda d is accepted if, with the slope g.d < 0 of the direction,

    J_a(trial) <= reference + c lambda g.d                                      sufficient decrease (Armijo 1966), or
    J_a(trial) <= J_a + noise   and   g_trial.d <= (1 - 2 c) |g.d|              the same seen by the gradients,

where the second test takes over when the differences of J_a drown in rounding (Hager & Zhang 2005). `reference` is
J_a itself or, for spectral steps, the largest of its last values (Grippo, Lampariello & Lucidi 1986). NaN and infinity
fail both tests. The full step is tried with its gradient; the groups where it fails try several shorter ones in one
batch of rollouts. Where the host cannot ask which these are, they try a shorter step in the next iteration.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pontryagin.optim.lagrangian import Lagrangian, Point
from pontryagin.optim.settings import MethodSettings


class Searched(NamedTuple):
    """How far G groups went."""

    point: Point  # the next one
    step: Tensor  # (G,) lambda
    slope: Tensor  # (G,) g.d
    moved: Tensor  # (G,) which groups moved; the others stay
    over: Tensor  # (G,) whose search is over: they moved, or no trial was accepted; the others go on with it


def line_search(
    lagrangian: Lagrangian, point: Point, direction: Tensor, reference: Tensor, noise: Tensor, settings: MethodSettings
) -> Searched:
    """The whole search."""
    c = settings.sufficient_decrease
    slope = torch.linalg.vecdot(point.gradient, direction)
    step = torch.ones_like(slope)
    trial = lagrangian.evaluate(lagrangian.variables.project(point.z + direction))
    moved = _descended(point, trial, direction, slope, reference + c * slope, noise, settings)
    if bool(moved.all()):
        return Searched(trial, step, slope, moved, over=moved)
    new = point.merge(moved, trial)
    for steps in _ladder(settings, slope):
        stopped = (~moved & (slope < 0)).nonzero().squeeze(1)
        if not stopped.numel():
            break
        candidates = point.z[stopped].unsqueeze(1) + steps.unsqueeze(1) * direction[stopped].unsqueeze(1)
        values = lagrangian.select(stopped).rollouts(candidates)
        limits = reference[stopped].unsqueeze(1) + c * steps * slope[stopped].unsqueeze(1)
        low_enough = values <= limits + noise[stopped].unsqueeze(1)
        hopeful = low_enough.any(1).nonzero().squeeze(1)
        if not hopeful.numel():
            continue
        longest = low_enough[hopeful].to(torch.uint8).argmax(1)
        rows = stopped[hopeful]
        shorter = lagrangian.select(rows).evaluate(candidates[hopeful, longest])
        ok = _descended(
            point.select(rows), shorter, direction[rows], slope[rows], limits[hopeful, longest], noise[rows], settings
        )
        new = new.put(rows[ok], shorter.select(ok))
        step[rows[ok]] = steps[longest[ok]]
        moved[rows[ok]] = True
    return Searched(new, step, slope, moved, over=torch.ones_like(moved))


def one_trial(
    lagrangian: Lagrangian,
    point: Point,
    direction: Tensor,
    reference: Tensor,
    noise: Tensor,
    settings: MethodSettings,
    failed: Tensor,
    running: Tensor,
    stale: Tensor,
) -> Searched:
    """The next trial of each search, in which `failed` (G,) have failed; no group moves that is not `running` (G,).

    The k-th is shorter than the one before by the k-th power of `backtracking`, so that `trials` of them go about as
    far down as the whole search. A group whose point is `stale` (G,) tries that point, and stays with what it finds.
    """
    slope = torch.linalg.vecdot(point.gradient, direction)
    step = settings.backtracking ** (failed * (failed + 1) // 2).to(slope).masked_fill(stale, 0.0)
    trial = lagrangian.evaluate(lagrangian.variables.project(point.z + step.unsqueeze(1) * direction))
    limit = reference + settings.sufficient_decrease * step * slope
    moved = running & ~stale & _descended(point, trial, direction, slope, limit, noise, settings)
    over = moved | ~stale & ((failed >= settings.trials) | ~(slope < 0))
    return Searched(point.merge(moved | stale, trial), step.masked_fill(~moved, 0.0), slope, moved, over)


def _descended(
    point: Point,
    trial: Point,
    direction: Tensor,
    slope: Tensor,
    limit: Tensor,
    noise: Tensor,
    settings: MethodSettings,
) -> Tensor:
    """(G,) the two tests above; a gradient that is not finite fails as well."""
    trial_slope = torch.linalg.vecdot(trial.gradient, direction)
    descended: Tensor = (trial.value <= limit) & trial_slope.isfinite() & (slope < 0)
    if settings.asks and bool(descended.all()):
        return descended
    by_gradient = (trial.value <= point.value + noise) & (trial_slope <= (2 * settings.sufficient_decrease - 1) * slope)
    return torch.logical_or(descended, by_gradient & trial_slope.isfinite() & (slope < 0))


def _ladder(settings: MethodSettings, like: Tensor) -> list[Tensor]:
    """The step lengths of one call after the other."""
    powers = torch.arange(1, settings.searches * settings.trials + 1, dtype=like.dtype, device=like.device)
    return list(torch.split(settings.backtracking**powers, settings.trials))
