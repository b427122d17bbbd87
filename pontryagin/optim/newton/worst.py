"""The constraint that is violated most, in words: for the status of a problem that could not be solved."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from pontryagin.optim.newton.guess import rolled_out
from pontryagin.optim.newton.iterate import part_of
from pontryagin.optim.newton.scaling import Scales
from pontryagin.shooting import Array, Primal, Shooting, Statement, Values

T = TypeVar("T", bound=Shooting)

#: Scaled violations below this are none.
VISIBLE = 1e-6

#: A scaled violation up to which constraints hold.
ACCEPTABLE = 1e-6


def worst_of(
    shooting: T, scales: Scales, point: Primal, violation: Array, rolled: Callable[[T, Primal], Primal] = rolled_out
) -> list[str]:
    """Of what the controls lead to, for the problems whose constraints do not hold: violation (B,) above ACCEPTABLE.

    rolled: how the states are found that follow from the controls.
    """
    found, good = [""] * len(violation), violation <= ACCEPTABLE
    if good.all():
        return found
    rows = np.flatnonzero(~good)
    some = shooting.select(rows)
    with np.errstate(all="ignore"):
        path = rolled(some, part_of(point, rows))
        clauses = worst_constraint(some.statement, part_of(scales, rows), path, some.values(path))
    for row, clause in zip(rows, clauses, strict=True):
        found[row] = clause
    return found


def worst_constraint(statement: Statement, scales: Scales, point: Primal, values: Values) -> list[str]:
    """For each problem a clause such as "path_constraint[0] at 0.25 of the horizon, by 0.1", empty where all hold.

    Of a point that follows the dynamics: what the controls lead to, and not where steps fail to meet.
    """
    z = point.z
    low, high = statement.low - z, z - statement.high
    size = np.concatenate((scales.z, scales.z), 1)[:, None]
    names = (*statement.state_names, *statement.control_names)
    sides = [f"lower bound of {name}" for name in names] + [f"upper bound of {name}" for name in names]
    kinds = (
        (np.concatenate((low, high), 2), size, tuple(sides), True),
        (np.abs(values.end)[:, None], scales.end[:, None], statement.end_names, False),
        (np.where(statement.active, values.path, -np.inf), scales.path[:, None], statement.path_names, True),
    )
    return [_worst(b, statement.nodes, kinds) for b in range(len(z))]


def _worst(b: int, nodes: Array, kinds: tuple[tuple[Array, Array, tuple[str, ...], bool], ...]) -> str:
    best, clause = VISIBLE, ""
    for value, unit, names, in_time in kinds:
        if not names:
            continue
        size = np.nan_to_num(value[b] / unit[b], nan=-np.inf)
        k, i = (int(index) for index in np.unravel_index(int(np.argmax(size)), size.shape))
        if size[k, i] > best:
            best = float(size[k, i])
            place = f" at {nodes[k]:.3g} of the horizon" if in_time else " at the end"
            clause = f"{names[i]}{place}, by {float(value[b, k, i]):.2g}"
    return clause
