"""Capture: what becomes formulas, and the sentence for everything that does not."""

import math
import random
import warnings

import numpy as np
import pytest
import torch

from pontryagin.errors import CaptureError, ProblemError
from pontryagin.graph import Graph, ImplicitParameters, capture, evaluate, gradient, operation_count

ARGUMENTS = [("t", None), ("x", 2), ("u", 1)]


def captured(function, shape=(2,), arguments=ARGUMENTS, **options):
    return capture(Graph(), function, arguments, name="dynamics", shape=shape, **options)


# -- what becomes formulas


def test_views_stacks_and_indices_cost_nothing():
    def function(t, x, u):
        y = torch.stack([x, x.flip(0)]).T.reshape(-1)[1:3].unsqueeze(0).expand(3, 2)[1]
        return torch.cat([y[:1], y[-1:]]).roll(1)

    outputs = captured(function).outputs
    assert operation_count(outputs) == 0
    assert [node.index for node in outputs] == [1, 1]


def test_writing_into_a_view_is_seen_by_all_who_share_the_memory():
    def function(t, x, u):
        matrix = torch.zeros(2, 2, dtype=x.dtype)
        row, column = matrix[0], matrix[:, 1]
        row.add_(x)
        column.mul_(2.0)
        matrix[1] = u
        return row + matrix[1]

    (a, b) = captured(function).outputs
    np.testing.assert_allclose(evaluate([a, b], {"x": [3.0, 5.0], "u": [7.0]}), [10.0, 17.0], rtol=0)


def test_writing_into_an_argument_leaves_later_captures_alone():
    def function(t, x, u):
        x += u
        return x

    assert [repr(node) for node in captured(function).outputs] == ["add(x[0], u[0])", "add(x[1], u[0])"]


def test_tensors_without_values_may_be_filled_in():
    def function(t, x, u):
        y = x.new_empty(2)
        y[0], y[1] = u[0], t
        return y

    assert [repr(node) for node in captured(function).outputs] == ["u[0]", "t[0]"]


def test_single_precision_zeros_filled_with_traced_values_are_formulas():
    def function(t, x, u):
        dx = torch.zeros(2)
        dx[0] = x[1]
        dx[1] = 0.1 * u[0]
        return dx

    _, second = captured(function).outputs
    assert evaluate([second], {"u": [1.0]})[0] == 0.1


def test_closed_over_tensors_are_constants():
    matrix = torch.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=torch.float64)
    outputs = captured(lambda t, x, u: matrix @ x).outputs
    assert repr(outputs[1]) == "x[1]"


def test_single_precision_constants_are_promoted_with_a_warning():
    with pytest.warns(UserWarning, match=r"dynamics uses float32 constants.*0\.10000000149011612.*torch\.float64"):
        (first, _) = captured(lambda t, x, u: torch.tensor(0.1) * x).outputs
    assert first.args[0].value == pytest.approx(0.10000000149011612, rel=0, abs=0)


def test_single_precision_constants_without_rounding_are_promoted_silently():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        captured(lambda t, x, u: torch.tensor(0.5) * x)


def test_branches_on_shapes_and_constants_are_taken():
    constant = torch.tensor(2.0, dtype=torch.float64)
    outputs = captured(lambda t, x, u: x * 3.0 if x.shape[0] == 2 and constant > 1 else x).outputs
    assert repr(outputs[0]) == "mul(3, x[0])"


def test_a_number_or_a_constant_may_be_returned():
    assert repr(captured(lambda t, x, u: 3.0, shape=()).outputs[0]) == "3"
    assert repr(captured(lambda t, x, u: x.new_zeros(()), shape=()).outputs[0]) == "0"
    assert captured(lambda t, x, u: x[:0], shape=(0,)).outputs == ()


def test_functions_may_differentiate_inside():
    def force(x):
        return (torch.sin(x) * x.flip(0)).sum() ** 2

    def function(t, x, u):
        y = x.clone().requires_grad_()
        return torch.autograd.grad(force(y), y)[0] - torch.func.grad(force)(x)

    found = evaluate(captured(function).outputs, {"x": [0.3, 0.4]})
    np.testing.assert_allclose(found, 0.0, atol=1e-14)  # two orders of the same ten operations


