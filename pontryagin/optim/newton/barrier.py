"""Inequalities by a primal-dual barrier: slacks sigma > 0 with multipliers lambda > 0, both at every node.

    z - low = sigma,    high - z = sigma,    c + sigma = 0,    sigma lambda = mu

and mu goes to zero. Bounds hold strictly at all iterates; c has a residual r = c + sigma that Newton's method drives
to zero, so that a guess may violate it. In the sum over nodes everything has the weight w_k of the node,

    weight J - mu sum_k w_k log sigma_k,    lambda without that weight,

so that neither the barrier nor the multipliers depend on the mesh. Eliminating dsigma and dlambda leaves

    H += G' diag(w lambda / sigma) G,    g += G' w (mu + lambda r) / sigma,      G = (-I, I, c_z)

in the linear-quadratic problem. (Waechter & Biegler, Mathematical Programming 106 (2006), sections 2 and 3.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pontryagin.shooting import Array, Linearisation, Mask, Primal, Shooting, Statement, Values

#: A guess is pushed into its bounds by this part of one plus their size, and of their distance.
PUSH, KNOWN_PUSH = 1e-2, 1e-9

#: Multipliers stay within this factor of mu / sigma.
CENTRAL = 1e10

#: A bound that leaves no room is moved by this, relative to one plus its size.
ROOM = 1e-9


@dataclass(frozen=True)
class Slacks:
    """One slack and one multiplier for each bound and each row of c: (B, N+1, nz + nz + mi), low, high, c.

    Where a constraint does not exist, sigma = 1 and lambda = 0.
    """

    sigma: Array
    multiplier: Array


def existing(statement: Statement) -> Mask:
    """(N+1, 2 nz + mi) which inequalities there are."""
    return np.concatenate((np.isfinite(statement.low), np.isfinite(statement.high), statement.active), 1)


def weights(statement: Statement) -> Array:
    """(N+1, 2 nz + mi) w of each of them."""
    return np.concatenate((statement.bound_weights, statement.bound_weights, statement.path_weights), 1)


def with_room(statement: Statement) -> tuple[Array, Array]:
    """Bounds (N+1, nz) with something between them."""
    low, high = statement.low, statement.high
    with np.errstate(invalid="ignore"):
        return low - ROOM * np.maximum(1, np.abs(low)), high + ROOM * np.maximum(1, np.abs(high))


def inside(statement: Statement, start: Primal, known: Mask | None = None) -> Primal:
    """The guess moved strictly inside of its bounds, by hardly anything where its multipliers are `known` (B,)."""
    low, high = with_room(statement)
    push = PUSH if known is None else np.where(known, KNOWN_PUSH, PUSH)[:, None, None]
    with np.errstate(invalid="ignore"):
        width = np.where(np.isfinite(high - low), high - low, np.inf)
        low = np.where(np.isfinite(low), low + np.minimum(push * np.maximum(1, np.abs(low)), push * width), low)
        high = np.where(np.isfinite(high), high - np.minimum(push * np.maximum(1, np.abs(high)), push * width), high)
    ns = start.state.shape[2]
    return Primal(
        np.clip(start.state, low[..., :ns], high[..., :ns]),
        np.clip(start.control, low[..., :-1, ns:], high[..., :-1, ns:]),
    )


def first_slacks(statement: Statement, point: Primal, values: Values, mu: Array, unit: Array) -> Slacks:
    """sigma as the point has it, lambda = mu / sigma; `unit` (B, mi) of c."""
    there = existing(statement)
    sigma = np.maximum(-values.path, PUSH * unit[:, None])
    sigma = np.where(there, np.concatenate((*gaps(statement, point), sigma), 2), 1.0)
    return Slacks(sigma, np.where(there, mu[:, None, None] / sigma, 0.0))


def gaps(statement: Statement, point: Primal) -> tuple[Array, Array]:
    """z - low and high - z."""
    low, high = with_room(statement)
    z = point.z
    return z - low, high - z


def residual(statement: Statement, values: Values, slacks: Slacks) -> Array:
    """r (B, N+1, mi) of c."""
    rows = values.path.shape[2]
    return np.where(statement.active, values.path + slacks.sigma[..., slacks.sigma.shape[2] - rows :], 0.0)


def condensed(shooting: Shooting, found: Linearisation, slacks: Slacks, mu: Array, r: Array) -> tuple[Array, Array]:
    """What inequalities add to the Hessian (B, N+1, nz, nz) and the gradient (B, N+1, nz)."""
    there, nz = existing(shooting.statement), found.gradient.shape[2]
    w = weights(shooting.statement)
    stiffness = w * slacks.multiplier / slacks.sigma
    push = np.where(there, w * mu[:, None, None] / slacks.sigma, 0.0)
    push[..., 2 * nz :] += stiffness[..., 2 * nz :] * r
    G = found.path_jacobian
    transposed = np.swapaxes(G, -1, -2)
    hessian = transposed @ (stiffness[..., 2 * nz :, None] * G)
    diagonal = np.arange(nz)
    hessian[..., diagonal, diagonal] += stiffness[..., :nz] + stiffness[..., nz : 2 * nz]
    gradient = (transposed @ push[..., 2 * nz :, None])[..., 0] - push[..., :nz] + push[..., nz : 2 * nz]
    return hessian, gradient


def pulled_back(shooting: Shooting, found: Linearisation, multiplier: Array) -> Array:
    """G' w lambda (B, N+1, nz): the part of the multipliers in the derivative of the Lagrangian."""
    nz, weighted = found.gradient.shape[2], weights(shooting.statement) * multiplier
    rows = (weighted[..., None, 2 * nz :] @ found.path_jacobian)[..., 0, :]
    return rows - weighted[..., :nz] + weighted[..., nz : 2 * nz]


def direction(
    statement: Statement, found: Linearisation, slacks: Slacks, mu: Array, r: Array, dz: Array
) -> tuple[Array, Array]:
    """dsigma and dlambda of a step dz (B, N+1, nz)."""
    moved = np.concatenate((dz, -dz, -r - (found.path_jacobian @ dz[..., None])[..., 0]), 2)
    moved = np.where(existing(statement), moved, 0.0)
    multiplier = np.where(existing(statement), mu[:, None, None] - slacks.multiplier * moved, 0.0) / slacks.sigma
    return moved, multiplier - slacks.multiplier


def longest_step(value: Array, change: Array, mu: Array) -> Array:
    """(B,) the largest alpha <= 1 with value + alpha change >= (1 - tau) value, tau = max(0.99, 1 - mu)."""
    tau = np.maximum(0.99, 1 - mu)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(change < 0, -value / change, np.inf).reshape(len(mu), -1)
    longest: Array = np.minimum(1.0, tau * ratio.min(1, initial=np.inf))
    return longest


def recentred(slacks: Slacks, mu: Array, within: Array) -> Slacks:
    """Multipliers within a factor `within` (B,) of mu / sigma."""
    middle, factor = mu[:, None, None] / slacks.sigma, within[:, None, None]
    multiplier = np.clip(slacks.multiplier, middle / factor, middle * factor)
    return Slacks(slacks.sigma, np.where(slacks.multiplier == 0, 0.0, multiplier))


def logarithms(statement: Statement, sigma: Array) -> Array:
    """(B,) sum_k w_k log sigma_k; minus infinity outside."""
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.where(sigma > 0, np.log(np.where(sigma > 0, sigma, 1.0)), -np.inf)
    total: Array = (weights(statement) * np.where(existing(statement), logs, 0.0)).sum((1, 2))
    return total
