"""Formulas and their derivatives against torch.func, over the catalogue and where branches meet."""

import math

import numpy as np
import pytest
import torch
from catalogue import SMOOTH, VALUES

from pontryagin.graph import Graph, capture, evaluate, gradient, hessian, jacobian, simplify

F = torch.nn.functional

#: Rounding of two different orders of the same few hundred operations.
TOLERANCE = 1e-12


def formulas(function, size=4):
    """The graph's x, and the outputs of the function."""
    graph = Graph()
    shape = tuple(function(torch.full((size,), 0.5, dtype=torch.float64)).shape)
    outputs = capture(graph, function, [("x", size)], name="function", shape=shape).outputs
    return [graph.input("x", i) for i in range(size)], outputs


def filled(entries, shape, point):
    """A dense matrix of the structural nonzeros at a point."""
    matrix = np.zeros(shape)
    if entries:
        matrix[tuple(zip(*entries, strict=True))] = evaluate(list(entries.values()), {"x": point})
    return matrix


def points(size=4):
    return np.random.default_rng(3).uniform(0.22, 0.88, (3, size))


def close(found, expected):
    expected = expected.numpy(force=True) if isinstance(expected, torch.Tensor) else expected
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=1.0)
    np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=0, atol=TOLERANCE * scale)


@pytest.mark.parametrize("name", SMOOTH)
def test_values_and_derivatives_equal_those_of_torch(name):
    function = SMOOTH[name]
    x, outputs = formulas(function)
    entries = jacobian(outputs, x)
    total = sum(outputs[1:], start=outputs[0])
    slopes = gradient(total, x)
    curvature = hessian(total, x)
    simple = simplify([*outputs, *slopes])

    def summed(y):
        return function(y).sum()

    for point in points():
        y = torch.tensor(point)
        close(evaluate(outputs, {"x": point}), function(y))
        close(filled(entries, (len(outputs), 4), point), torch.func.jacrev(function)(y))
        close(evaluate(slopes, {"x": point}), torch.func.grad(summed)(y))
        close(filled(curvature, (4, 4), point), torch.tril(torch.func.jacrev(torch.func.jacrev(summed))(y)))
        close(evaluate(simple, {"x": point}), evaluate([*outputs, *slopes], {"x": point}))


@pytest.mark.parametrize("name", VALUES)
def test_values_equal_those_of_torch(name):
    _, outputs = formulas(VALUES[name])
    for point in points():
        close(evaluate(outputs, {"x": point}), VALUES[name](torch.tensor(point)))


#: Functions and a point where branches meet; torch.autograd decides the derivative there.
TIES = {
    "abs": (lambda x: x.abs(), [0.0, -1.0]),
    "maximum": (lambda x: torch.maximum(x, x.flip(0) ** 2), [1.0, 1.0]),
    "minimum": (lambda x: torch.minimum(x, x.flip(0) ** 2), [1.0, 1.0]),
    "maximum_of_itself": (lambda x: torch.maximum(x[0], x[1]), [2.0, 2.0]),
    "fmax": (lambda x: torch.fmax(x[0], x[1]), [2.0, 2.0]),
    "amax_of_two": (lambda x: x.amax(), [1.0, 1.0]),
    "amax_of_three": (lambda x: torch.cat([x, x[:1] ** 2]).amax(), [1.0, 1.0]),
    "amin_of_three": (lambda x: torch.cat([x, x[:1] ** 2]).amin(), [1.0, 1.0]),
    "max_of_all": (lambda x: torch.cat([x, 3 * x[:1] - 2]).max(), [1.0, 1.0]),
    "max_along": (lambda x: x.max(0).values, [1.0, 1.0]),
    "min_along": (lambda x: x.min(0).values, [1.0, 1.0]),
    "clamp": (lambda x: x.clamp(0.0, 1.0), [0.0, 1.0]),
    "clamp_min": (lambda x: x.clamp(min=0.0), [0.0, 1.0]),
    "clamp_max": (lambda x: x.clamp(max=1.0), [0.0, 1.0]),
    "relu": (torch.relu, [0.0, 1.0]),
    "leaky_relu": (F.leaky_relu, [0.0, 1.0]),
    "elu": (F.elu, [0.0, 1.0]),
    "relu6": (F.relu6, [0.0, 6.0]),
    "hardtanh": (F.hardtanh, [-1.0, 1.0]),
    "softplus": (lambda x: F.softplus(x), [0.0, 20.0]),
    "sign": (lambda x: torch.sign(x) * x, [0.0, 1.0]),
    "norm": (lambda x: x.norm(), [0.0, 0.0]),
    "norm_1": (lambda x: x.norm(p=1), [0.0, 1.0]),
    "norm_3": (lambda x: x.norm(p=3), [0.0, 1.0]),
    "norm_inf": (lambda x: x.norm(p=math.inf), [-1.0, 1.0]),
    "std": (lambda x: x.std(), [1.0, 1.0]),
    "sqrt": (lambda x: x[0].sqrt(), [0.0, 1.0]),
    "pow_1.5": (lambda x: x**1.5, [0.0, 1.0]),
    "pow_0": (lambda x: x**0.0 * x[0], [0.0, 1.0]),
    "pow_2": (lambda x: x**2.0, [0.0, 1.0]),
    "pow_tensor": (lambda x: x[0] ** x[1], [0.0, 2.0]),
    "pow_tensor_0": (lambda x: x[0] ** (x[1] - 2.0), [0.5, 2.0]),
    "pow_base_0": (lambda x: 0.0**x, [1.0, 2.0]),
    "sinc": (torch.sinc, [0.0, 1.0]),
    "prod_of_zeros": (lambda x: torch.cat([x, x + 1.0]).prod(), [0.0, 0.0]),
    "cumprod_of_zeros": (lambda x: torch.cat([x, x + 1.0]).cumprod(0), [0.0, 0.0]),
    "where": (lambda x: torch.where(x > 0, x**2, -x), [0.0, 1.0]),
    "floor": (lambda x: torch.floor(x) * x, [1.0, 0.5]),
    "remainder": (lambda x: torch.remainder(x, 1.0), [1.0, 0.5]),
    "atan2": (lambda x: torch.atan2(x[0], x[1]), [0.0, 1.0]),
    "logaddexp": (lambda x: torch.logaddexp(x[0], x[1]), [1.0, 1.0]),
    "logsumexp": (lambda x: torch.logsumexp(x, 0), [1.0, 1.0]),
}


@pytest.mark.parametrize("name", TIES)
def test_where_branches_meet_the_derivative_is_that_of_autograd(name):
    function, point = TIES[name]
    x, outputs = formulas(function, 2)
    y = torch.tensor(point, dtype=torch.float64)
    expected = torch.func.jacrev(function)(y).reshape(len(outputs), 2)
    backward = [gradient(output, x) for output in outputs]
    for row, wanted in zip(backward, expected, strict=True):
        close(evaluate(row, {"x": point}), wanted)
        close(evaluate(simplify(row), {"x": point}), wanted)
    forward = jacobian([*outputs, *outputs], x)  # as many outputs as inputs: forward mode
    close(filled(forward, (2 * len(outputs), 2), point), torch.cat([expected, expected]))
