"""When a control switches: the jumps of a discretised control as times.

Consecutive steps in each of which a control changes in one direction by more than a part of its range are one jump,
from level a to level b. It lies where the control that really jumps has the same integral over these steps,

    int u dt = a (t_s - t_begin) + b (t_end - t_s)

A control that rings beside its jump, as discretised ones do where a singular arc begins, has that in its integral; its
level there is that of a straight line through what follows, whose slope is taken off.
"""

from __future__ import annotations

import torch
from torch import Tensor

import pontryagin as pmp

#: Change in one step, relative to the range of the control, that is a jump or a part of one.
JUMP = 0.05

#: The same beside a jump, above which a control rings, and so many steps of that are counted in.
RINGING, TAIL = 0.01, 4


def switching_times(solution: pmp.Solution) -> list[float]:
    """Of all controls of one solution with a linear control, in order."""
    time, values = solution.time, solution.control.values
    return sorted(t for j in range(values.shape[1]) for t in _jumps(time, values[:, j]))


def _jumps(time: Tensor, u: Tensor) -> list[float]:
    change = u.diff() / (u.max() - u.min()).clamp(min=1e-12)
    sign = torch.where(change.abs() > JUMP, change.sign(), 0.0)
    begins = (sign != 0) & (sign != torch.nn.functional.pad(sign[:-1], (1, 0)))
    found = []
    for first in begins.nonzero().flatten().tolist():
        last = first
        while last < len(sign) and sign[last] == sign[first]:
            last += 1
        if first and float(change[first - 1] * sign[first]) > RINGING:
            first -= 1  # where the jump begins within a step
        if last < len(sign) and float(change[last] * sign[last - 1]) > RINGING:
            last += 1
        begin, a, before = _side(time, u, change, first, -1)
        end, b, after = _side(time, u, change, last, 1)
        if a != b and (begin == first or end == last):  # else it is a part of the ringing
            area = float(torch.trapezoid(u[begin : end + 1], time[begin : end + 1])) - before - after
            found.append(float((b * time[end] - a * time[begin] - area) / (b - a)))
    return found


def _side(time: Tensor, u: Tensor, change: Tensor, node: int, way: int) -> tuple[int, float, float]:
    """The node up to which a jump is counted, the level at the jump, and what the slope adds to the integral."""
    beside = node - 1 if way < 0 else node  # the next step that way
    if not 0 <= beside < len(change) or abs(float(change[beside])) <= RINGING:
        return node, float(u[node]), 0.0
    edge, far = (min(max(node + way * count * TAIL, 0), len(u) - 1) for count in (1, 3))
    rows = slice(min(edge, far), max(edge, far) + 1)
    t = time[rows] - time[node]
    if len(t) < 2:
        return edge, float(u[edge]), 0.0
    level, slope = (
        torch.linalg.lstsq(torch.stack((torch.ones_like(t), t), 1), u[rows, None]).solution.flatten().tolist()
    )
    return edge, level, way * slope * float(time[edge] - time[node]) ** 2 / 2


def largest_distance(wanted: tuple[float, ...], found: list[float]) -> float:
    """From each of the times wanted to the nearest one found; infinite where none was found."""
    return max(min((abs(t - s) for s in found), default=float("inf")) for t in wanted)
