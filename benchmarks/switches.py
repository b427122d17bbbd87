"""When a control switches: the jumps of a discretised control as times.

Consecutive steps in each of which a control changes by more than a part of its range are one jump from level a to level
b. It lies where the control that really jumps has the same integral over these steps,

    int u dt = a (t_s - t_begin) + b (t_end - t_s)
"""

from __future__ import annotations

import torch
from torch import Tensor

import pontryagin as pmp

#: Change in one step, relative to the range of the control, that is a jump or a part of one.
JUMP = 0.05


def switching_times(solution: pmp.Solution) -> list[float]:
    """Of all controls of one solution with a linear control, in order."""
    time, values = solution.time, solution.control.values
    return sorted(t for j in range(values.shape[1]) for t in _jumps(time, values[:, j]))


def _jumps(time: Tensor, u: Tensor) -> list[float]:
    change = u.diff()
    part = change.abs() > JUMP * (u.max() - u.min()).clamp(min=1e-12)
    sign = torch.where(part, change.sign(), 0.0)
    begins = (sign != 0) & (sign != torch.nn.functional.pad(sign[:-1], (1, 0)))
    found = []
    for first in begins.nonzero().flatten().tolist():
        last = first
        while last < len(sign) and sign[last] == sign[first]:
            last += 1
        rows = slice(first, last + 1)
        area, a, b = torch.trapezoid(u[rows], time[rows]), u[first], u[last]
        found.append(float((b * time[last] - a * time[first] - area) / (b - a)))
    return found


def largest_distance(wanted: tuple[float, ...], found: list[float]) -> float:
    """From each of the times wanted to the nearest one found; infinite where none was found."""
    return max(min((abs(t - s) for s in found), default=float("inf")) for t in wanted)
