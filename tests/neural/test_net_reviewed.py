"""What a review found wrong once: each stays right."""

import sys
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional

import pontryagin as pmp
from pontryagin.backend.fused_mlp import FusedMLP
from pontryagin.mlp import MLP
from pontryagin.tableau import RK4
from tests.neural.nets import Timed, perceptron, states, varied


def test_threads_never_share_the_memory_of_a_tape():
    kernels = FusedMLP(MLP((2, 8, 2), ("tanh", "identity"), (True, True), False), RK4, torch.float32)
    faults, interval = [], sys.getswitchinterval()

    def take(batch):
        try:
            for _ in range(300):
                tape = kernels._tape(batch, 10)
                if tape.memory.numel() < kernels._core.tape_bytes(True, batch, 10):
                    faults.append(batch)
        except IndexError as error:
            faults.append(error)

    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=take, args=(batch,)) for batch in (8, 400, 16, 300)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not faults


@pytest.mark.parametrize("backend", ["torch", "fused"])
def test_weights_per_step_follow_an_uneven_grid(backend):
    grid = pmp.TimeGrid([0.0, 0.1, 0.3, 1.0])
    net = pmp.ODENet(perceptron(), steps=grid, weights="per_step", scheme="euler", backend=backend)
    assert net._stages.forward == [[0], [1], [2]]
    net(states()).sum().backward()
    assert (net.field[0].weight.grad.flatten(1).norm(dim=1) > 0).all()
    linear = pmp.ODENet(perceptron(), steps=grid, weights="linear", backend=backend)
    assert linear.spline.knots == pytest.approx((0.0, 0.1, 0.3, 1.0))


@pytest.mark.parametrize(
    ("gradient", "backend"), [("discrete", "fused"), ("reversible", "torch"), ("continuous", "torch")]
)
def test_second_derivatives_are_refused_behind_a_linear_loss_too(gradient, backend):
    net, x = pmp.ODENet(perceptron(), steps=3, gradient=gradient, backend=backend), states().requires_grad_()
    end = net(x).sum()
    (g,) = torch.autograd.grad(end, x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        (end + g.square().sum()).backward()


@pytest.mark.parametrize("gradient", ["discrete", "checkpoint", "reversible"])
def test_functional_dropout_has_one_mask_too(gradient):
    class Dropped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = perceptron(time=False, hidden=30)

        def forward(self, x):
            return functional.dropout(self.inner(x), 0.5, self.training)

    net, x = pmp.ODENet(Dropped(), steps=4, gradient=gradient, backend="torch"), states()
    moved = x.clone().requires_grad_()
    torch.manual_seed(3)
    (g,) = torch.autograd.grad(net(moved).sum(), moved)
    ends = []
    for sign in (1, -1):
        torch.manual_seed(3)
        ends.append(net(x + sign * 1e-6).detach().sum())
    assert float((ends[0] - ends[1]) / 2e-6) == pytest.approx(float(g.sum()), rel=1e-6)


def test_trajectories_have_costates_in_inference_mode():
    net = pmp.ODENet(perceptron(), steps=3)
    with torch.inference_mode():
        path = net.trajectory(states(), lambda end: end.square().sum(1))
    assert path.costate.abs().min() > 0


def test_a_field_that_changes_its_state_is_refused():
    net = pmp.ODENet(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(2, 2)).double(), backend="torch")
    with pytest.raises(pmp.ProblemError, match="in place"):
        net(states())


