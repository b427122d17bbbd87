"""Successive approximations: minimise the augmented Hamiltonian between sweeps, take what lowers J."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from training_cases import field, net, samples

import pontryagin as pmp
from pontryagin.neural.all_steps import AllSteps
from pontryagin.neural.emsa import _Hamiltonian

NETS: dict[str, dict[str, Any]] = {
    "per_step": {},
    "constant": {"weights": "constant"},
    "linear": {"weights": "linear"},
    "own_grid": {"weights": pmp.WeightSpline(0, knots=(0.0, 0.3, 1.0))},
    "euler": {"scheme": "euler", "horizon": (0.0, 4.0)},
    "weight_costs": {"running_cost": pmp.PathCost(decay=0.1, smoothness=0.2)},
    "path_costs": {"running_cost": pmp.PathCost(state=0.3, velocity=0.2)},
    "checkpoint": {"gradient": "checkpoint"},
}


def each_net() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("options", NETS.values(), ids=NETS)


@each_net()
def test_objective_never_increases_on_a_batch(options: dict[str, Any]) -> None:
    x, y = samples()
    emsa = pmp.EMSA(net(**options), iterations=5)
    start = float(emsa.net.objective(x, y).detach())
    values = [start, *(emsa.step(x, y) for _ in range(3))]
    assert all(after <= before for before, after in itertools.pairwise(values))
    assert values[-1] < 0.95 * start and emsa.accepted > 0
    assert values[-1] == pytest.approx(float(emsa.net.objective(x, y).detach()), rel=1e-12)


@each_net()
def test_hamiltonian_has_the_derivative_of_the_objective(options: dict[str, Any]) -> None:
    x, y = samples()
    model = net(**options)
    weights = dict(model.field.named_parameters())
    sweep = model.trajectory(x, lambda end: (end - y).square().sum(1))
    value = _Hamiltonian(model, sweep, {k: w.detach() for k, w in weights.items()}, rho=3.0).augmented(weights)
    found = torch.autograd.grad(value, list(weights.values()))
    exact = torch.autograd.grad(model.objective(x, y), list(weights.values()))
    for mine, its in zip(found, exact, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-10, atol=1e-13)


@each_net()
def test_augmentation_is_zero_at_the_weights_of_the_sweep_and_positive_elsewhere(options: dict[str, Any]) -> None:
    x, y = samples()
    model = net(**options)
    old = {name: w.detach() for name, w in model.field.named_parameters()}
    sweep = model.trajectory(x, lambda end: (end - y).square().sum(1))
    plain, augmented = (_Hamiltonian(model, sweep, old, rho) for rho in (0.0, 1.0))
    torch.testing.assert_close(augmented.augmented(old).detach(), plain.augmented(old), rtol=1e-12, atol=0.0)
    other = {name: w + 0.1 for name, w in old.items()}
    assert bool(augmented.augmented(other) > plain.augmented(other) + 1e-3)


class Timed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = field()

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        out: Tensor = torch.cos(t) * self.inner(x)
        return out


def on_path(t: Any, x: Tensor, w: Mapping[str, Tensor]) -> Tensor:
    return t * x.square().sum(1) + w["inner.0.bias"].square().sum()


def test_all_steps_at_once_are_the_steps_of_a_sweep() -> None:
    model = pmp.ODENet(Timed(), steps=4, weights="linear", running_cost=on_path, backend="torch")
    x, _ = samples()
    flow, weights = model._flow(), dict(model.field.named_parameters())
    points = [(x, x.new_zeros(len(x)))]
    for n in range(4):
        points.append(flow.step(n, points[-1], weights))
    states, costs = (torch.stack(part) for part in zip(*points, strict=True))
    added, spent = AllSteps(flow)(states[:-1], weights)
    torch.testing.assert_close(added, states.diff(dim=0), rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(spent, costs.diff(dim=0), rtol=1e-11, atol=1e-13)


def test_time_in_the_last_column_and_a_loss_by_function() -> None:
    torch.manual_seed(0)
    timed = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    x, y = samples()
    emsa = pmp.EMSA(pmp.ODENet(timed, steps=4, backend="torch"), nn.functional.mse_loss)
    first, *_, last = [emsa.step(x, y) for _ in range(4)]
    assert last < first


def test_single_precision_never_increases_the_objective_either() -> None:
    x, y = (part.float() for part in samples())
    emsa = pmp.EMSA(net().float(), iterations=5)
    values = [emsa.step(x, y) for _ in range(3)]
    assert all(after <= before for before, after in itertools.pairwise(values)) and emsa.accepted == 3


def test_convolutions_are_trained() -> None:
    torch.manual_seed(0)
    conv = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Tanh()).double()
    x = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    emsa = pmp.EMSA(pmp.ODENet(conv, steps=3, weights="per_step", backend="torch"))
    first, *_, last = [emsa.step(x, 0.5 * x) for _ in range(4)]
    assert last < first


def test_mini_batches_lower_the_objective_of_all() -> None:
    x, y = samples(48)
    emsa = pmp.EMSA(net(), iterations=5)
    before = float(emsa.net.objective(x, y).detach())
    for _ in range(2):
        for part in torch.arange(48).split(16):
            emsa.step(x[part], y[part])
    assert float(emsa.net.objective(x, y).detach()) < 0.9 * before


def test_epsilon_grows_until_the_objective_falls_and_shrinks_then() -> None:
    x, y = samples()
    emsa = pmp.EMSA(net(), rho=0.0, epsilon=1e-3)  # without the augmentation H is followed far beyond its sweep
    emsa.step(x, y)
    assert emsa.trials > 1 and emsa.accepted == 1
    assert emsa.epsilon == pytest.approx(1e-3 * 5.0 ** (emsa.trials - 1) * 0.5)


def test_trial_that_leaves_the_finite_numbers_is_refused_and_tried_again() -> None:
    x, y = samples()
    growing = net(horizon=(0.0, 1.0))
    emsa = pmp.EMSA(growing, lambda end, target: (end - target).square().sum(1) / (end.abs().max() < 1.6), rho=0.0)
    x, y = 0.2 * x, y
    before = float(growing.objective(x, y, emsa.loss).detach())
    assert emsa.step(x, y) <= before
    assert all(bool(torch.isfinite(w).all()) for w in growing.parameters())


def test_weights_without_a_descent_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = samples()
    emsa = pmp.EMSA(net())
    before = [w.detach().clone() for w in emsa.net.parameters()]
    monkeypatch.setattr(emsa, "_tried", lambda x, y: math.inf)
    J = float(emsa.net.objective(x, y).detach())
    assert emsa.step(x, y) == J and emsa.accepted == 0 and emsa.epsilon == 0.1
    assert all(torch.equal(a, b) for a, b in zip(before, emsa.net.parameters(), strict=True))


def test_frozen_weights_stay() -> None:
    x, y = samples()
    model = net()
    model.field[0].weight.requires_grad_(False)
    before = model.field[0].weight.clone()
    emsa = pmp.EMSA(model)
    assert emsa.step(x, y) < float(net().objective(x, y).detach())
    assert torch.equal(model.field[0].weight, before)


def test_gradient_norm_is_that_of_the_plain_derivative() -> None:
    x, y = samples()
    model = net()
    found = torch.autograd.grad(model.objective(x, y), list(model.parameters()))
    emsa = pmp.EMSA(model)
    emsa.step(x, y)
    assert emsa.gradient_norm == pytest.approx(float(torch.cat([g.flatten() for g in found]).norm()), rel=1e-10)


def test_what_it_cannot_train_is_refused() -> None:
    with pytest.raises(pmp.ProblemError, match="reversible"):
        pmp.EMSA(net(gradient="reversible"))
    with pytest.raises(pmp.ProblemError, match="trains an ODENet"):
        pmp.EMSA(field())  # type: ignore[arg-type]
    with pytest.raises(pmp.ProblemError, match="require a gradient"):
        pmp.EMSA(net().requires_grad_(False))
    with pytest.raises(pmp.ProblemError, match=r"rho is -1\.0"):
        pmp.EMSA(net(), rho=-1.0)
    with pytest.raises(pmp.ProblemError, match=r"epsilon is 0\.0; give a positive number"):
        pmp.EMSA(net(), epsilon=0.0)
    with pytest.raises(pmp.ProblemError, match="iterations is 0"):
        pmp.EMSA(net(), iterations=0)


def test_dropout_in_training_is_refused_and_in_evaluation_not() -> None:
    x, y = samples()
    model = pmp.ODENet(nn.Sequential(*field(), nn.Dropout(0.5)), steps=2, backend="torch")
    emsa = pmp.EMSA(model)
    with pytest.raises(pmp.ProblemError, match=r"net.eval\(\)"):
        emsa.step(x, y)
    model.eval()
    assert math.isfinite(emsa.step(x, y))


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = field()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x) if bool(x.sum() > 0) else -self.inner(x)
        return out


def test_field_that_cannot_be_batched_over_steps_is_named() -> None:
    x, y = samples()
    with pytest.raises(pmp.ProblemError, match=r"all steps at once by torch\.func\.vmap"):
        pmp.EMSA(pmp.ODENet(Branching(), steps=2, backend="torch")).step(x, y)


def test_objective_that_is_not_finite_and_an_empty_batch_are_refused() -> None:
    x, y = samples()
    with pytest.raises(pmp.NonFiniteError, match="before the step"):
        pmp.EMSA(net(), lambda end, target: end.sum(1) * math.nan).step(x, y)
    with pytest.raises(pmp.ProblemError, match="at least one sample"):
        pmp.EMSA(net()).step(x[:0], y[:0])
