"""Sizes of states, controls, cost and constraints, taken once at the start, problem by problem.

Newton's step does not depend on units, but everything that compares does: regularisation, measures of optimality and
violation, the barrier. They see z / scale, weight J, psi / unit and c / unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pontryagin.shooting import Array, Dual, Mask, Primal, Shooting, Statement

#: States that stay below this along the guess, some by rounding, tell nothing of their size.
SMALL = 1e-3

#: Range of the weight of J.
WEIGHTS = (1e-8, 1e4)


@dataclass(frozen=True)
class Scales:
    """Of B problems."""

    z: Array  # (B, nz) of states and controls
    weight: Array  # (B,) of J
    end: Array  # (B, r) unit of psi
    path: Array  # (B, mi) unit of c


def scales_of(shooting: Shooting, start: Primal) -> Scales:
    """From the guess: the size of a state along it; half the width of its bounds, or the guess, for a control."""
    statement, ns = shooting.statement, start.state.shape[2]
    size = np.abs(start.z).max(1)  # (B, nz)
    half, as_control = half_width(statement), scaled_as_control(statement)
    z = np.where(as_control & np.isfinite(half), half, size)
    z = np.where(as_control & ~np.isfinite(half), np.maximum(size, 1.0), z)
    z = np.where(z > SMALL, z, np.where(np.isfinite(half) & (half > 0), half, 1.0))

    batch = len(size)
    dual = Dual(
        np.zeros_like(start.state),
        np.zeros((batch, len(statement.end_names))),
        np.zeros((batch, len(statement.weights), len(statement.path_names))),
    )
    found = shooting.linearise(start, dual, np.ones(batch), exact=True)
    w = statement.weights[:, None].copy()
    w[-1] = 1.0  # nothing but the cost of the end is there
    slope = np.abs(found.gradient * z[:, None] / w).max((1, 2))
    curvature = np.abs(np.diagonal(found.hessian, axis1=2, axis2=3) * z[:, None] ** 2 / w).max((1, 2))
    cost = np.maximum(np.abs(found.values.cost), slope)
    cost = np.where(cost > 1e-12, cost, curvature)
    cost = np.where(np.isfinite(cost) & (cost > 0), cost, 1.0)
    return Scales(
        z=z,
        weight=np.clip(1.0 / cost, *WEIGHTS),
        end=_unit(np.linalg.norm(found.end_jacobian * z[:, None, :ns], axis=-1)),
        path=_unit(np.linalg.norm(found.path_jacobian * z[:, None, None], axis=-1).max(1)),
    )


def scaled_as_control(statement: Statement) -> Mask:
    """(nz) v, and the u_k of a linear control among the states."""
    names = np.array([*statement.state_names, *statement.control_names])
    return np.asarray(np.isin(names, statement.control_names))


def half_width(statement: Statement) -> Array:
    """(nz) of the widest bounds that hold at any node; infinite where there are none."""
    width = statement.high - statement.low
    there = np.isfinite(width)
    widest: Array = np.where(there, width, 0.0).max(0)
    return np.where(there.any(0), widest / 2.0, np.inf)


def _unit(size: Array) -> Array:
    return np.where(np.isfinite(size) & (size > 0), size, 1.0)