def test_weights_changed_before_the_way_back_are_noticed():
    net = pmp.ODENet(perceptron(), gradient="checkpoint", backend="torch")
    loss = net(states()).sum()
    with torch.no_grad():
        net.field[0].weight.add_(1.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize("gradient", ["reversible", "continuous"])
def test_gradients_of_captured_tensors_are_not_lost_silently(gradient):
    net = pmp.ODENet(Timed(), gradient=gradient, backend="torch")
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    net.field.register_forward_hook(lambda module, inputs, output: output * scale)
    with pytest.raises(pmp.ProblemError, match="besides x and the weights"):
        net(states())


def test_hooks_are_called_on_whatever_backend():
    net = pmp.ODENet(perceptron(), steps=3)
    before = net(states())
    handle = net.field.register_forward_hook(lambda module, inputs, output: 10 * output)
    assert not torch.allclose(net(states()), before)
    handle.remove()
    assert torch.equal(net(states()), before)
    field = perceptron()
    field.register_forward_hook(lambda module, inputs, output: output)
    with pytest.warns(UserWarning, match="the field has hooks"):
        pmp.ODENet(field)


def test_a_layer_that_was_replaced_takes_part():
    net = pmp.ODENet(perceptron(width=3, hidden=3, time=False), steps=3)
    net.field[2] = nn.Identity()
    expected = pmp.ODENet(perceptron(width=3, hidden=3, time=False)[:2], steps=3, backend="torch")
    torch.testing.assert_close(net(states(width=3)), expected(states(width=3)))


@pytest.mark.parametrize("backend", ["torch", "fused"])
def test_knots_beyond_the_horizon_cost_nothing(backend):
    wide, narrow = (
        pmp.ODENet(perceptron(), weights=w, running_cost=pmp.PathCost(decay=1.0), backend=backend)
        for w in (pmp.WeightSpline(0, knots=(-1.0, 2.0)), "constant")
    )
    torch.testing.assert_close(wide.with_cost(states())[1], narrow.with_cost(states())[1])


def test_time_is_the_last_column_of_any_sequential():
    field = nn.Sequential(nn.Linear(3, 8), nn.ELU(), nn.Linear(8, 2)).double()
    assert pmp.ODENet(field, backend="torch")(states()).shape == (3, 2)


def test_the_output_may_be_changed_in_place():
    net = pmp.ODENet(perceptron(), backend="torch")
    end = net(states())
    end += 1
    end.square().sum().backward()
    expected = torch.autograd.grad((net(states()) + 1).square().sum(), net.field[0].weight)[0]
    torch.testing.assert_close(net.field[0].weight.grad, expected)


def test_a_target_that_is_no_number_is_not_blamed_on_the_net():
    net = pmp.ODENet(perceptron(), steps=3)
    assert torch.isnan(net.objective(states(), torch.full((3, 2), float("nan"), dtype=torch.float64)))


@pytest.mark.parametrize("backend", ["torch", "fused"])
def test_an_empty_batch_has_no_objective(backend):
    net = pmp.ODENet(perceptron(), steps=3, running_cost=pmp.PathCost(decay=1.0), backend=backend)
    empty = torch.zeros(0, 2, dtype=torch.float64)
    assert net.objective(empty, empty).item() == 0.0


def test_parameters_without_axes_have_costs():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.tensor(2.0).double())

        def forward(self, x):
            return self.a * x

    net = pmp.ODENet(Scaled(), running_cost=pmp.PathCost(decay=1.0), backend="torch")
    torch.testing.assert_close(net.with_cost(states())[1], torch.full((3,), 2.0).double())


@pytest.mark.parametrize("gradient", ["reversible", "continuous"])
def test_a_field_of_time_alone_has_the_identity_for_its_derivative(gradient):
    class Clock(nn.Module):
        def forward(self, t, x):
            return torch.cos(t).expand_as(x)

    x = states().requires_grad_()
    pmp.ODENet(Clock(), gradient=gradient, backend="torch")(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.ones_like(x))


def test_splines_read_the_same_rows_on_both_backends():
    nets = [
        varied(pmp.ODENet(perceptron(), steps=9, weights=pmp.WeightSpline(3, intervals=4), backend=b))
        for b in ("torch", "fused")
    ]
    torch.testing.assert_close(nets[0](states()), nets[1](states()), rtol=1e-12, atol=1e-13)


def test_states_with_more_axes_run_on_torch():
    net = pmp.ODENet(perceptron(time=False), backend="torch")
    x = torch.stack([states(), states(seed=1)], 1)  # (3, 2, 2)
    torch.testing.assert_close(net(x)[:, 0], net(states()))


def test_fit_leaves_the_modes_of_modules_alone():
    frozen = nn.BatchNorm1d(2).double().eval()
    model = nn.Sequential(frozen, pmp.ODENet(perceptron(), steps=2))
    pmp.fit(model, (states(8), states(8, seed=1)), nn.MSELoss(), epochs=2, progress=False)
    assert not frozen.training and torch.equal(frozen.running_mean, torch.zeros(2).double())
