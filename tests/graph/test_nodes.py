"""The graph: one node for each formula, constants folded, the same order in every run."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from pontryagin.errors import CaptureError
from pontryagin.graph import (
    Graph,
    count_operations,
    dependents,
    depends,
    evaluate,
    inputs,
    operation_count,
    schedule,
)
from pontryagin.graph.operations import COMPUTE, compute
from pontryagin.graph.show import dot, text


@pytest.fixture
def graph():
    return Graph()


@pytest.fixture
def x(graph):
    return [graph.input("x", i) for i in range(3)]


def test_the_same_formula_is_the_same_node(graph, x):
    a, b, _ = x
    assert a + b is b + a
    assert a * b is b * a
    assert graph.input("x", 0) is a
    assert 2.0 * a is a * 2
    assert a - b is not b - a
    assert graph.constant(-0.0) is graph.constant(0.0)
    assert graph.constant(math.nan) is graph.constant(math.nan)


def test_constants_are_folded_and_structural_zeros_and_ones_absorbed(graph, x):
    a, b, _ = x
    zero, one = graph.constant(0.0), graph.constant(1.0)
    assert (graph.constant(2.0) * 3.0).value == 6.0
    assert a + 0.0 is a and a - 0.0 is a and a * 1.0 is a and a / 1.0 is a and a**1 is a
    assert a * 0.0 is zero and 0.0 / a is zero and a - a is zero
    assert a**0 is one and a / a is one
    minus = -a
    assert -minus is a and a * -1.0 is -a and a - (-b) is a + b and -(a - b) is b - a
    assert (-a) * (-b) is a * b and 2.0 * (3.0 * a) is 6.0 * a
    assert a / 4.0 is a * 0.25 and 1.0 / a is graph.apply("reciprocal", a)
    assert a**2 is a * a and a**4 is (a * a) * (a * a) and a**0.5 is graph.apply("sqrt", a)
    assert graph.where(one, a, b) is a and graph.where(zero, a, b) is b and graph.where(a, b, b) is b
    assert graph.apply("cos", -a) is graph.apply("cos", a)
    assert graph.apply("max", a, a) is a


def test_values_that_may_be_nan_are_not_compared_away(graph, x):
    a = x[0]
    assert graph.apply("eq", a, a).op == "eq"
    assert graph.apply("ne", a, a).op == "ne"


def test_folding_follows_ieee_arithmetic():
    assert compute("reciprocal", 0.0) == math.inf
    assert math.isnan(compute("log", -1.0))
    assert math.isnan(compute("max", math.nan, 1.0))
    assert compute("lt", 1.0, 2.0) == 1.0
    assert compute("round", 2.5) == 2.0


def test_numbers_of_numpy_leave_arithmetic_to_the_nodes(graph, x):
    assert np.float64(2.0) * x[0] is 2.0 * x[0]


def test_nodes_of_two_graphs_do_not_mix(graph, x):
    with pytest.raises(ValueError, match="another graph"):
        x[0] + Graph().input("x", 0)


def test_unknown_operations_are_named(graph, x):
    with pytest.raises(ValueError, match="'gamma' with 1 arguments"):
        graph.apply("gamma", x[0])


def test_nodes_cannot_be_changed(x):
    with pytest.raises(AttributeError):
        x[0].op = "constant"


def test_the_largest_size_is_an_error_with_a_remedy():
    small = Graph(limit=3)
    inside = small.input("x", 0) + small.input("x", 1)
    with pytest.raises(CaptureError, match=r"more than 3 scalar operations.*torch backend"):
        inside * 2.0


def test_schedule_has_arguments_first_and_values_close_to_their_use(graph, x):
    a, b, c = x
    first, second = graph.apply("sin", a), graph.apply("cos", b)
    output = first * 2.0 + second * c
    order = schedule([output])
    assert all(order.index(arg) < order.index(node) for node in order for arg in node.args)
    assert order.index(first) < order.index(first * 2.0) < order.index(second)


def test_deep_formulas_need_no_recursion(graph, x):
    y = x[0]
    for _ in range(5000):
        y = graph.apply("sin", y)
    assert operation_count([y]) == 5000


def test_dependence_inputs_and_counts(graph, x):
    a, b, c = x
    product = a * b
    output = product + graph.apply("sin", product)
    assert depends(output, [a]) and not depends(output, [c])
    assert product in dependents([output], [a])
    assert inputs([output]) == [a, b]
    assert count_operations([output, product]) == {"mul": 1, "sin": 1, "add": 1}
    assert operation_count([output]) == 3


def test_evaluation_takes_trailing_axes_together(graph, x):
    output = [x[0] * x[1] + graph.input("t", 0), graph.constant(3.0)]
    values = np.arange(12.0).reshape(2, 2, 3)
    found = evaluate(output, {"x": values, "t": 1.0})
    assert found.shape == (2, 2, 3)
    np.testing.assert_array_equal(found[0], values[0] * values[1] + 1.0)
    np.testing.assert_array_equal(found[1], 3.0)


def test_evaluation_names_the_missing_group(x):
    with pytest.raises(KeyError, match="'x'"):
        evaluate([x[0]], {"u": 1.0})


@pytest.mark.parametrize("op", COMPUTE)
def test_every_operation_is_evaluated_as_it_is_folded(op):
    graph = Graph()
    arguments = (0.4, 0.7, 0.2)
    for count in (1, 2, 3):
        try:
            node = graph.apply(op, *(graph.input("x", i) for i in range(count)))
        except ValueError:
            continue
        folded = compute(op, *arguments[:count])
        np.testing.assert_array_equal(evaluate([node], {"x": arguments[:count]}), [folded])


def test_formulas_are_shown_as_lines_and_as_dot(graph, x):
    output = graph.apply("sin", x[0]) * 0.5 - x[1]
    assert text([output], ["y"]) == "v1 = sin(x[0])\nv2 = 0.5 * v1\nv3 = v2 - x[1]\ny = v3"
    drawing = dot([output])
    assert drawing.startswith("digraph") and drawing.count("->") == 6 and 'label="sin"' in drawing


def test_graphs_do_not_depend_on_the_seed_of_hashes():
    program = (
        "import torch\n"
        "from pontryagin.graph import *\n"
        "g = Graph()\n"
        "f = lambda x: torch.sin(x) * x.flip(0) / (1 + x.norm()) + torch.where(x > 0, x, 2 * x)\n"
        "y = list(capture(g, f, [('x', 3)], name='f', shape=(3,)).outputs)\n"
        "x = [g.input('x', i) for i in range(3)]\n"
        "y += gradient(y[0] * y[1], x) + list(hessian(y[2], x).values())\n"
        "print(text(simplify(y)))\n"
    )
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    runs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **path, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1
    assert len(runs.pop().splitlines()) > 20
