"""State, objective and costate converge with the order of the tableau, measured by regression on exact solutions."""

from __future__ import annotations

import math

import pytest
import torch

from pontryagin.backend.select import make_backend
from pontryagin.problem import Problem
from pontryagin.sweep import Arguments
from pontryagin.tableau import TABLEAUS
from pontryagin.time_grid import TimeGrid

#: Many starts, so that no error is small by the accident of changing its sign.
X0 = torch.linspace(0.05, 0.9, 12, dtype=torch.float64)
T1 = 2.0

#: x' = 3 x (1 - x) cos t has x = 1 / (1 + c exp(-3 sin t)); L is the derivative of x^2 sin t, so J = x(t1)^2 sin t1.
LOGISTIC = Problem(
    dynamics=lambda t, x, u: 3 * x * (1 - x) * torch.cos(t),
    running_cost=lambda t, x, u: (6 * x[0] ** 2 * (1 - x[0]) * torch.sin(t) + x[0] ** 2) * torch.cos(t),
    initial_state=[0.5],
    horizon=(0.0, T1),
    control_dim=1,
)
GROWTH = math.exp(-3 * math.sin(T1))
X1 = 1 / (1 + (1 - X0) / X0 * GROWTH)
EXACT = {
    "state": X1,
    "objective": X1**2 * math.sin(T1),
    "costate": 2 * X1 * math.sin(T1) * X1**2 * GROWTH / X0**2,  # p(t0) = dJ/dx0
}


def errors(scheme: str, steps: int) -> dict[str, float]:
    """Root mean square over the starts."""
    batch = len(X0)
    arguments = Arguments(
        control=torch.zeros(steps, 1, dtype=torch.float64),
        initial_state=X0[:, None],
        final_time=torch.full((batch,), T1, dtype=torch.float64),
        parameters=torch.zeros(batch, 0, dtype=torch.float64),
    )
    grid = TimeGrid.uniform(steps)
    sweep = make_backend(LOGISTIC, grid, control_kind="constant", scheme=scheme, backend="interpreter", threads=1)
    result = sweep.evaluate(arguments, set(EXACT))
    assert result.state is not None
    assert result.objective is not None
    assert result.costate is not None
    found = {"state": result.state[:, -1, 0], "objective": result.objective, "costate": result.costate[:, 0, 0]}
    return {name: float((found[name] - exact).square().mean().sqrt()) for name, exact in EXACT.items()}


@pytest.mark.parametrize("scheme", TABLEAUS)
def test_errors_fall_with_the_order_of_the_tableau(scheme: str) -> None:
    steps = (64, 96, 128)
    found = [errors(scheme, count) for count in steps]
    x = torch.tensor(steps, dtype=torch.float64).log()
    for name in EXACT:
        y = torch.tensor([error[name] for error in found], dtype=torch.float64).log()
        slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
        # the next power of h still shows, most in methods of fifth order
        assert -slope == pytest.approx(TABLEAUS[scheme].order, abs=0.25), f"{name}: order {-slope:.2f}"
