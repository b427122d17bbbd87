"""Gradients of nets: against differences, against back-propagation of a residual network, against one another."""

import math

import pytest
import torch
from torch import nn

import pontryagin as pmp
from pontryagin.tableau import TABLEAUS
from tests.neural.nets import COSTS, SPLINES, Timed, difference, flat, gradients, perceptron, states, value, varied

EXACT = ["discrete", "checkpoint", "reversible"]


def net_of(gradient="discrete", field=None, backend="torch", **options):
    return varied(pmp.ODENet(field or perceptron(), gradient=gradient, backend=backend, **{"steps": 5, **options}))


def cost_function(t, x, w):
    return (x**4).sum(1) * (1 + t) + w["0.bias"].square().sum()


@pytest.mark.parametrize("gradient", EXACT)
@pytest.mark.parametrize("cost", [*COSTS.values(), cost_function], ids=[*COSTS, "function"])
@pytest.mark.parametrize("weights", SPLINES.values(), ids=SPLINES)
def test_gradient_is_that_of_the_computed_number(weights, cost, gradient):
    net, x = net_of(gradient, weights=weights, running_cost=cost), states()
    found = flat(*gradients(net, x))
    for seed in range(3):
        direction = torch.randn(len(found), generator=torch.Generator().manual_seed(seed), dtype=found.dtype)
        by_difference = difference(net, x, direction)
        assert abs(found @ direction - by_difference) < 1e-7 * found.norm() * direction.norm()


@pytest.mark.parametrize("scheme", TABLEAUS)
@pytest.mark.parametrize("gradient", EXACT)
def test_gradient_is_exact_for_every_scheme(scheme, gradient):
    net, x = net_of(gradient, weights="linear", scheme=scheme), states()
    found = flat(*gradients(net, x))
    direction = torch.randn(len(found), generator=torch.Generator().manual_seed(4), dtype=found.dtype)
    assert abs(found @ direction - difference(net, x, direction)) < 1e-7 * found.norm() * direction.norm()


