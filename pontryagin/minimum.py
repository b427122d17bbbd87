"""How far a control is from minimising H over U, which a discretised problem does not see.

    excess   H(t, x, p, u) - min_v H(t, x, p, v),    v among other controls in U

A solver ends where H_u = 0: with H that is not convex in u this may be one local minimum of H where another one is
lower, or both would have to be taken in turn, ever faster.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pontryagin.control_set import ControlSet


def excess(energy: Callable[[Tensor], Tensor], box: ControlSet, control: Tensor) -> Tensor:
    """(P,) of u (P, m), with energy(v) the H (C, P) of C controls v (C, P, m) at each of the same points. Where H(v) is
    NaN, v is no better."""
    return lowest(energy, box, control)[1]


def lowest(energy: Callable[[Tensor], Tensor], box: ControlSet, control: Tensor) -> tuple[Tensor, Tensor]:
    """The other control (P, m) with the least H at each point, the control itself where none has less; the excess."""
    tried = torch.stack([control, *_others(box, control)])
    values = energy(tried)
    best, index = values.nan_to_num(torch.inf).min(0)
    found = tried.gather(0, index[None, :, None].expand(1, -1, control.shape[1]))[0]
    return found, values[0] - best


def _others(box: ControlSet, u: Tensor) -> list[Tensor]:
    """(P, m) each: one component moved, over its range or by parts of its size; then the corners of the box."""
    low, high = box.low.to(u), box.high.to(u)
    size = 1 + u.abs().amax(0)
    found = []
    for j in range(u.shape[1]):
        both = bool(low[j].isfinite() & high[j].isfinite())
        for part in (0.0, 0.25, 0.5, 0.75, 1.0) if both else (-1.0, -0.1, 0.1, 1.0):
            moved = u.clone()
            moved[:, j] = low[j] + part * (high[j] - low[j]) if both else u[:, j] + part * size[j]
            found.append(box.project(moved))
    if 1 < u.shape[1] <= 3 and bool((low.isfinite() & high.isfinite()).all()):
        corners = torch.cartesian_prod(*torch.stack((low, high), 1))
        found += [corner.expand_as(u) for corner in corners]
    return found
