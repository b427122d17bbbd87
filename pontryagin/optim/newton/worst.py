"""The constraint that is violated most, in words: for the status of a problem that could not be solved."""

from __future__ import annotations

import numpy as np

from pontryagin.optim.newton.iterate import Residuals
from pontryagin.optim.newton.scaling import Scales
from pontryagin.shooting import Statement

#: Scaled violations below this are none.
VISIBLE = 1e-6


def worst_constraint(statement: Statement, scales: Scales, residuals: Residuals) -> list[str]:
    """For each problem a clause such as "path_constraint[0] at 0.25 of the horizon by 0.1", empty where all hold."""
    ns = residuals.initial.shape[1]
    found = []
    for b in range(len(residuals.initial)):
        sizes = {
            "the dynamics of": np.abs(residuals.defect[b] / scales.z[b, :ns]),
            "the initial value of": np.abs(residuals.initial[b] / scales.z[b, :ns])[None],
            "": np.abs(residuals.end[b] / scales.end[b])[None],
            "c": np.abs(residuals.path[b] / scales.path[b]),
        }
        names = (statement.state_names, statement.state_names, statement.end_names, statement.path_names)
        values = (residuals.defect[b], residuals.initial[b][None], residuals.end[b][None], residuals.path[b])
        best, clause = VISIBLE, ""
        for (what, size), name, value in zip(sizes.items(), names, values, strict=True):
            if not size.size or not np.nanmax(size) > best:
                continue
            k, i = (int(index) for index in np.unravel_index(int(np.nanargmax(size)), size.shape))
            best = float(size[k, i])
            place = {"": " at the end", "the initial value of": ""}.get(
                what, f" at {statement.nodes[k]:.3g} of the horizon"
            )
            words = name[i] if what in ("", "c") else f"{what} {name[i]}"
            clause = f"{words}{place}, by {abs(float(value[k, i])):.2g}"
        found.append(clause)
    return found
