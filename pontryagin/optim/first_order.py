"""The loop that all first-order methods share."""

from __future__ import annotations

from torch import Tensor

from pontryagin.control_set import ControlSet
from pontryagin.errors import NotYetSupported
from pontryagin.optim.result import Callback, MethodResult
from pontryagin.optim.settings import MethodSettings
from pontryagin.sweep import Arguments, SweepBackend

METHODS: dict[str, str] = {
    "gradient": "projected gradient: fixed step, Armijo or Barzilai-Borwein spectral step",
    "lbfgs": "projected limited-memory quasi-Newton",
}


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
    """Minimise over the control, and t1 where it is free; the package's docstring says it all."""
    raise NotYetSupported("the first-order methods are being written")
