"""The gradient update moves functions of time along L_w + p f_w, on whatever grid they are written."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn
from training_cases import Classifier, net, samples

import pontryagin as pmp

WEIGHTS = ["constant", "per_step", "linear", pmp.WeightSpline(0, knots=(0.0, 0.3, 0.45, 1.0))]


def stepped(model: pmp.ODENet, eta: float) -> dict[str, torch.Tensor]:
    """What one update adds to each parameter."""
    x, y = samples()
    before = {name: w.detach().clone() for name, w in model.field.named_parameters()}
    optimizer = pmp.GradientUpdate(model, eta)
    model.objective(x, y).backward()
    optimizer.step()
    return {name: w.detach() - before[name] for name, w in model.field.named_parameters()}


@pytest.mark.parametrize("weights", WEIGHTS, ids=["constant", "per_step", "linear", "own_grid"])
def test_update_is_minus_eta_times_the_gradient_along_the_extremal(weights: str | pmp.WeightSpline) -> None:
    x, y = samples()
    model = net(weights=weights, running_cost=pmp.PathCost(velocity=0.1, decay=0.2))
    gradient = model.trajectory(x, lambda end: (end - y).square().sum(1)).weight_gradient
    for name, moved in stepped(model, 0.3).items():
        torch.testing.assert_close(moved, -0.3 * gradient[name], rtol=1e-12, atol=1e-15)


def test_update_of_the_function_does_not_depend_on_its_grid() -> None:
    coarse, fine = (stepped(net(weights="per_step", steps=n), 0.1) for n in (20, 40))
    for name, moved in coarse.items():
        means = fine[name].unflatten(0, (20, 2)).mean(1)
        torch.testing.assert_close(moved, means, rtol=1e-3, atol=1e-6)  # Runge-Kutta of order 4 on both


def test_parameters_outside_of_nets_move_along_the_plain_derivative() -> None:
    model = Classifier(weights="per_step")
    before = model.head.weight.detach().clone()
    model(samples()[0]).square().sum().backward()
    pmp.GradientUpdate(model, 0.1).step()
    assert model.head.weight.grad is not None
    torch.testing.assert_close(model.head.weight.detach() - before, -0.1 * model.head.weight.grad)


def test_parameters_without_a_derivative_stay() -> None:
    model = net()
    before = [w.detach().clone() for w in model.parameters()]
    pmp.GradientUpdate(model, 0.1).step()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_schedulers_set_its_rate() -> None:
    optimizer = pmp.GradientUpdate(net(), 0.4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    optimizer.step()
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.2]


def test_state_survives_a_file() -> None:
    first, second = pmp.GradientUpdate(Classifier(), 0.4), pmp.GradientUpdate(Classifier(), 0.1)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert [group["lr"] for group in second.param_groups] == [0.4, 0.4]
    assert second.param_groups[0]["integrals"] == pytest.approx((0.25,) * 4)


def test_closure_is_called_before_the_update_and_answered() -> None:
    model, (x, y) = net(), samples()
    optimizer = pmp.GradientUpdate(model, 0.1)

    def closure() -> float:
        optimizer.zero_grad()
        J = model.objective(x, y)
        J.backward()
        return float(J.detach())

    values = [optimizer.step(closure) for _ in range(5)]
    assert values == sorted(values, reverse=True) and values[-1] < values[0]


@pytest.mark.parametrize("eta", [0.0, -1.0, float("nan"), "large", True])
def test_rate_that_is_no_positive_number_is_refused(eta: float) -> None:
    with pytest.raises(pmp.ProblemError, match=r"eta is .*; give a positive number"):
        pmp.GradientUpdate(net(), eta)


def test_list_of_parameters_is_refused() -> None:
    with pytest.raises(pmp.ProblemError, match="takes a module"):
        pmp.GradientUpdate(list(net().parameters()), 0.1)  # type: ignore[arg-type]
    with pytest.raises(pmp.ProblemError, match="takes a module"):
        pmp.GradientUpdate(nn.Tanh(), 0.1)
