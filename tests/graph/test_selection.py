"""Derivatives through `where`: the branch that is not taken never shows, not even as 0 times infinity."""

import numpy as np
import pytest
import torch

from pontryagin.graph import Graph, capture, count_operations, evaluate, gradient, hessian, jacobian, simplify


def formula(function, size=2):
    graph = Graph()
    (output,) = capture(graph, function, [("x", size)], name="function", shape=()).outputs
    return output, [graph.input("x", i) for i in range(size)]


def derivatives(function, point):
    """Gradient by reverse mode, by forward mode, both simplified, and the Hessian (lower half)."""
    output, x = formula(function, len(point))
    reverse = gradient(output, x)
    entries = jacobian([output] * len(x), x)
    forward = [entries.get((0, j), output.graph.constant(0.0)) for j in range(len(x))]
    curvature = hessian(output, x)
    values = {"x": point}
    slopes = [evaluate(nodes, values) for nodes in (reverse, forward, simplify(reverse), simplify(forward))]
    second = np.zeros((len(x), len(x)))
    for (i, j), value in zip(curvature, evaluate(list(curvature.values()), values), strict=True):
        second[i, j] = value
    return slopes, second


CASES = {
    "root": (lambda x: torch.where(x[0] > 0, torch.sqrt(x[0]), 0.0), [0.0, 1.0], [0.0, 0.0]),
    "root of a square": (lambda x: torch.where(x[0] != 0, (x[0] ** 2).sqrt(), x[1]), [0.0, 1.0], [0.0, 1.0]),
    "quotient": (lambda x: torch.where(x[0] != 0, torch.sin(x[0]) / x[0], 1.0), [0.0, 1.0], [0.0, 0.0]),
    "logarithm": (lambda x: torch.where(x[0] > 0, x[1] * torch.log(x[0]), x[1]), [-1.0, 2.0], [0.0, 1.0]),
    "overflow": (lambda x: torch.where(x[0] > 30, x[0], torch.log1p(torch.exp(x[0]))), [1000.0, 1.0], [1.0, 0.0]),
    "behind other operations": (
        lambda x: 3.0 * torch.where(x[0] > 0, torch.sin(torch.sqrt(x[0]) * x[1]) + 1 / x[0], x[1]) ** 2,
        [0.0, 1.0],
        [0.0, 6.0],
    ),
    "nested": (
        lambda x: torch.where(x[0] > 0, torch.where(x[1] > 0, torch.sqrt(x[0]) * torch.log(x[1]), x[0]), x[1]),
        [-1.0, 0.0],
        [0.0, 1.0],
    ),
    "two selections of one root": (
        lambda x: torch.where(x[0] > 0, 1.0, 0.0) * x[1] + _both(x[0].sqrt(), x[0]),
        [0.0, 2.0],
        [0.0, 0.0],
    ),
    "opposite selections": (
        lambda x: torch.where(x[0] > 1, torch.sqrt(x[0]), 0.0) + torch.where(x[0] > 1, 0.0, 2 * torch.sqrt(x[0])),
        [0.25, 1.0],
        [2.0, 0.0],
    ),
    "maximum": (lambda x: torch.maximum(x[0] ** 1.5, x[1]), [0.0, 1.0], [0.0, 1.0]),
    "clamp": (lambda x: torch.clamp(torch.log(x[0]), min=-5.0), [0.0, 1.0], [0.0, 0.0]),
    "distance": (lambda x: torch.linalg.norm(x) * 3.0, [0.0, 0.0], [0.0, 0.0]),
    "smooth friction": (
        lambda x: torch.where(x[0].abs() > 1e-3, x[0] / x[0].abs(), x[0] * 1e3),
        [0.0, 1.0],
        [1e3, 0.0],
    ),
}


def _both(root, x):
    return torch.where(x > 0, root, 0.0) + torch.where(x > 1, root * root, 0.0)


@pytest.mark.parametrize("name", CASES)
def test_the_branch_not_taken_never_shows(name):
    function, point, expected = CASES[name]
    slopes, second = derivatives(function, point)
    for slope in slopes:
        np.testing.assert_allclose(slope, expected, rtol=1e-14)
    assert np.isfinite(second).all()


def test_masked_adjoints_equal_autograd_where_both_branches_are_finite():
    def function(x):
        root = torch.sqrt(x[0] * x[1])
        low = torch.where(x[0] > x[1], root * x[0], torch.log(root))
        high = torch.where(x[0] > 0.5, low / root, torch.where(x[1] > 0.5, root, low * root))
        return high + torch.where(x[0] > x[1], 1.0, root)

    output, x = formula(function)
    slopes = gradient(output, x)
    for point in np.random.default_rng(0).uniform(0.1, 0.9, (20, 2)):
        expected = torch.func.grad(function)(torch.tensor(point))
        np.testing.assert_allclose(
            evaluate(slopes, {"x": point}), expected, rtol=1e-13, atol=1e-14
        )  # some thirty operations


def test_many_selections_of_one_value_stay_affordable():
    def function(x):
        root = torch.sqrt(1.0 + x[0] ** 2)
        return sum(torch.where(x[1] > k / 20, root * k, torch.sin(root)) for k in range(20))

    output, x = formula(function)
    assert sum(count_operations(gradient(output, x)).values()) < 300


def test_structural_zeros_are_left_out():
    graph = Graph()

    def function(x):
        return torch.stack([x[0] * x[1], torch.sign(x[0]) + x[2], torch.floor(x[1]), x[2] ** 2])

    outputs = capture(graph, function, [("x", 3)], name="function", shape=(4,)).outputs
    x = [graph.input("x", i) for i in range(3)]
    assert list(jacobian(outputs, x)) == [(0, 0), (0, 1), (1, 2), (3, 2)]
    assert list(jacobian(outputs[:2], x)) == [(0, 0), (0, 1), (1, 2)]
    assert list(hessian(outputs[0] + outputs[3], x)) == [(1, 0), (2, 2)]
    assert hessian(outputs[1], x) == {}


def test_derivatives_may_be_taken_in_values_inside_a_formula():
    """The chain stops there: the rest of the formula sees a variable."""
    graph = Graph()
    a, b = graph.input("x", 0), graph.input("x", 1)
    inner = graph.apply("sin", a)
    assert gradient(inner * b + a, [inner, b, a]) == [b, inner, graph.constant(1.0)]


def test_the_gradient_of_a_constant_is_zero():
    graph = Graph()
    assert [repr(d) for d in gradient(graph.constant(3.0), [graph.input("x", 0)])] == ["0"]