@pytest.mark.parametrize("weights", SPLINES.values(), ids=SPLINES)
def test_checkpoints_change_nothing(weights):
    x = states()
    plain, kept = (net_of(g, weights=weights, steps=7, running_cost=COSTS["all"]) for g in ("discrete", "checkpoint"))
    torch.testing.assert_close(flat(*gradients(kept, x)), flat(*gradients(plain, x)), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("scheme", ["euler", "midpoint", "bogacki_shampine", "rk4"])
def test_continuous_gradient_nears_the_discrete_one_with_the_order_of_the_scheme(scheme):
    order = TABLEAUS[scheme].order
    steps, errors = [8, 16, 32], []
    for n in steps:
        exact, inexact = (
            flat(*gradients(net_of(g, steps=n, scheme=scheme, running_cost=COSTS["all"]), states()))
            for g in ("discrete", "continuous")
        )
        errors.append(float((exact - inexact).norm() / exact.norm()))
    assert errors[0] > 1e-10  # inexact it is
    slope = math.log(errors[0] / errors[-1]) / math.log(steps[-1] / steps[0])
    assert slope > order - 0.35


@pytest.mark.parametrize("scheme", ["euler", "heun", "rk4"])
def test_reversible_map_has_the_order_of_its_scheme(scheme):
    fine = net_of(steps=400, scheme="dormand_prince")(states()).detach()
    errors = [float((net_of("reversible", steps=n, scheme=scheme)(states()) - fine).detach().norm()) for n in (10, 40)]
    assert math.log(errors[0] / errors[1]) / math.log(4) > TABLEAUS[scheme].order - 0.4


def test_reversible_steps_come_back_to_the_start():
    """Its backward pass walks the states again; what it ends with is x0 up to rounding times 0.999^-N."""
    steps = 200
    net, x = net_of("reversible", steps=steps), states()
    plain = varied(pmp.ODENet(perceptron(), steps=steps, gradient="reversible", backend="torch"))
    found, by_unrolling = flat(*gradients(net, x)), flat(*_unrolled_reversible(plain, x))
    torch.testing.assert_close(found, by_unrolling, rtol=1e-10 * 0.999**-steps, atol=1e-12)


def _unrolled_reversible(net, x):
    """The gradient of the reversible map by back-propagation through its steps."""
    from pontryagin.neural.reversible import COUPLING, _rows

    x = x.clone().requires_grad_()
    flow, weights = net._flow(), dict(net.field.named_parameters())
    y = z = x
    for n in range(flow.steps):
        y = COUPLING * y + (1 - COUPLING) * z + flow.increment(n, z, _rows(flow, n, weights, back=False))[0]
        z = z - flow.increment(n, y, _rows(flow, n, weights, back=True), back=True)[0]
    found = torch.autograd.grad((y**2).sum(), [x, *weights.values()])
    return found[0], dict(zip(weights, found[1:], strict=True))


@pytest.mark.parametrize("backend", ["torch", "fused"])
def test_euler_net_with_weights_per_step_is_a_residual_network(backend):
    depth, width = 6, 3
    torch.manual_seed(2)
    blocks = [nn.Sequential(nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, width)).double() for _ in range(depth)]
    net = pmp.ODENet(
        blocks[0], horizon=(0, depth), steps=depth, scheme="euler", weights="per_step", backend=backend
    ).double()
    with torch.no_grad():
        for name, coefficients in net.field.named_parameters():
            coefficients.copy_(torch.stack([dict(block.named_parameters())[name] for block in blocks]))
    x = states(7, width).requires_grad_()
    y = x
    layers = []
    for block in blocks:
        layers.append(y)
        y.retain_grad()
        y = y + block(y)
    y.square().sum().backward()
    by_layers, x.grad = x.grad.clone(), None
    end = net(x)
    torch.testing.assert_close(end, y, rtol=1e-12, atol=1e-12)
    end.square().sum().backward()
    torch.testing.assert_close(x.grad, by_layers, rtol=1e-12, atol=1e-12)
    for name, coefficients in net.field.named_parameters():
        expected = torch.stack([dict(block.named_parameters())[name].grad for block in blocks])
        torch.testing.assert_close(coefficients.grad, expected, rtol=1e-12, atol=1e-12)
    costate = net.trajectory(x, lambda end: end.square().sum(1), reduction="sum").costate
    torch.testing.assert_close(
        costate[:, :-1], torch.stack([layer.grad for layer in layers], 1), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("gradient", ["discrete", "checkpoint"])
def test_second_derivatives_exist_on_the_torch_path(gradient):
    net = net_of(gradient, field=Timed(), steps=3)
    x = states(2).requires_grad_()
    assert torch.autograd.gradgradcheck(net, (x,))


@pytest.mark.parametrize("gradient", ["reversible", "continuous"])
def test_second_derivatives_are_refused_where_they_do_not_exist(gradient):
    net, x = net_of(gradient), states().requires_grad_()
    (first,) = torch.autograd.grad(value(net, x), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize("gradient", [*EXACT, "continuous"])
def test_unused_parameters_receive_zeros(gradient):
    field = Timed()
    field.extra = nn.Linear(2, 2).double()
    net = net_of(gradient, field=field)
    value(net, states()).backward()
    assert torch.equal(net.field.extra.weight.grad, torch.zeros(1, 2, 2, dtype=torch.float64))
    assert net.field.inner.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("backend", ["torch", "fused"])
@pytest.mark.parametrize("gradient", ["discrete", "checkpoint"])
def test_frozen_parameters_stay_without_gradient(gradient, backend):
    field = perceptron()
    field[0].weight.requires_grad_(False)
    net = net_of(gradient, field=field, backend=backend)
    value(net, states()).backward()
    assert net.field[0].weight.grad is None
    assert net.field[2].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("gradient", [*EXACT, "continuous"])
def test_a_field_without_parameters_is_integrated(gradient):
    net = pmp.ODENet(nn.Tanh(), backend="torch", gradient=gradient)
    x = states().requires_grad_()
    (g,) = torch.autograd.grad(net(x).sum(), x)
    assert g.shape == x.shape and g.min() > 1
