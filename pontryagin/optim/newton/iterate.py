"""Where the problems of a batch stand, as records of arrays with the batch in front."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pontryagin.optim.newton import barrier
from pontryagin.optim.newton.barrier import Slacks
from pontryagin.optim.newton.result import NewtonSettings, Warm
from pontryagin.optim.newton.scaling import Scales
from pontryagin.shooting import Array, Mask, Primal, Rows, Shooting, Statement, Values

Part = TypeVar("Part")


def part_of(whole: Part, rows: Rows) -> Part:
    """The problems `rows` of an array, or of a record of arrays or records."""
    if isinstance(whole, np.ndarray):
        return whole[rows]  # type: ignore[return-value]
    found: dict[str, Any] = {field.name: part_of(getattr(whole, field.name), rows) for field in fields(whole)}  # type: ignore[arg-type]
    return type(whole)(**found)


def put(whole: Part, rows: Rows, part: Part) -> None:
    """Write such a part back in place."""
    if isinstance(whole, np.ndarray):
        whole[rows] = part
        return
    for field in fields(whole):  # type: ignore[arg-type]
        put(getattr(whole, field.name), rows, getattr(part, field.name))


@dataclass(frozen=True)
class Iterate:
    """The unknowns and multipliers."""

    primal: Primal
    costate: Array  # (B, N+1, ns) p of weight J
    end: Array  # (B, r) nu
    slacks: Slacks
    mu: Array  # (B,)


@dataclass(frozen=True)
class Direction:
    """A step of everything."""

    dz: Array  # (B, N+1, nz)
    costate: Array  # (B, N+1, ns) where p goes
    end: Array  # (B, r) where nu goes
    dsigma: Array  # like the slacks
    dmultiplier: Array


@dataclass(frozen=True)
class Residuals:
    """Of the constraints."""

    defect: Array  # (B, N, ns) F_k - s_{k+1}
    initial: Array  # (B, ns) of s_0, zero where it is free
    end: Array  # (B, r) psi
    path: Array  # (B, N+1, mi) c + sigma


@dataclass(frozen=True)
class Memory:
    """What every problem remembers of its iterations."""

    delta: Array  # (B,) the last regularisation that was needed, 0 where none ever was
    floor: Array  # (B,) regularisation that is wanted in any case, after searches that failed
    restoring: Mask  # (B,)
    entry: Array  # (B,) theta when the restoration began
    failures: NDArray[np.int64]  # (B,) searches in a row that failed
    lost: Mask  # (B,) a restoration that led nowhere
    curved: Mask  # (B,) the Hessian was positive definite at a point as good as this one
    pushes: NDArray[np.int64]  # (B,) how often a saddle was left
    crawl: NDArray[np.int64]  # (B,) short steps in a row
    restorations: NDArray[np.int64]  # (B,) so far

    @classmethod
    def blank(cls, batch: int) -> Memory:
        """At the start."""
        zero, no = np.zeros(batch), np.zeros(batch, dtype=bool)
        return cls(
            zero,
            zero.copy(),
            no,
            zero.copy(),
            np.zeros(batch, dtype=np.int64),
            no.copy(),
            no.copy(),
            *(np.zeros(batch, dtype=np.int64) for _ in range(3)),
        )


def first_iterate(
    shooting: Shooting, start: Primal | Warm, guess: Primal, scales: Scales, settings: NewtonSettings
) -> Iterate:
    """The first iterate: no costates and mu / sigma where nothing is known, else what is known."""
    statement, weight, batch = shooting.statement, scales.weight, len(scales.weight)
    there = barrier.existing(statement)
    mu = np.full(batch, settings.barrier)
    if isinstance(start, Warm):
        mu = np.where(start.known, settings.warm_barrier, mu)
    mu = np.maximum(mu, settings.smallest_barrier)
    slacks = barrier.first_slacks(statement, guess, shooting.values(guess), mu, scales.path)
    costate, end = np.zeros_like(guess.state), np.zeros((batch, len(statement.end_names)))
    if isinstance(start, Warm):
        known, nz = start.known[:, None, None], guess.state.shape[2] + guess.control.shape[2]
        costate = np.where(known, weight[:, None, None] * start.costate, 0.0)
        end = np.where(start.known[:, None], weight[:, None] * start.end, 0.0)
        rows = np.arange(slacks.sigma.shape[2]) >= 2 * nz
        sigma = np.where(known & rows & there, start.sigma, slacks.sigma)
        multiplier = np.where(known & there, weight[:, None, None] * start.multiplier, slacks.multiplier)
        slacks = barrier.recentred(Slacks(sigma, multiplier), mu, np.full(batch, barrier.CENTRAL))
    return Iterate(guess, costate, end, slacks, mu)


def residuals(shooting: Shooting, x: Iterate, values: Values) -> Residuals:
    """At a point with these values."""
    return Residuals(
        defect=values.next - x.primal.state[:, 1:],
        initial=np.where(shooting.statement.free, 0.0, shooting.initial - x.primal.state[:, 0]),
        end=values.end,
        path=barrier.residual(shooting.statement, values, x.slacks),
    )


def violation(scales: Scales, residuals: Residuals, state: Array) -> Array:
    """(B,) the largest residual, scaled; of the dynamics, by the size of the states (B, N+1, ns) where that is more."""
    unit = np.maximum(scales.z[:, : state.shape[2]], np.abs(state).max(1))
    parts = (
        np.abs(residuals.defect / unit[:, None]).max((1, 2)),
        np.abs(residuals.initial / unit).max(1),
        np.abs(residuals.end / scales.end).max(1, initial=0.0),
        np.abs(residuals.path / scales.path[:, None]).max((1, 2), initial=0.0),
    )
    worst: Array = np.stack(parts).max(0)
    return worst


def total_violation(statement: Statement, scales: Scales, residuals: Residuals) -> Array:
    """(B,) theta: the sum of all residuals, scaled, those at nodes with their weight; psi counts r times its mean."""
    ns, r = residuals.initial.shape[1], residuals.end.shape[1]  # the mean is the quadratic one
    theta: Array = (
        np.abs(residuals.defect / scales.z[:, None, :ns]).sum((1, 2))
        + np.abs(residuals.initial / scales.z[:, :ns]).sum(1)
        + np.sqrt(r) * np.linalg.norm(residuals.end / scales.end, axis=1)
        + (statement.path_weights * np.abs(residuals.path / scales.path[:, None])).sum((1, 2))
    )
    return theta


def moved(statement: Statement, x: Iterate, dz: Array, dsigma: Array) -> Iterate:
    """The point a step away. Slacks of bounds are read off from it, those of c move by themselves."""
    ns, nz = x.costate.shape[2], dz.shape[2]
    primal = Primal(x.primal.state + dz[..., :ns], x.primal.control + dz[:, :-1, ns:])
    sigma = np.concatenate((*barrier.gaps(statement, primal), (x.slacks.sigma + dsigma)[..., 2 * nz :]), 2)
    sigma = np.where(barrier.existing(statement), sigma, 1.0)
    return Iterate(primal, x.costate, x.end, Slacks(sigma, x.slacks.multiplier), x.mu)
