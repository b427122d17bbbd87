"""What a sweep says when its numbers leave the finite ones: which problem, which function, when and where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pontryagin.errors import NonFiniteError, ProblemError
from pontryagin.evaluate import sweep
from pontryagin.problem import Problem

BACKENDS = ("torch", "interpreter", "native")
N = 4
U = torch.zeros(N, 1, dtype=torch.float64)


def problem(**functions: Any) -> Problem:
    defaults: dict[str, Any] = {
        "dynamics": lambda t, x, u: torch.stack([u[0] + 0 * x[0]]),
        "running_cost": lambda t, x, u: u[0] ** 2,
        "initial_state": [1.0],
        "horizon": (0.0, 2.0),
        "control_dim": 1,
    }
    return Problem(**(defaults | functions))


CASES: dict[str, tuple[Callable[[], Problem], list[float], str]] = {
    "dynamics": (
        lambda: problem(dynamics=lambda t, x, u: 0.001 * torch.log(x) + u),
        [-3.0],
        r"dynamics returned \[nan\] at t = 0\.5 \(step 0 of 4, stage 4 of 4\), where x = \[-0\.50\d*\], u = \[-3\]",
    ),
    "running cost": (
        lambda: problem(running_cost=lambda t, x, u: torch.sqrt(x[0])),
        [-3.0],
        r"running_cost returned nan at t = 0\.5 \(step 0 of 4, stage 4 of 4\), where x = \[-0\.5\]",
    ),
    "terminal cost": (
        lambda: problem(terminal_cost=lambda t, x: torch.log(x[0])),
        [-3.0],
        r"terminal_cost returned nan at t = 2, where x = \[-5\]",
    ),
    "derivative of the running cost": (
        lambda: problem(running_cost=lambda t, x, u: torch.sqrt(u[0] ** 2)),
        [0.0],
        r"the derivative of running_cost in u is \[nan\] at t = 2 \(step 3 of 4, stage 4 of 4\)",
    ),
    "derivative of the terminal cost": (
        lambda: problem(terminal_cost=lambda t, x: torch.sqrt(x[0] - 1.0)),
        [0.0],
        r"the derivative of terminal_cost in x is \[inf\] at t = 2, where x = \[1\]",
    ),
    "overflow": (
        lambda: problem(dynamics=lambda t, x, u: x**5 + u),
        [40.0],
        r"dynamics returned \[inf\] at t = |the state overflowed in step",
    ),
}


@pytest.mark.parametrize("backend", ["torch", "interpreter"])
@pytest.mark.parametrize("case", CASES)
def test_the_first_place_is_named(case: str, backend: str) -> None:
    make, control, message = CASES[case]
    with pytest.raises(NonFiniteError, match=message):
        sweep(make(), U + torch.tensor(control, dtype=torch.float64), control="constant", backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_problem_of_the_batch_is_named(backend: str) -> None:
    make, control, _ = CASES["dynamics"]
    u = U.expand(5, N, 1).clone()
    u[3] = control[0]
    with pytest.raises(NonFiniteError, match=r"problem 3 of the batch: dynamics returned \[nan\] at t = 0\.5"):
        sweep(make(), u, control="constant", backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_shared_control_is_traced_to_the_problem_that_failed(backend: str) -> None:
    statement = problem(running_cost=lambda t, x, u: torch.sqrt(x[0]) * u[0])
    x0 = torch.tensor([[1.0], [0.0], [2.0]], dtype=torch.float64)
    with pytest.raises(NonFiniteError, match="problem 1 of the batch: the derivative of running_cost in x"):
        sweep(statement, U, control="constant", initial_state=x0, outputs=["control_gradient"], backend=backend)


def test_the_last_remedy_is_part_of_the_message() -> None:
    make, control, _ = CASES["dynamics"]
    with pytest.raises(NonFiniteError, match="look at that formula there, at u and initial_state, or take more steps"):
        sweep(make(), U + control[0], control="constant")


def test_what_is_not_asked_for_may_be_what_it_is() -> None:
    """The state is finite though the cost has no derivative: only outputs are judged."""
    make, control, _ = CASES["derivative of the running cost"]
    answer = sweep(make(), U + control[0], control="constant", outputs=["objective", "state"])
    assert answer.objective == 0.0


def test_the_same_is_said_when_a_gradient_is_recorded() -> None:
    make, control, message = CASES["dynamics"]
    u = (U + control[0]).requires_grad_()
    with pytest.raises(NonFiniteError, match=message):
        sweep(make(), u, control="constant")


def test_an_initial_cost_that_is_not_finite_is_named() -> None:
    statement = problem(initial_cost=lambda x: torch.log(x[0]))
    with pytest.raises(NonFiniteError, match=r"initial_cost is nan .* for problem 1, where x = \[-1\.0\]"):
        sweep(statement, U, control="constant", initial_state=[[1.0], [-1.0]])


def test_parameters_are_part_of_the_place() -> None:
    statement = problem(dynamics=lambda t, x, u, p: torch.stack([u[0] / p[0] + x[0] * 0]), parameters={"mass": 0.0})
    with pytest.raises(NonFiniteError, match=r"dynamics returned \[nan\] at t = 0 .*theta = \[0\]"):
        sweep(statement, U, control="constant")


def test_numbers_that_overflow_in_float32_alone_are_named() -> None:
    statement = problem(dynamics=lambda t, x, u: torch.stack([1e30 * u[0] ** 2 + 0 * x[0]]))
    u = torch.full((N, 1), 1e5)
    with pytest.raises(NonFiniteError, match=r"dynamics returned \[inf\] at t = 0"):
        sweep(statement, u, control="constant")
    assert sweep(statement, u.double(), control="constant").state is not None


def test_arguments_are_blamed_before_functions() -> None:
    u = U.clone()
    u[2] = torch.nan
    make: Callable[[], Problem] = CASES["dynamics"][0]
    with pytest.raises(ProblemError, match=r"u is nan at index \[0, 2, 0\]"):
        sweep(make(), u, control="constant")
