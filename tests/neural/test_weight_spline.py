"""Weights in time: the B-spline basis, its integrals, its change of space."""

import numpy as np
import pytest
from scipy.interpolate import BSpline

from pontryagin import ProblemError, WeightSpline
from pontryagin.neural.weight_spline import weight_spline

KNOTS = (-1.0, -0.4, 0.1, 0.2, 2.0)
DEGREES = pytest.mark.parametrize("degree", [0, 1, 2, 3, 5])


def dense(spline, t, of=None):
    """(K,) the values at t, or the slopes."""
    j = spline.interval(t, t)
    values = np.zeros(spline.count)
    values[j : j + spline.degree + 1] = (of or spline.local)(t, j)
    return values


def scipys(spline):
    k = spline.degree
    knots = np.concatenate([[spline.times[0]] * k, spline.times, [spline.times[-1]] * k])
    return [BSpline(knots, np.eye(spline.count)[i], k) for i in range(spline.count)]


@DEGREES
def test_values_and_slopes_are_those_of_scipy(degree):
    spline = WeightSpline(degree, knots=KNOTS)
    reference = scipys(spline)
    for t in np.linspace(-0.99, 1.99, 23):
        np.testing.assert_allclose(dense(spline, t), [float(b(t)) for b in reference], atol=1e-13)
        slopes = [float(b.derivative()(t)) if degree else 0.0 for b in reference]
        np.testing.assert_allclose(dense(spline, t, spline.slope), slopes, atol=1e-11)


@DEGREES
def test_the_basis_sums_to_one_everywhere(degree):
    spline = WeightSpline(degree, knots=KNOTS)
    for t in [*KNOTS, 0.0, 1.3]:
        assert dense(spline, t).sum() == pytest.approx(1.0, abs=1e-14)


@DEGREES
def test_mass_and_stiffness_are_integrals_of_products(degree):
    spline = WeightSpline(degree, knots=KNOTS)
    edges = np.array(KNOTS)
    points, weights = np.polynomial.legendre.leggauss(12)
    t = ((edges[1:] + edges[:-1])[:, None] / 2 + np.diff(edges)[:, None] / 2 * points).ravel()
    w = (np.diff(edges)[:, None] / 2 * weights).ravel()
    values = np.stack([dense(spline, float(s)) for s in t])
    np.testing.assert_allclose(spline.mass, values.T @ (w[:, None] * values), atol=1e-13)
    np.testing.assert_allclose(spline.integrals, w @ values, atol=1e-13)
    assert spline.integrals.sum() == pytest.approx(3.0)
    if degree:
        slopes = np.stack([dense(spline, float(s), spline.slope) for s in t])
        np.testing.assert_allclose(spline.stiffness, slopes.T @ (w[:, None] * slopes), atol=1e-10)


def test_smoothness_of_steps_counts_jumps_over_distances():
    spline = WeightSpline(0, knots=(0.0, 1.0, 3.0, 4.0))
    w = np.array([2.0, -1.0, 0.5])
    assert w @ spline.stiffness @ w == pytest.approx(9.0 / 1.5 + 2.25 / 1.5)


def test_a_knot_belongs_to_the_side_of_the_step():
    spline = WeightSpline(0, intervals=4).on((0.0, 1.0))
    assert spline.interval(0.5, inside=0.4) == 1
    assert spline.interval(0.5, inside=0.6) == 2
    assert spline.interval(0.0, inside=0.1) == 0
    assert spline.interval(1.0, inside=0.9) == 3


def test_a_knot_that_rounding_moved_is_still_the_knot():
    spline = WeightSpline(0, intervals=10).on((0.0, 1.0))
    t = 0.1 + 0.2  # 0.30000000000000004
    assert spline.interval(t, inside=0.25) == 2
    assert spline.interval(0.3 - 1e-13, inside=0.35) == 3


@pytest.mark.parametrize(("fine", "coarse"), [((3, 8), (3, 4)), ((1, 6), (1, 3)), ((0, 6), (0, 2)), ((3, 2), (0, 1))])
def test_projection_is_exact_where_the_space_holds_the_function(fine, coarse):
    one, other = (WeightSpline(d, intervals=k).on((0.0, 2.0)) for d, k in (fine, coarse))
    w = np.linspace(-1, 1, other.count) ** 3
    moved = one.projection(other) @ w
    for t in np.linspace(0.01, 1.99, 17):
        assert dense(one, t) @ moved == pytest.approx(dense(other, t) @ w, abs=1e-12)


def test_projection_keeps_the_integral():
    one, other = WeightSpline(1, knots=(0, 0.3, 1)), WeightSpline(3, intervals=5).on((0.0, 1.0))
    w = np.arange(8.0) ** 2
    assert one.integrals @ (one.projection(other) @ w) == pytest.approx(other.integrals @ w)


def test_projection_from_knots_beyond_the_horizon_looks_at_the_horizon_alone():
    wide, narrow = WeightSpline(1, knots=(-1.0, 1.5)), WeightSpline(1, knots=(0.0, 1.0))
    moved = narrow.projection(wide) @ np.array([-1.0, 1.5])  # w(t) = t
    np.testing.assert_allclose(moved, [0.0, 1.0], atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"degree": -1, "intervals": 2}, "degree -1 do not exist"),
        ({"degree": 1.0, "intervals": 2}, "degree 1.0 do not exist"),
        ({"intervals": 0}, "0 intervals"),
        ({"intervals": True}, "True intervals"),
        ({}, "either intervals=, .* or knots="),
        ({"intervals": 2, "knots": (0.0, 1.0)}, "not both"),
        ({"knots": (0.0,)}, "two or more times"),
        ({"knots": (0.0, 0.0, 1.0)}, "strictly increase"),
        ({"knots": (0.0, float("nan"))}, "strictly increase"),
        ({"knots": 3.0}, "give a list of times"),
    ],
)
def test_what_is_no_grid_says_so(arguments, sentence):
    with pytest.raises(ProblemError, match=sentence):
        WeightSpline(**arguments)


def test_knots_that_do_not_cover_the_horizon_are_refused():
    with pytest.raises(ProblemError, match=r"from 0 to 0\.5, which do not cover the horizon from 0 to 1"):
        WeightSpline(1, knots=(0.0, 0.5)).on((0.0, 1.0))


def test_unknown_weights_are_refused_with_the_known_ones():
    with pytest.raises(ProblemError, match="expected constant, per_step, linear, or a WeightSpline"):
        weight_spline("cubic", (0.0, 1.0), [0.0, 1.0])
