"""Simplification keeps values and derivatives, and finds what a person would."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pontryagin.graph import (
    Graph,
    capture,
    count_operations,
    evaluate,
    gradient,
    hessian,
    operation_count,
    simplify,
)
from pontryagin.graph.simplify import cost


@pytest.fixture
def graph():
    return Graph()


@pytest.fixture
def x(graph):
    return [graph.input("x", i) for i in range(5)]


def cart_pole(t, x, u):
    """Kelly (2017), section 6.2."""
    m1, m2, length, g = 1.0, 0.3, 0.5, 9.81
    s, c, w = torch.sin(x[1]), torch.cos(x[1]), x[3]
    d = m1 + m2 * s * s
    a1 = (length * m2 * s * w * w + u[0] + m2 * g * c * s) / d
    a2 = -(length * m2 * c * s * w * w + u[0] * c + (m1 + m2) * g * s) / (length * d)
    return torch.stack((x[2], x[3], a1, a2))


def hamiltonian_system(dynamics, cost, n, m):
    """[f, L, derivatives of w L + m.f] and the number of operations of f and L before and after simplification."""
    graph = Graph()
    arguments = [("t", None), ("x", n), ("u", m)]
    f = capture(graph, dynamics, arguments, name="dynamics", shape=(n,)).outputs
    running = capture(graph, cost, arguments, name="running_cost", shape=()).outputs
    primal = simplify([*f, *running])
    total = graph.input("w", 0) * primal[-1]
    for i, component in enumerate(primal[:-1]):
        total = total + graph.input("m", i) * component
    variables = [graph.input("x", i) for i in range(n)] + [graph.input("u", i) for i in range(m)]
    return primal, gradient(total, variables)


def test_cart_pole_needs_fewer_operations_than_the_trial():
    """81 as traced and 61 simplified, 20 to 24 of them for f and L, in the trial of the whole path.

    Fewer, because the accelerations, which are quotients, are reused in their own derivatives, and multiples of one
    value in several products.
    """
    primal, slopes = hamiltonian_system(cart_pole, lambda t, x, u: u[0] ** 2, 4, 1)
    simple = simplify([*primal, *slopes])
    assert operation_count(simple) <= 54
    assert operation_count(simple[:5]) <= 21
    counts = count_operations(simple)
    assert counts["div"] + counts["reciprocal"] == 1
    assert counts["sin"] == counts["cos"] == 1
    values = {"x": [0.3, 0.8, -0.2, 1.1], "u": [0.4], "m": [0.1, -0.7, 0.5, 0.9], "w": 1.3}
    # sixty operations in another order
    np.testing.assert_allclose(evaluate(simple, values), evaluate([*primal, *slopes], values), rtol=1e-13)


@pytest.mark.parametrize(
    ("formula", "operations"),
    [
        (lambda a, b, c, d, e: [a + b + a + 2.0 * b - c], 4),  # 2a + 3b - c
        (lambda a, b, c, d, e: [a + b - a], 0),
        (lambda a, b, c, d, e: [a * b + a * c + a * d], 3),  # a (b + c + d)
        (lambda a, b, c, d, e: [2.0 * a + 2.0 * b], 2),
        (lambda a, b, c, d, e: [2.0 * a * (3.0 * b) * (0.5 * c)], 3),
        (lambda a, b, c, d, e: [a / d, b / d, c / d], 4),  # one reciprocal
        (lambda a, b, c, d, e: [a / (b * c), d / (2.0 * b * c)], 5),
        (lambda a, b, c, d, e: [(a + b + c) * d, (a + b - c) * e], 5),
        (lambda a, b, c, d, e: [a * b * c, a * b * d], 3),
        (lambda a, b, c, d, e: [(a - b) * c, (b - a) * d], 4),  # the second with a sign only
        (lambda a, b, c, d, e: [a * a * a * a * a * a * a * a], 3),
        # twice the bracket, which has c / 2 in it: that is there already
        (lambda a, b, c, d, e: [c + 0.6 * e * (a * b - 0.25 * c * d + 0.5 * e * e), a - 0.5 * c], 11),
        (lambda a, b, c, d, e: [-a - b], 2),
        (lambda a, b, c, d, e: [a**2 + 2.0 * a * b + b**2 - b**2 - 2.0 * a * b], 1),
    ],
)
def test_operations_left(graph, x, formula, operations):
    outputs = formula(*x)
    simple = simplify(outputs)
    assert operation_count(simple) == operations
    point = {"x": [0.3, -1.2, 0.7, 1.9, 0.4]}
    np.testing.assert_allclose(evaluate(simple, point), evaluate(outputs, point), rtol=1e-13)


def test_a_common_denominator_is_inverted_once(x):
    a, b, c, d, _ = x
    counts = count_operations(simplify([a / (c + d), b / (c + d), (a - b) / (d + c)]))
    assert counts["reciprocal"] == 1
    assert counts["div"] == 0


def test_a_single_quotient_stays_a_division(x):
    assert count_operations(simplify([x[0] * x[1] / (x[2] + x[3])])) == {"mul": 1, "add": 1, "div": 1}


def test_numerators_do_not_cancel_denominators(x):
    quotient = simplify([x[0] * x[0] / x[0]])
    assert np.isnan(evaluate(quotient, {"x": [0.0]})[0])


def test_nothing_moves_out_of_a_selection(graph, x):
    a, b, c, _, _ = x
    safe = graph.where(graph.apply("eq", a, 0.0), 0.0, b / a)
    outputs = [safe * c + safe * b, graph.apply("max", a + b + a, c)]
    found = evaluate(simplify(outputs), {"x": [0.0, 2.0, 3.0]})
    np.testing.assert_array_equal(found, [0.0, 3.0])


def test_simplifying_again_changes_nothing():
    primal, slopes = hamiltonian_system(cart_pole, lambda t, x, u: u[0] ** 2, 4, 1)
    once = simplify([*primal, *slopes])
    assert operation_count(simplify(once)) == operation_count(once)


def test_nothing_is_simplified_to_nothing(graph):
    assert simplify([]) == []
    assert simplify([graph.constant(0.0)]) == [graph.constant(0.0)]


def test_infinite_constants_survive(graph, x):
    infinity = graph.constant(np.inf)
    outputs = [graph.apply("min", x[0] + x[0], infinity) + infinity * x[1] + x[0] + x[0]]
    np.testing.assert_array_equal(evaluate(simplify(outputs), {"x": [1.0, 2.0]}), [np.inf])


LEAVES = st.one_of(st.integers(0, 4), st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.3, 1.0, 3.0]))
FORMULAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["add", "sub", "mul", "add", "mul"]), inner, inner),
        st.tuples(st.sampled_from(["neg", "sin", "tanh"]), inner),
        st.tuples(st.just("div"), inner, st.tuples(st.just("add"), st.just(9.0), st.tuples(st.just("sin"), inner))),
        st.tuples(st.just("where"), st.tuples(st.just("lt"), inner, inner), inner, inner),
        st.tuples(st.just("pow"), inner, st.sampled_from([2.0, 3.0, 5.0])),
    ),
    max_leaves=25,
)


def built(graph, formula):
    if isinstance(formula, int):
        return graph.input("x", formula)
    if isinstance(formula, float):
        return graph.constant(formula)
    return graph.apply(formula[0], *(built(graph, part) for part in formula[1:]))


@settings(max_examples=150)
@given(st.lists(FORMULAS, min_size=1, max_size=3))
def test_random_formulas_keep_their_values_and_derivatives(formulas):
    graph = Graph()
    outputs = [built(graph, formula) for formula in formulas]
    variables = [graph.input("x", i) for i in range(5)]
    outputs += gradient(outputs[0], variables)
    simple = simplify(outputs)
    assert cost(simple) <= cost(outputs)
    again = gradient(simple[0], variables)
    point = {"x": np.random.default_rng(1).uniform(-1.5, 1.5, (5, 4))}
    expected = evaluate(outputs, point)
    size = 1.0 + np.abs(expected).max()
    # sums are reordered, so that what cancels is left to rounding of its largest term
    np.testing.assert_allclose(evaluate(simple, point), expected, rtol=0, atol=1e-9 * size)
    np.testing.assert_allclose(evaluate(again, point), expected[len(formulas) :], rtol=0, atol=1e-9 * size)


def test_large_formulas_take_well_under_a_second():
    """Half a second where this was written; ten times that is left for slow machines."""

    def ring(x):
        """Masses on a ring: 40 positions, 40 velocities."""
        q, v = x[:40], x[40:]
        stretch = torch.diff(q, prepend=q[-1:])
        force = torch.sin(stretch) * stretch**2 + torch.tanh(v) + 1.0 / (1.0 + q * q)
        return torch.cat([v, torch.roll(force, -1) - force])

    graph = Graph()
    f = capture(graph, ring, [("x", 80)], name="ring", shape=(80,)).outputs
    x = [graph.input("x", i) for i in range(80)]
    total = sum((graph.input("m", i) * c for i, c in enumerate(f)), start=graph.constant(0.0))
    start = time.process_time()
    second = hessian(total, x)
    simplify([*f, *gradient(total, x), *second.values()])
    assert time.process_time() - start < 5.0
    # each row of the Hessian knows its own position, its two neighbours and its velocity
    assert len(second) == 40 * 3 - 40 + 40
