"""Everything before the first step: checks, scales of J and of the constraints, the first step length."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from pontryagin.control_set import ControlSet
from pontryagin.errors import ProblemError
from pontryagin.optim.augmented_lagrangian import Multipliers
from pontryagin.optim.lagrangian import CountingBackend, Lagrangian, Point
from pontryagin.optim.settings import MethodSettings
from pontryagin.optim.variables import Variables
from pontryagin.sweep import Arguments

MOST_APART = 16  # with more constraints, a sweep for each of them costs more than it saves


@dataclass(frozen=True)
class Start:
    """The first point of G groups, and what belongs to it."""

    variables: Variables
    lagrangian: Lagrangian
    multipliers: Multipliers
    point: Point
    theta: Tensor  # (G,) inverse length of the first gradient step


def begin(
    backend: CountingBackend,
    control_set: ControlSet,
    mass: Tensor,
    start: Arguments,
    *,
    t0: float,
    final_time_bounds: tuple[float, float] | None,
    equality_count: int,
    settings: MethodSettings,
    step: float | None,
    apart: bool,
) -> Start:
    """Check, scale and sweep. `step` is a given first eta in the units of the caller; None finds one.

    `apart` wants the derivatives of the constraints apart, where that is affordable.
    """
    check(start, control_set, mass, t0, final_time_bounds)
    free, shared = final_time_bounds is not None, start.control.dim() == 2
    if final_time_bounds is not None and final_time_bounds[0] <= t0:  # nothing can be learnt from a horizon of zero
        final_time_bounds = (t0 + float((start.final_time - t0).min()) / 1000, final_time_bounds[1])
    make = partial(Variables.of, control_set, mass, t0=t0, final_time_bounds=final_time_bounds, scaled=step is None)
    each = make(shared=False, times=int(free))
    variables = make(shared=True, times=start.batch if free else 0) if shared else each
    r, groups = _constraint_count(backend, start), 1 if shared else start.batch
    zero = mass.new_zeros(groups, r * start.batch // groups)
    inequality = torch.arange(r, device=mass.device) >= equality_count if r > equality_count else None
    tiled = None if inequality is None else inequality.repeat(zero.shape[1] // r)
    lagrangian = Lagrangian(
        backend, variables, start, zero, zero, tiled, apart=apart and not shared and r <= MOST_APART
    )
    point = lagrangian.evaluate(variables.pack(start.control, start.final_time))
    jacobian = point.jacobian
    if r and not lagrangian.apart:  # every problem by itself, once, for the scales of its constraints
        alone = replace(start, control=start.control.expand(start.batch, *each.shape))
        none = zero.view(start.batch, r)
        by_itself = Lagrangian(backend, each, alone, none, none, inequality, apart=True)
        jacobian = by_itself.evaluate(each.pack(alone.control, start.final_time)).jacobian
    scale = torch.linalg.vector_norm(jacobian, dim=2).view(zero.shape)
    scale = torch.where(scale.isfinite() & (scale > 0), scale, torch.ones_like(scale)).clamp(1e-3, 1e8)
    size = torch.linalg.vector_norm(point.gradient, dim=1)
    sigma = torch.maximum(point.objective.abs(), size).nan_to_num(1.0, 1.0).clamp(1e-2, 1e8)
    multipliers = Multipliers(settings, scale, sigma, lagrangian.apart)
    if r:
        nu, rho = (zero if a is None else a.to(zero).view(groups, -1) for a in (start.multipliers, start.penalties))
        lagrangian.nu, lagrangian.rho = nu, torch.where(rho > 0, rho, multipliers.first_penalty)
        point = lagrangian.renew(point)
    if step is not None:
        theta = (start.final_time - t0).view(groups, -1).mean(1) / step  # see u = scale z / sqrt(mass) in Variables
    elif lagrangian.apart:
        theta = sigma  # the penalties, which a trial would feel, are no part of what theta stands for
    else:
        theta = _first_theta(lagrangian, point, settings.trials)
    return Start(variables, lagrangian, multipliers, point, theta)


def check(
    start: Arguments, control_set: ControlSet, mass: Tensor, t0: float, final_time_bounds: tuple[float, float] | None
) -> None:
    """ProblemError where what was given does not fit together."""
    shape = (mass.shape[0], control_set.size)
    if start.control.shape not in (torch.Size(shape), torch.Size((start.batch, *shape))):
        raise ProblemError(
            f"the control has shape {tuple(start.control.shape)}; expected {(start.batch, *shape)}, "
            f"or {shape} shared by the batch: {shape[0]} values of the grid, {shape[1]} controls"
        )
    if start.final_time.shape != (start.batch,):
        raise ProblemError(f"final_time has shape {tuple(start.final_time.shape)}; expected ({start.batch},)")
    if not bool((start.final_time > t0).all()):
        raise ProblemError(f"a final time is {float(start.final_time.min())}; it must lie after t0 = {t0}")
    if start.objective_cotangent is not None or start.state_cotangent is not None:
        raise ProblemError("a solve takes no cotangents; leave objective_cotangent and state_cotangent out")
    if final_time_bounds is not None:
        low, high = final_time_bounds
        if not (low <= high and high > t0) or math.isnan(low):
            raise ProblemError(
                f"the final time is bounded by {low:g} and {high:g}; expected low <= high, and high after t0 = {t0:g}"
            )


def _constraint_count(backend: CountingBackend, start: Arguments) -> int:
    """r, as the problem itself tells."""
    terminal = backend.evaluate(replace(start, multipliers=None, penalties=None), {"terminal"}).terminal
    return 0 if terminal is None else terminal.shape[1]


def _first_theta(lagrangian: Lagrangian, point: Point, trials: int) -> Tensor:
    """(G,) the best of several gradient steps, the longest of which moves no scaled value by more than one."""
    variables = lagrangian.variables
    steepest = (point.gradient * variables.unit).abs().amax(1).nan_to_num(1.0, 1.0, 1.0).clamp(min=1e-30)
    lengths = 10.0 ** (-0.5 * torch.arange(trials, dtype=point.z.dtype, device=point.z.device)) / steepest.unsqueeze(1)
    candidates = variables.project(point.z.unsqueeze(1) - lengths.unsqueeze(2) * point.gradient.unsqueeze(1))
    values = lagrangian.rollouts(candidates)
    best = values.nan_to_num(torch.inf, torch.inf).argmin(1, keepdim=True)
    return 1.0 / lengths.gather(1, best).squeeze(1)
