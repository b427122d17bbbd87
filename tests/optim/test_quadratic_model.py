"""The compact quadratic model against its dense twin: BFGS updates one by one, optimality conditions in full."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pontryagin.control_set import ControlSet
from pontryagin.optim import MethodSettings
from pontryagin.optim.lagrangian import Point
from pontryagin.optim.lbfgs import LbfgsRule
from pontryagin.optim.quadratic_model import QuadraticModel
from pontryagin.optim.variables import Variables

GROUPS, SIZE = 3, 12


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def variables(bound: float) -> Variables:
    box = torch.full((1,), bound, dtype=torch.float64)
    mass = torch.full((SIZE,), 1 / SIZE, dtype=torch.float64)
    return Variables.of(
        ControlSet(-box, box), mass, t0=0.0, shared=False, times=0, final_time_bounds=None, scaled=False
    )


def learnt(box: Variables, pairs: int, memory: int) -> tuple[LbfgsRule, Tensor]:
    """A rule that has seen `pairs` steps on a convex quadratic function, and its dense B (G, n, n)."""
    rule = LbfgsRule(box, MethodSettings(memory=memory), torch.ones(GROUPS).double(), torch.zeros(GROUPS, 0).double())
    root = random(GROUPS, SIZE, SIZE)
    hessian = root @ root.mT + 0.1 * torch.eye(SIZE, dtype=torch.float64)
    here = Point(*[random(GROUPS, SIZE)] * 6, random(GROUPS, 0, SIZE))
    seen = []
    for _ in range(pairs):
        s = random(GROUPS, SIZE)
        there = Point(here.z + s, *[here.value] * 4, here.objective_gradient + (hessian @ s[..., None])[..., 0],
                      here.jacobian)  # fmt: skip
        rule.learn(here, there, torch.ones(GROUPS), torch.ones(GROUPS, dtype=torch.bool))
        seen.append((s, there.objective_gradient - here.objective_gradient))
    B = rule.theta[:, None, None] * torch.eye(SIZE, dtype=torch.float64)
    for s, y in seen[-memory:]:
        Bs = (B @ s[..., None])[..., 0]
        B = B - _outer(Bs, Bs) / (s * Bs).sum(1)[:, None, None] + _outer(y, y) / (s * y).sum(1)[:, None, None]
    return rule, B


def model(rule: LbfgsRule, z: Tensor, gradient: Tensor, A: Tensor, offset: Tensor, rho: Tensor, inequality=None):  # type: ignore[no-untyped-def]
    M, R = rule.settings.memory, A.shape[1]
    wide = LbfgsRule(rule.variables, rule.settings, rule.theta, torch.zeros(GROUPS, R).double())
    rows = torch.cat([rule.rows, A], 1)
    count = rule.count
    signs, diagonal = wide.signs[count % M], wide.diagonals[count.clamp(max=M)]
    return QuadraticModel(
        rule.variables, inequality, z, gradient, offset, rho, rule.theta, rows, rows @ rows.mT, signs, diagonal
    )


@pytest.mark.parametrize("pairs", [0, 1, 4, 5, 6, 13])
def test_compact_hessian_is_the_product_of_bfgs_updates(pairs: int) -> None:
    rule, B = learnt(variables(torch.inf), pairs, memory=5)
    z, g = random(GROUPS, SIZE), random(GROUPS, SIZE)
    none = torch.zeros(GROUPS, 0, dtype=torch.float64)
    end, _, _ = model(rule, z, g, random(GROUPS, 0, SIZE), none, none).minimise(none)
    torch.testing.assert_close(end - z, -torch.linalg.solve(B, g), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("penalty", [1e-2, 1.0, 1e6])
def test_penalised_constraints_are_minimised_exactly(penalty: float) -> None:
    rule, B = learnt(variables(torch.inf), 7, memory=5)
    z, g, A = random(GROUPS, SIZE), random(GROUPS, SIZE), random(GROUPS, 2, SIZE)
    e, nu, rho = random(GROUPS, 2), random(GROUPS, 2), torch.full((GROUPS, 2), penalty, dtype=torch.float64)
    end, lam, _ = model(rule, z, g, A, e + nu / rho, rho).minimise(nu)
    d = end - z
    predicted = nu + rho * (e + (A @ d[..., None])[..., 0])
    torch.testing.assert_close(lam, predicted, rtol=1e-6, atol=1e-6)  # rho times the rounding of e + A d
    gradient = g + (B @ d[..., None])[..., 0] + (A.mT @ lam[..., None])[..., 0]
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-8)


@pytest.mark.parametrize("bound", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("constraints", [0, 2])
def test_minimum_in_the_bounds_meets_the_optimality_conditions(bound: float, constraints: int) -> None:
    box = variables(bound)
    rule, B = learnt(box, 7, memory=5)
    z = box.project(random(GROUPS, SIZE))
    g, A, e = 10 * random(GROUPS, SIZE), random(GROUPS, constraints, SIZE), random(GROUPS, constraints)
    rho = torch.full_like(e, 10.0)
    end, lam, settled = model(rule, z, g, A, e, rho).minimise(torch.zeros_like(e))
    assert settled is None, "the active sets of so small a model come to rest"
    assert ((end >= box.low) & (end <= box.high)).all()
    gradient = g + (B @ (end - z)[..., None])[..., 0] + (A.mT @ lam[..., None])[..., 0]
    inside = (end > box.low) & (end < box.high)
    assert (gradient[inside].abs() <= 1e-8).all()
    assert (gradient[end == box.low] >= -1e-8).all() and (gradient[end == box.high] <= 1e-8).all()
    assert (~inside).any(), "the test needs bounds that hold"


def test_inequality_is_live_where_its_multiplier_is_positive() -> None:
    rule, B = learnt(variables(torch.inf), 3, memory=5)
    z, g, A = random(GROUPS, SIZE), random(GROUPS, SIZE), random(GROUPS, 4, SIZE)
    e, rho = random(GROUPS, 4), torch.full((GROUPS, 4), 5.0, dtype=torch.float64)
    inequality = torch.tensor([False, True, True, True])
    end, lam, settled = model(rule, z, g, A, e, rho, inequality).minimise(torch.zeros_like(e))
    assert settled is None
    force = rho * (e + (A @ (end - z)[..., None])[..., 0])
    expected = torch.where(inequality, force.clamp(min=0.0), force)
    torch.testing.assert_close(lam, expected, rtol=1e-9, atol=1e-9)
    assert (lam[:, 1:] == 0).any() and (lam[:, 1:] > 0).any(), "the test needs live constraints and idle ones"
    gradient = g + (B @ (end - z)[..., None])[..., 0] + (A.mT @ lam[..., None])[..., 0]
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-8)


def _outer(a: Tensor, b: Tensor) -> Tensor:
    return a[:, :, None] * b[:, None, :]
