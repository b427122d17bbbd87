"""Line search for G groups at once, each with its own step length.

A trial z + lambda d is accepted if, with the slope g.d < 0 of the direction,

    J_a(trial) <= reference + c lambda g.d                                      sufficient decrease (Armijo 1966), or
    J_a(trial) <= J_a + noise   and   g_trial.d <= (1 - 2 c) |g.d|              the same seen by the gradients,

where the second test takes over when the differences of J_a drown in rounding (Hager & Zhang 2005). `reference` is
J_a itself or, for spectral steps, the largest of its last values (Grippo, Lampariello & Lucidi 1986). NaN and infinity
fail both tests. The full step is tried with its gradient; the groups where it fails try several shorter ones in one
batch of rollouts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pontryagin.optim.lagrangian import Lagrangian, Point
from pontryagin.optim.settings import MethodSettings


def line_search(
    lagrangian: Lagrangian, point: Point, direction: Tensor, reference: Tensor, noise: Tensor, settings: MethodSettings
) -> tuple[Point, Tensor, Tensor, Tensor]:
    """The next point, the step lengths (G,), the slopes g.d (G,) and which groups moved (G,); the others stay."""
    c = settings.sufficient_decrease
    slope = torch.linalg.vecdot(point.gradient, direction)
    step = torch.ones_like(slope)
    trial = lagrangian.evaluate(lagrangian.variables.project(point.z + direction))
    moved = _acceptable(point, trial, direction, slope, reference + c * slope, noise, c)
    if bool(moved.all()):
        return trial, step, slope, moved
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
        ok = _acceptable(
            point.select(rows), shorter, direction[rows], slope[rows], limits[hopeful, longest], noise[rows], c
        )
        new = new.put(rows[ok], shorter.select(ok))
        step[rows[ok]] = steps[longest[ok]]
        moved[rows[ok]] = True
    return new, step, slope, moved


def _acceptable(
    point: Point, trial: Point, direction: Tensor, slope: Tensor, limit: Tensor, noise: Tensor, c: float
) -> Tensor:
    """(G,) the two tests above; a gradient that is not finite fails as well."""
    trial_slope = torch.linalg.vecdot(trial.gradient, direction)
    descended: Tensor = (trial.value <= limit) & trial_slope.isfinite() & (slope < 0)
    if bool(descended.all()):
        return descended
    by_gradient = (trial.value <= point.value + noise) & (trial_slope <= (2 * c - 1) * slope)
    return torch.logical_or(descended, by_gradient & trial_slope.isfinite() & (slope < 0))


def _ladder(settings: MethodSettings, like: Tensor) -> list[Tensor]:
    """The step lengths of one call after the other."""
    powers = torch.arange(1, settings.searches * settings.trials + 1, dtype=like.dtype, device=like.device)
    return list(torch.split(settings.backtracking**powers, settings.trials))
