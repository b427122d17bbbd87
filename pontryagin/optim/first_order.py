"""The first-order methods by name, and the loop that they share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pontryagin.control_set import ControlSet
from pontryagin.errors import unknown_name
from pontryagin.optim.gradient import GradientRule
from pontryagin.optim.groups import Groups
from pontryagin.optim.lagrangian import CountingBackend
from pontryagin.optim.lbfgs import LbfgsRule
from pontryagin.optim.result import Callback, MethodResult
from pontryagin.optim.settings import MethodSettings
from pontryagin.optim.start import begin
from pontryagin.sweep import Arguments, SweepBackend


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

INTERVAL = 4  # iterations between two looks at a device: a wait is little beside so many, and few are for nothing


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
    settings = replace(
        settings,
        tolerance=max(settings.tolerance, 128 * torch.finfo(backend.dtype).eps),
        interval=settings.interval or (1 if backend.device.type == "cpu" else INTERVAL),
    )
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
    lam = first.lagrangian.nu[:, : first.point.jacobian.shape[1]]
    rule = METHODS[method].rule(first.variables, settings, first.theta, lam)
    limit = settings.max_iterations or METHODS[method].max_iterations
    groups = Groups(first, counting, rule, limit, step_rule, settings, callback)
    try:
        while True:
            groups.shift_multipliers()
            groups.retire()
            if groups.finished:
                break
            groups.advance()
            if groups.report():
                groups.interrupt()
                break
    except KeyboardInterrupt:
        groups.interrupt()
    return groups.ledger.result(counting.sweeps, groups.history)
