"""Weights as functions of time, on a grid of their own: B-splines.

    w(t) = sum_k phi_k(t) w_k,      k = 0..K-1,  K = intervals + degree

phi_k are the B-splines of a degree on clamped knots (de Boor, A Practical Guide to Splines, 1978, chapter IX):

    degree 0   piecewise constant; with one interval a constant, with one interval a step a residual network
    degree 1   piecewise linear, w_k is the value at knot k
    degree 3   twice differentiable

They are not negative and sum to one, so that K equal coefficients are a constant function.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pontryagin.errors import ProblemError

Array = NDArray[np.float64]

#: Two times closer than this, relative to the interval, are one.
SAME = 1e-9


@dataclass(frozen=True)
class WeightSpline:
    """The space of splines of `degree` on `knots` t_0 < t_1 < ... < t_M, or on `intervals` equal parts of the horizon.

    Raises ProblemError when neither or both are given, when the knots do not increase, or for a degree that is not a
    whole number from 0.
    """

    degree: int = 0
    intervals: int | None = None
    knots: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.degree, bool) or not isinstance(self.degree, int) or self.degree < 0:
            raise ProblemError(f"weights of degree {self.degree!r} do not exist; give a whole number from 0")
        if (self.intervals is None) == (self.knots is None):
            raise ProblemError("give a WeightSpline either intervals=, equal parts of the horizon, or knots=, not both")
        if self.knots is None:
            if isinstance(self.intervals, bool) or not isinstance(self.intervals, int) or self.intervals < 1:
                raise ProblemError(f"weights on {self.intervals!r} intervals do not exist; give a whole number from 1")
            return
        if not isinstance(self.knots, Sequence) and not hasattr(self.knots, "__iter__"):
            raise ProblemError(f"the knots of a WeightSpline are {self.knots!r}; give a list of times")
        knots = tuple(float(knot) for knot in self.knots)
        if len(knots) < 2 or not np.isfinite(knots).all() or not (np.diff(knots) > 0).all():
            raise ProblemError(f"the knots {knots} of a WeightSpline must be two or more times that strictly increase")
        object.__setattr__(self, "knots", knots)

    def on(self, horizon: tuple[float, float]) -> WeightSpline:
        """The same with its knots in time. Raises ProblemError when they do not cover the horizon."""
        t0, t1 = horizon
        if self.knots is None:
            assert self.intervals is not None
            return WeightSpline(self.degree, knots=tuple(np.linspace(t0, t1, self.intervals + 1).tolist()))
        slack = SAME * (t1 - t0)
        if self.knots[0] > t0 + slack or self.knots[-1] < t1 - slack:
            raise ProblemError(
                f"the weights have knots from {self.knots[0]:g} to {self.knots[-1]:g}, which do not cover the horizon "
                f"from {t0:g} to {t1:g}"
            )
        # On the horizon these are the same functions, and integrals are over the horizon alone.
        inner = [knot for knot in self.knots if t0 + slack < knot < t1 - slack]
        return WeightSpline(self.degree, knots=(t0, *inner, t1))

    @cached_property
    def times(self) -> Array:
        """The knots t_0..t_M."""
        if self.knots is None:
            raise ProblemError("a WeightSpline on equal intervals has no times before it is on a horizon")
        return np.array(self.knots)

    @property
    def count(self) -> int:
        """K."""
        return len(self.times) - 1 + self.degree

    def interval(self, t: float, inside: float) -> int:
        """The interval that t lies in; a knot belongs to the side on which `inside` lies."""
        knots, last = self.times, len(self.times) - 2
        j = min(max(int(np.searchsorted(knots, t, "right")) - 1, 0), last)
        width = knots[j + 1] - knots[j]
        if abs(t - knots[j]) <= SAME * width and inside < t:
            return max(j - 1, 0)
        if abs(t - knots[j + 1]) <= SAME * width and inside > t:
            return min(j + 1, last)
        return j

    def local(self, t: float, j: int, degree: int | None = None) -> Array:
        """(degree + 1,) values at t of phi_j .. phi_{j + degree}, those that are not zero on interval j.

        The recurrence of Cox and de Boor, started from phi = 1 on the interval.
        """
        degree = self.degree if degree is None else degree
        knots = self._clamped(degree)
        i = j + degree
        values = np.ones(1)
        for d in range(1, degree + 1):
            left, right = knots[i - d + 1 : i + 1], knots[i + 1 : i + d + 1]
            share = values / (right - left)
            values = np.append(share * (right - t), 0.0) + np.append(0.0, share * (t - left))
        return values

    def slope(self, t: float, j: int) -> Array:
        """(degree + 1,) derivatives in time at t of phi_j .. phi_{j + degree}."""
        d = self.degree
        if d == 0:
            return np.zeros(1)
        knots, i = self._clamped(d), j + d
        share = d * self.local(t, j, d - 1) / (knots[i + 1 : i + d + 1] - knots[i - d + 1 : i + 1])
        return np.asarray(np.append(0.0, share) - np.append(share, 0.0))

    @cached_property
    def integrals(self) -> Array:
        """(K,) int phi_k dt: the lumped mass, which turns a plain derivative into the L2 gradient."""
        return np.asarray(self.mass.sum(1))

    @cached_property
    def mass(self) -> Array:
        """(K, K) int phi_k phi_l dt."""
        return self._gram(self.local)

    @cached_property
    def stiffness(self) -> Array:
        """(K, K) with w' S w = int |w'|^2 dt; of degree 0, sum_k |w_{k+1} - w_k|^2 / distance of the midpoints."""
        if self.degree > 0:
            return self._gram(self.slope)
        middles = (self.times[1:] + self.times[:-1]) / 2
        jumps = np.diff(np.eye(self.count), axis=0)
        return np.asarray(jumps.T @ (jumps / np.diff(middles)[:, None]))

    def _gram(self, values: object) -> Array:
        """Integrals of products over all intervals, by Gauss and Legendre, exact for these polynomials."""
        assert callable(values)
        points, weights = np.polynomial.legendre.leggauss(self.degree + 1)
        gram = np.zeros((self.count, self.count))
        for j, (a, b) in enumerate(zip(self.times[:-1], self.times[1:], strict=True)):
            part = slice(j, j + self.degree + 1)
            for point, weight in zip(points, weights, strict=True):
                value = values((a + b) / 2 + (b - a) / 2 * point, j)
                gram[part, part] += (b - a) / 2 * weight * np.outer(value, value)
        return gram

    def projection(self, other: WeightSpline) -> Array:
        """(K, K_other): coefficients here of the functions nearest, in the mean square, to the basis of `other`.

        Beyond the knots of `other` its functions go on with their last value.
        """
        grid = np.union1d(self.times, np.clip(other.times, self.times[0], self.times[-1]))
        points, weights = np.polynomial.legendre.leggauss((self.degree + other.degree) // 2 + 1)
        cross = np.zeros((self.count, other.count))
        for a, b in itertools.pairwise(grid):
            middle = (a + b) / 2
            i, j = self.interval(middle, middle), other.interval(middle, middle)
            for point, weight in zip(points, weights, strict=True):
                t = middle + (b - a) / 2 * point
                mine, theirs = self.local(t, i), other.local(min(max(t, other.times[0]), other.times[-1]), j)
                cross[i : i + len(mine), j : j + len(theirs)] += (b - a) / 2 * weight * np.outer(mine, theirs)
        return np.asarray(np.linalg.solve(self.mass, cross))

    def _clamped(self, degree: int) -> Array:
        knots = self.times
        return np.concatenate([np.repeat(knots[0], degree), knots, np.repeat(knots[-1], degree)])


def weight_spline(weights: str | WeightSpline, horizon: tuple[float, float], nodes: Sequence[float]) -> WeightSpline:
    """The spline that `weights` names: "constant", "per_step", "linear" (knots at the nodes), or a WeightSpline."""
    named = {
        "constant": WeightSpline(0, intervals=1),
        "per_step": WeightSpline(0, knots=tuple(nodes)),
        "linear": WeightSpline(1, knots=tuple(nodes)),
    }
    if isinstance(weights, WeightSpline):
        return weights.on(horizon)
    if not isinstance(weights, str) or weights not in named:
        raise ProblemError(
            f"weights {weights!r} are not known; expected {', '.join(named)}, or a WeightSpline on a grid of its own"
        )
    return named[weights].on(horizon)
