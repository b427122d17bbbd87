"""How a solve ends: every status, interruption, settings that make no sense."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from unrolled import Unrolled, double_integrator, energy, quadratic, solve, target

from pontryagin.errors import ProblemError
from pontryagin.optim import METHODS, MethodSettings
from pontryagin.status import Status

looks = pytest.mark.parametrize("interval", [1, 4], ids=["asked", "unasked"])

ONE = torch.tensor([[1.0, 0.0]], dtype=torch.float64)


def explosive(x: Tensor, u: Tensor) -> Tensor:
    """x1' = x2, x2' = exp(x1^2) + u: infinite within the horizon from a start far out."""
    return torch.stack([x[:, 1], x[:, 0].square().exp() + u[:, 0]], 1)


def regulator() -> Unrolled:
    return Unrolled(double_integrator, quadratic, 20)


@looks
@pytest.mark.parametrize("method", list(METHODS))
def test_start_that_is_not_finite_is_named_and_hurts_no_neighbour(method: str, interval: int) -> None:
    backend = Unrolled(explosive, quadratic, 20)
    starts = torch.tensor([[0.0, -0.5], [9.0, 0.0], [-0.5, 0.0]], dtype=torch.float64)
    result = solve(backend, starts, 0.5, method=method, interval=interval)
    assert result.status == [Status.CONVERGED, Status.NOT_FINITE, Status.CONVERGED]
    alone = solve(backend, starts[:1], 0.5, method=method)
    torch.testing.assert_close(alone.control[0], result.control[0], rtol=0, atol=1e-9)


@looks
@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("rule", ["fixed", "armijo", "barzilai_borwein"])
def test_trial_that_is_not_finite_is_never_accepted(method: str, rule: str, interval: int) -> None:
    backend = Unrolled(explosive, quadratic, 20, terminal_cost=lambda t, x: -10.0 * x[:, 0])
    seen: list[float] = []
    result = solve(
        backend, ONE * 0.5, 0.8, method=method, step_rule=rule, step=10.0, max_iterations=20, interval=interval,
        callback=lambda info: seen.append(info.objective),
    )  # fmt: skip
    assert torch.tensor(seen).isfinite().all()
    assert result.control.isfinite().all() and result.objective.isfinite().all()


@looks
def test_terminal_constraint_out_of_reach_is_infeasible(interval: int) -> None:
    backend = Unrolled(double_integrator, energy, 20, terminal=target(100.0, 0.0), equalities=2)
    result = solve(backend, ONE, 1.0, low=-1.0, high=1.0, interval=interval)
    assert result.status == [Status.INFEASIBLE]
    assert float(result.violation) > 1


@looks
def test_limit_of_iterations_is_kept(interval: int) -> None:
    result = solve(regulator(), ONE, 5.0, max_iterations=3, interval=interval)
    assert result.status == [Status.MAX_ITERATIONS]
    assert int(result.iterations) == 3 == len(result.history)


@looks
def test_gradient_that_is_wrong_stalls(interval: int) -> None:
    backend = regulator()
    inner = backend.evaluate

    def upside_down(arguments, outputs):  # type: ignore[no-untyped-def]
        result = inner(arguments, outputs)
        result.control_derivative.neg_()
        return result

    backend.evaluate = upside_down  # type: ignore[method-assign]
    assert solve(backend, ONE, 5.0, interval=interval).status == [Status.STALLED]


@looks
def test_single_precision_ends_at_its_own_rounding(interval: int) -> None:
    backend = Unrolled(double_integrator, quadratic, 20, dtype=torch.float32)
    result = solve(backend, ONE, 5.0, interval=interval)
    exact = solve(regulator(), ONE, 5.0)
    assert result.status == [Status.CONVERGED]
    assert result.control.dtype == torch.float32
    torch.testing.assert_close(result.objective.double(), exact.objective, rtol=1e-5, atol=0)


def test_callback_stops_the_solve() -> None:
    result = solve(regulator(), torch.cat([ONE, 2 * ONE]), 5.0, callback=lambda info: info.iteration == 4)
    assert result.status == [Status.INTERRUPTED] * 2
    assert result.iterations.tolist() == [4, 4]
    assert (result.residual > 1e-8).all()


def test_interrupt_keeps_the_best_so_far() -> None:
    backend = regulator()
    inner = backend.evaluate

    def impatient(arguments, outputs):  # type: ignore[no-untyped-def]
        if backend.calls > 10:
            raise KeyboardInterrupt
        return inner(arguments, outputs)

    backend.evaluate = impatient  # type: ignore[method-assign]
    result = solve(backend, ONE, 5.0)
    assert result.status == [Status.INTERRUPTED]
    assert float(result.objective) == result.history[-1].objective < result.history[0].objective


def test_spectral_steps_hand_back_the_best_point() -> None:
    result = solve(regulator(), ONE, 5.0, method="gradient", max_iterations=20)
    objectives = [info.objective for info in result.history]
    assert objectives != sorted(objectives, reverse=True), "the test needs a run that goes up in between"
    assert float(result.objective) <= min(objectives)


def test_history_has_one_row_an_iteration() -> None:
    told = []
    result = solve(
        Unrolled(double_integrator, energy, 20, terminal=target(0.0, 0.0), equalities=2), ONE, 1.0,
        callback=lambda info: told.append(info),
    )  # fmt: skip
    assert told == result.history
    assert [info.iteration for info in told] == list(range(1, int(result.iterations) + 1))
    last = told[-1]
    assert last.violation <= 1e-8 and last.residual <= 1e-8
    assert last.penalty > 0 and last.sweeps == result.sweeps and last.seconds > 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"step_rule": "armijio"}, "did you mean armijo"),
        ({"step_rule": "newton"}, "expected one of fixed, armijo, barzilai_borwein"),
        ({"tolerance": 0.0}, "tolerance is 0.0; expected a positive"),
        ({"memory": 2.5}, "memory is 2.5; expected an integer"),
        ({"max_iterations": True}, "max_iterations is True; expected an integer"),
        ({"backtracking": 1.5}, "expected a number between 0 and 1"),
        ({"penalty_growth": 0.5}, "expected a number above 1"),
        ({"step": float("nan")}, "step is nan"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_say_what_is_wrong(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        MethodSettings(**wrong)  # type: ignore[arg-type]


def test_arguments_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ProblemError, match="first-order method 'newton' is not known; expected one of gradient, lbfgs"):
        solve(regulator(), ONE, 5.0, method="newton")
    with pytest.raises(ProblemError, match="the control has shape"):
        solve(regulator(), ONE, 5.0, control=torch.zeros(1, 7, 1, dtype=torch.float64))
    with pytest.raises(ProblemError, match="expected low <= high, and high after t0"):
        solve(regulator(), ONE, 5.0, final_time_bounds=(3.0, 2.0))
    with pytest.raises(ProblemError, match="it must lie after t0"):
        solve(regulator(), ONE, -1.0)
