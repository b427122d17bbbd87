"""Everything before the first step: checks, scales of J and of the constraints, the first step length."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pontryagin.control_set import ControlSet
from pontryagin.errors import ProblemError
from pontryagin.optim.augmented_lagrangian import Multipliers
from pontryagin.optim.lagrangian import CountingBackend, Lagrangian, Point
from pontryagin.optim.settings import MethodSettings
from pontryagin.optim.variables import Variables
from pontryagin.sweep import Arguments


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
) -> Start:
    """Scale and sweep once or twice. `step` is a given first eta, in the units of the caller; None finds one."""
    check(start, control_set, mass, t0, final_time_bounds)
    shared = start.control.dim() == 2
    if final_time_bounds is not None and final_time_bounds[0] <= t0:  # nothing can be learnt from a horizon of zero
        final_time_bounds = (t0 + float((start.final_time - t0).min()) / 1000, final_time_bounds[1])
    variables = Variables.of(
        control_set,
        mass,
        t0=t0,
        shared=shared,
        times=0 if final_time_bounds is None else start.batch if shared else 1,
        final_time_bounds=final_time_bounds,
        scaled=step is None,
    )
    z = variables.pack(start.control, start.final_time)
    groups = z.shape[0]
    r = _constraint_count(backend, start)
    none = z.new_zeros(groups, r * start.batch // groups)
    lagrangian = Lagrangian(backend, variables, start, none, none)
    point = lagrangian.evaluate(z)
    size = torch.linalg.vector_norm(point.gradient, dim=1)
    sigma = torch.maximum(point.objective.abs(), size).nan_to_num(1.0, 1.0).clamp(1e-2, 1e8)
    multipliers = _multipliers(lagrangian, z, sigma, r, equality_count, settings)
    if r:
        given = start.multipliers, start.penalties
        nu, rho = (none if a is None else a.to(none).reshape(none.shape) for a in given)
        lagrangian.nu, lagrangian.rho = nu, torch.where(rho > 0, rho, multipliers.first_penalty)
        point = lagrangian.evaluate(z)
    if step is None:
        theta = _first_theta(lagrangian, point, settings.trials)
    else:
        theta = (start.final_time - t0).view(groups, -1).mean(1) / step  # see u = scale z / sqrt(mass) in Variables
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


def _multipliers(
    lagrangian: Lagrangian, z: Tensor, sigma: Tensor, r: int, equality_count: int, settings: MethodSettings
) -> Multipliers:
    """The outer iteration, with the constraints scaled by their derivatives at the start."""
    norms = lagrangian.nu if r == 0 else lagrangian.constraint_norms(z)
    scale = torch.where(norms.isfinite() & (norms > 0), norms, torch.ones_like(norms)).clamp(1e-3, 1e8)
    inequality = torch.arange(r, device=z.device) >= equality_count
    floor = torch.where(inequality, 0.0, -torch.inf).to(z).repeat(norms.shape[1] // r if r else 1)
    return Multipliers(settings, scale, sigma, floor)


def _first_theta(lagrangian: Lagrangian, point: Point, trials: int) -> Tensor:
    """(G,) the best of several gradient steps, the longest of which moves no scaled value by more than one."""
    variables = lagrangian.variables
    steepest = (point.gradient * variables.unit).abs().amax(1).nan_to_num(1.0, 1.0, 1.0).clamp(min=1e-30)
    lengths = 10.0 ** (-0.5 * torch.arange(trials, dtype=point.z.dtype, device=point.z.device)) / steepest.unsqueeze(1)
    candidates = variables.project(point.z.unsqueeze(1) - lengths.unsqueeze(2) * point.gradient.unsqueeze(1))
    values = lagrangian.rollouts(candidates)
    best = values.nan_to_num(torch.inf, torch.inf).argmin(1, keepdim=True)
    return 1.0 / lengths.gather(1, best).squeeze(1)
