"""Corners that a review found: each was wrong once."""

from __future__ import annotations

import pytest
import torch

import pontryagin as pmp
from pontryagin.backend.compiled import CompiledSweep
from pontryagin.backend.select import make_backend
from pontryagin.sweep import Arguments
from pontryagin.time_grid import TimeGrid


def scalar_problem(**fields: object) -> pmp.Problem:
    return pmp.Problem(
        **{
            "dynamics": lambda t, x, u: u,
            "running_cost": lambda t, x, u: u[0] ** 2,
            "initial_state": [0.3],
            "horizon": (0.0, 1.0),
            **fields,
        }
    )


def arguments(batch: int, **fields: torch.Tensor) -> Arguments:
    given = {
        "control": torch.zeros(batch, 4, 1, dtype=torch.float64),
        "initial_state": torch.full((batch, 1), 0.3, dtype=torch.float64),
        "final_time": torch.ones(batch, dtype=torch.float64),
        "parameters": torch.zeros(batch, 0, dtype=torch.float64),
    }
    return Arguments(**{**given, **fields})


@pytest.mark.parametrize("backend", ["torch", "interpreter"])
def test_functions_may_be_constant(backend: str) -> None:
    half = torch.tensor(0.5, dtype=torch.float64)
    problem = scalar_problem(
        dynamics=lambda t, x, u: torch.ones(1, dtype=x.dtype), terminal_cost=lambda t, x: half.sin()
    )
    control = torch.zeros(3, 4, 1, dtype=torch.float64)
    swept = pmp.sweep(problem, control, control="constant", backend=backend)
    assert swept.objective is not None
    assert torch.allclose(swept.objective, half.sin().expand(3), rtol=1e-15)


@pytest.mark.parametrize("backend", ["torch", "interpreter"])
@pytest.mark.parametrize(("nu", "rho"), [(1.0, 1e-12), (100.0, 1e-6), (1000.0, 1e-4), (2.0, 0.0), (-3.0, 1.0)])
def test_penalised_inequality_does_not_cancel(nu: float, rho: float, backend: str) -> None:
    problem = scalar_problem(terminal_inequality=lambda t, x: x, terminal_cost=lambda t, x: 0.0 * t)
    sweep = make_backend(problem, TimeGrid.uniform(4), control_kind="constant", backend=backend)
    one = torch.ones(1, 1, dtype=torch.float64)
    found = sweep.evaluate(arguments(1, multipliers=nu * one, penalties=rho * one), {"lagrangian"}).lagrangian
    active = nu + rho * 0.3 > 0 or rho == 0.0
    expected = nu * 0.3 + rho / 2 * 0.3**2 if active else -(nu**2) / (2 * rho)
    assert found is not None
    assert float(found) == pytest.approx(expected, rel=1e-14)


def test_derivatives_do_not_change_the_bits_of_the_state() -> None:
    problem = scalar_problem(
        dynamics=lambda t, x, u, theta: torch.sin(x) * (theta[0] * theta[1] + theta[2]) + u,
        running_cost=lambda t, x, u, theta: torch.sin(u[0] * theta[0]) * theta[1],
        parameters={"a": 0.7, "b": 1.3, "c": -0.4},
    )
    sweep = CompiledSweep(problem, TimeGrid.uniform(4), control_kind="constant")
    theta = torch.tensor([[0.7, 1.3, -0.4]], dtype=torch.float64).expand(9, -1)
    control = torch.linspace(-1, 1, 36, dtype=torch.float64).reshape(9, 4, 1)
    given = arguments(9, parameters=theta, control=control)
    alone, together = sweep.evaluate(given, {"state"}).state, sweep.evaluate(given, {"state", "costate"}).state
    assert alone is not None
    assert together is not None
    assert torch.equal(alone, together)


@pytest.mark.parametrize("steps", [1, 10, 1000, 100_000])
def test_equal_steps_are_recognised(steps: int) -> None:
    assert CompiledSweep(scalar_problem(), TimeGrid.uniform(steps), control_kind="constant")._uniform


def test_lazily_negated_tensors_are_read_with_their_sign() -> None:
    sweep = CompiledSweep(scalar_problem(), TimeGrid.uniform(4), control_kind="constant")
    negated = torch.complex(torch.zeros(1, 1).double(), torch.full((1, 1), 2.0).double()).conj().imag
    state = sweep.evaluate(arguments(1, initial_state=negated), {"state"}).state
    assert state is not None
    assert float(state[0, 0, 0]) == -2.0


def test_an_empty_batch_is_named() -> None:
    with pytest.raises(pmp.ProblemError, match="no problems"):
        CompiledSweep(scalar_problem(), TimeGrid.uniform(4), control_kind="constant").evaluate(arguments(0), {"state"})
    with pytest.raises(pmp.ProblemError, match="no problems"):
        pmp.sweep(scalar_problem(), torch.zeros(0, 4, 1, dtype=torch.float64), control="constant")


def test_solve_puts_data_of_the_same_length_on_the_times_of_the_problem() -> None:
    times = [0.0, 0.1, 1.0]
    values = torch.tensor([[0.0], [1.0], [1.0]], dtype=torch.float64)
    problem = scalar_problem(
        running_cost=lambda t, x, u, d: (x[0] - d[0]) ** 2 + u[0] ** 2, data=pmp.Data(values, time=times), control_dim=1
    )
    own, given = pmp.solve(problem, steps=20), pmp.solve(problem, steps=20, data=values)
    assert float(own.objective) == float(given.objective)
