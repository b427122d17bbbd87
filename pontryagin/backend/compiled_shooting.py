"""Multiple shooting in the compiled core: the same numbers as linearise.py, and Newton's method on top of them.

The core holds the statement of the batch and the functions of the problem; unknowns and multipliers are numpy arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pontryagin import _core
from pontryagin.backend.linearise import ReferenceShooting
from pontryagin.backend.newton_functions import NewtonFunctions
from pontryagin.backend.newton_native import Chosen
from pontryagin.shooting import Array, Dual, Linearisation, Mask, Primal, Values

#: So many times the violation of any guess is no limit.
WHATEVER = 1e300


@dataclass(frozen=True)
class CompiledShooting(ReferenceShooting):
    """A Shooting whose steps and derivatives are the core's."""

    core: Any  # _core.Newton
    threads: int
    backend: str
    reason: str  # why this backend

    def values(self, point: Primal) -> Values:
        return Values(*self.core.values(*self._given(point), self.threads))

    def linearise(self, point: Primal, dual: Dual, weight: Array, exact: bool) -> Linearisation:
        given = map(_plain, (dual.costate, dual.end, dual.path, weight))
        cost, following, path, end, *slopes = self.core.linearise(*self._given(point), *given, exact, self.threads)
        return Linearisation(Values(cost, following, path, end), *slopes)

    def slope(self, point: Primal, dual: Dual) -> Array:
        duals = map(_plain, (dual.costate, dual.end, dual.path))
        found: Array = self.core.lagrangian(*self._given(point), *duals, self.threads)
        return found

    def better_start(self, guess: Primal, favour: float) -> Primal:
        """The guess, or what its controls lead to; that may violate `favour` times as much."""
        state = guess.state.copy()
        self.core.choose_start(state, guess.control, self.initial, self.theta, self.data, favour, self.threads)
        return Primal(state, guess.control)

    def rolled_out(self, guess: Primal) -> Primal:
        """What the controls lead to; where that is not finite, the guess."""
        return self.better_start(guess, WHATEVER)

    def solve(
        self,
        unknowns: list[Array],
        known: Mask,
        settings: Mapping[str, Any],
        told: Callable[[tuple[float, ...]], bool] | None,
    ) -> dict[str, Any]:
        """Newton's method from states, controls, costates, nu, slacks and multipliers, which become the answer.

        Problems `known` have multipliers. The settings are those of optim/newton/result.py, and `warm`. `told` is
        called with a row of the history after each iteration and may ask to stop. Found are measures (B, 4), scales,
        status, iterations and the history.
        """
        found: dict[str, Any] = self.core.solve(
            *unknowns, known, self.initial, self.theta, self.data, dict(settings), self.threads, told
        )
        return found

    def _given(self, point: Primal) -> tuple[Any, ...]:
        return (*map(_plain, (point.state, point.control)), self.initial, self.theta, self.data)


def core_of(
    reference: ReferenceShooting,
    chosen: Chosen,
    layout: NewtonFunctions,
    bounds: tuple[Array, Array],
    half_width: Array,
    as_control: Mask,
) -> _core.Newton:
    """The statement and the functions in the core, for any batch.

    chosen: the functions of the problem, interpreted or compiled; bounds: (N+1, nz) each, with some room between them;
    half_width (nz,) of them, and which components of z are scaled as controls (nz,).
    """
    sizes, arrays = statement_of(reference, bounds, half_width, as_control)
    tableau = reference.tableau
    return _core.Newton(
        chosen.functions,
        sizes=sizes,
        rows=layout.rows.starts,
        entries=layout.entries,
        optimised=list(reference.equations.optimised),
        a=[list(row) for row in tableau.a],
        b=list(tableau.b),
        c=list(tableau.c),
        statement=arrays,
    )


def statement_of(
    reference: ReferenceShooting, bounds: tuple[Array, Array], half_width: Array, as_control: Mask
) -> tuple[dict[str, int], dict[str, Any]]:
    """Sizes, and what stays the same for all problems, as the core wants them."""
    statement, equations = reference.statement, reference.equations
    sizes = {
        "steps": len(statement.nodes) - 1,
        "n": equations.state_dim,
        "m": equations.control_dim,
        "q": reference.theta.shape[1],
        "nd": reference.data.shape[2],
        "free_time": int(equations.free_time),
        "linear_control": int(reference.linear),
        "linear_data": int(reference.linear_data),
        "paths": len(equations.path.values),
        "ends": len(equations.end.values),
        "equalities": equations.equality_count,
        "rows": statement.active.shape[1],
    }
    arrays = {
        "nodes": statement.nodes,
        "weights": statement.weights,
        "bound_weights": statement.bound_weights,
        "path_weights": statement.path_weights,
        "low": bounds[0],
        "high": bounds[1],
        "half_width": half_width,
        "free": statement.free,
        "active": statement.active,
        "control": as_control,
    }
    return sizes, arrays


def _plain(values: Array) -> Array:
    return np.ascontiguousarray(values, dtype=np.float64)