def test_builtin_functions_can_be_captured():
    outputs = captured(torch.add, arguments=[("x", 2), ("u", 2)]).outputs
    assert repr(outputs[1]) == "add(x[1], u[1])"


def test_the_same_function_gives_the_same_graph():
    def function(t, x, u):
        y = torch.empty(2, dtype=x.dtype)
        y.copy_(torch.sin(x) * u + torch.cos(x * t))
        return y / y.norm()

    first, second = Graph(), Graph()
    for graph in (first, second):
        outputs = capture(graph, function, ARGUMENTS, name="dynamics", shape=(2,)).outputs
        gradient(outputs[0], [graph.input("x", i) for i in range(2)])
    assert [repr(node) for node in first.nodes] == [repr(node) for node in second.nodes]


# -- parameters


def test_trainable_parameters_become_theta_after_the_declared_ones():
    weight = torch.nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64))
    bias = torch.nn.Parameter(torch.tensor([5.0, 6.0], dtype=torch.float64))
    implicit = ImplicitParameters(3)
    graph = Graph()
    arguments = [*ARGUMENTS, ("theta", 3)]

    def dynamics(t, x, u, theta):
        return weight @ x + theta[2]

    def cost(t, x, u, theta):
        return (bias * x).sum() + weight.T[0, 1]

    (first, _) = capture(graph, dynamics, arguments, name="dynamics", shape=(2,), parameters=implicit).outputs
    (second,) = capture(graph, cost, arguments, name="cost", shape=(), parameters=implicit).outputs
    assert implicit.parameters == [weight, bias]
    assert implicit.offsets == [3, 7]
    assert implicit.count == 6
    assert implicit.values().tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    theta = [graph.input("theta", i) for i in range(9)]
    assert [repr(d) for d in gradient(first, theta)] == ["0", "0", "1", "x[0]", "x[1]", "0", "0", "0", "0"]
    assert [repr(d) for d in gradient(second, theta)] == ["0", "0", "0", "0", "0", "1", "0", "x[0]", "x[1]"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_small_networks_become_formulas_of_either_precision(dtype):
    network = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2)).to(dtype)
    found = captured(lambda t, x, u: network(torch.cat([x, u])))
    assert found.parameters.count == 32
    values = {"x": [0.2, -0.4], "u": [0.6], "theta": found.parameters.values()}
    expected = network.double()(torch.tensor([0.2, -0.4, 0.6], dtype=torch.float64))
    np.testing.assert_allclose(evaluate(found.outputs, values), expected.detach(), rtol=1e-14)


def test_frozen_parameters_are_constants():
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64), requires_grad=False)
    assert captured(lambda t, x, u: weight * x).parameters.count == 0


# -- what is refused


def frozen_by_state():
    calls = iter(range(100))
    return lambda t, x, u: x * next(calls)


UNKNOWN = "which has no formula here"
REFUSED = {
    "branch on the state": (lambda t, x, u: x if x[0] > 0 else -x, "decides by a value.*torch.where"),
    "branch on the time": (lambda t, x, u: x if t < 1 else -x, "decides by a value.*torch.where"),
    "assertion": (lambda t, x, u: x * bool((x > 0).all()), "decides by a value"),
    "torch.equal": (lambda t, x, u: x if torch.equal(x, x) else -x, "aten.equal.*torch.where"),
    "torch.allclose": (lambda t, x, u: x if torch.allclose(x, x + 1) else -x, "decides by a value"),
    "math.sin": (lambda t, x, u: x * math.sin(x[0]), r"torch.sin\(x\[0\]\) in place of math.sin"),
    "item": (lambda t, x, u: x * x[0].item(), "takes a number out of a traced tensor"),
    "float": (lambda t, x, u: x * float(u[0]), "takes a number out of a traced tensor"),
    "int": (lambda t, x, u: x * int(u), "takes a number out of a traced tensor"),
    "numpy": (lambda t, x, u: x * torch.from_numpy(np.sin(x.numpy())), "hands traced values to numpy"),
    "tolist": (lambda t, x, u: x * x.tolist()[0], "hands traced values to numpy or Python"),
    "detach": (lambda t, x, u: x * x.detach(), r"detaches traced values.*leave out detach\(\)"),
    "data": (lambda t, x, u: x * x.data, "detaches traced values"),
    "torch.tensor": (lambda t, x, u: torch.tensor([x[1], u[0]]), "torch.stack.*in place of torch.tensor"),
    "torch.as_tensor": (lambda t, x, u: torch.as_tensor([x[1], u[0]]), "torch.stack"),
    "random numbers": (lambda t, x, u: x + torch.rand(2), "draws random numbers"),
    "dropout": (lambda t, x, u: torch.nn.functional.dropout(x), r"draws random numbers.*eval\(\)"),
    "Python's random numbers": (
        lambda t, x, u: x * random.random(),
        r"differs from its formulas.*torch\.tensor\(\[x\[0\], \.\.\.\]\).*\.detach\(\)\.numpy\(\)",
    ),
    "state between calls": (frozen_by_state(), "differs from its formulas"),
    "sort": (lambda t, x, u: x.sort().values, f"aten.sort, {UNKNOWN}"),
    "lgamma": (torch.lgamma, f"aten.lgamma, {UNKNOWN}"),
    "index by a value": (lambda t, x, u: x[(x > 0).long()], "index that depends on the inputs"),
    "selection by a mask": (lambda t, x, u: x * x[x > 0].sum(), "index that depends on the inputs"),
    "complex numbers": (lambda t, x, u: x * torch.fft.fft(x).real, "aten._fft_r2c|complex"),
    "large systems": (lambda t, x, u: torch.inverse(torch.eye(5, dtype=x.dtype) * u)[0, :2], "5 x 5.*4 x 4"),
    "large products": (lambda t, x, u: (torch.ones(2, 600) * u @ torch.ones(600, 600)).sum(1), "more than 200000"),
    "nowhere finite": (lambda t, x, u: torch.log(-x * x - 1), "not finite at any"),
    "undefined zero": (lambda t, x, u: x + 0.0 * torch.sqrt(x), "differs from its formulas.*nan"),
    "factors of a decomposition": (
        lambda t, x, u: torch._C._linalg._linalg_det(torch.diag(x))[1][0] if False else x.max(0).indices * x,
        "a value that has no formula",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_say_why_and_where(name):
    function, sentence = REFUSED[name]
    arguments = [("x", 2)] if function is torch.lgamma else ARGUMENTS
    with pytest.raises(CaptureError, match=f"(?s)^dynamics .*({sentence})") as refusal:
        captured(function, arguments=arguments)
    if "differs" not in sentence and "finite" not in sentence:
        assert "test_capture.py:" in str(refusal.value)
        assert "`" in str(refusal.value)


def test_graphs_have_a_largest_size():
    def function(t, x, u):
        for _ in range(100):
            x = torch.sin(x) * u
        return x

    with pytest.raises(CaptureError, match="more than 50 scalar operations"):
        capture(Graph(limit=50), function, ARGUMENTS, name="dynamics", shape=(2,))


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda t, x, u: x[5] * x, "dynamics raised IndexError.*test_capture.py:"),
        (lambda t, x, u: [x[0], x[1]], "returned a list; return one tensor"),
        (lambda t, x, u: x[0], r"returned shape \(\); expected \(2,\)"),
    ],
    ids=["raises", "returns a list", "returns another shape"],
)
def test_faults_of_the_function_itself_are_problem_errors(function, sentence):
    with pytest.raises(ProblemError, match=sentence):
        captured(function)


def test_formulas_are_compared_near_the_probes():
    """Random points are moderate; a value frozen for large states only shows near the probe."""
    memory = []

    def function(t, x, u):
        memory.append(float(np.abs(_peek(x)).max()) > 50.0)
        return x * 2.0 if memory[-1] else x

    captured(function)
    with pytest.raises(CaptureError, match="differs from its formulas"):
        captured(function, probes=[{"x": [100.0, 200.0], "t": 0.0}])


def _peek(x):
    """The numbers of a tensor, past every guard of tracing."""
    with torch._C.DisableTorchFunction(), torch.utils._python_dispatch._disable_current_modes():
        return x.detach().numpy()
