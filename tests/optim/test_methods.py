"""Properties of the first-order methods, on problems whose answers are known in closed form."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from unrolled import Unrolled, double_integrator, energy, nothing, pendulum, quadratic, solve, target

from pontryagin.optim import METHODS, IterationInfo
from pontryagin.status import Status

RULES = [("lbfgs", "barzilai_borwein"), ("gradient", "barzilai_borwein"), ("gradient", "armijo")]
every_method = pytest.mark.parametrize(("method", "rule"), RULES, ids=["lbfgs", "spectral", "armijo"])

STARTS = torch.tensor([[1.0, 0.0], [-0.5, 2.0], [3.0, -1.0]], dtype=torch.float64)


def regulator(steps: int = 20) -> Unrolled:
    return Unrolled(double_integrator, quadratic, steps)


def transfer(steps: int = 20) -> Unrolled:
    """Least energy from rest at 0 to rest at 1: u = 6 - 12 t, p = (-12, 12 t - 6)."""
    return Unrolled(double_integrator, energy, steps, terminal=target(1.0, 0.0), equalities=2)


@every_method
def test_regulator_is_solved_to_its_normal_equations(method: str, rule: str) -> None:
    backend = regulator()
    result = solve(backend, STARTS, 3.0, method=method, step_rule=rule)
    assert result.status == [Status.CONVERGED] * 3
    # The objective is quadratic in u: one Newton step from its derivatives at 0, H by columns, gives the optimum.
    columns = torch.eye(20, dtype=torch.float64).unsqueeze(2)
    times, none = torch.full((20,), 3.0, dtype=torch.float64), torch.zeros(20, 0, dtype=torch.float64)
    zero = torch.zeros(2, dtype=torch.float64).expand(20, 2)
    hessian = backend.evaluate(_arguments(columns, zero, times, none), set()).control_derivative
    at_zero = backend.evaluate(_arguments(torch.zeros(3, 20, 1).double(), STARTS, times[:3], none[:3]), set())
    assert hessian is not None and at_zero.control_derivative is not None
    exact = -torch.linalg.solve(hessian[..., 0], at_zero.control_derivative[..., 0].T).T
    # residual 1e-8, relative to 1 + J of about 30, over a curvature of at least h = 0.15 per mass 1/20
    torch.testing.assert_close(result.control[..., 0], exact, rtol=0, atol=1e-6)


@every_method
def test_residual_of_an_answer_is_below_the_tolerance(method: str, rule: str) -> None:
    result = solve(regulator(), STARTS, 3.0, method=method, step_rule=rule, tolerance=1e-5)
    assert (result.residual <= 1e-5).all()


def test_armijo_steps_descend_monotonically() -> None:
    objectives: list[float] = []
    solve(regulator(), STARTS[:1], 3.0, method="gradient", step_rule="armijo", callback=_record(objectives))
    rounding = 1e-14 * objectives[-1]  # the last steps are below it
    assert all(b <= a + rounding for a, b in itertools.pairwise(objectives))
    assert objectives[0] > objectives[-1]


def test_fixed_step_is_the_plain_gradient_method() -> None:
    """u <- u - eta H_u with H_u = derivative / h, as often as the limit says."""
    backend, h, eta = regulator(), 3.0 / 20, 0.05
    result = solve(backend, STARTS, 3.0, method="gradient", step_rule="fixed", step=eta, max_iterations=5)
    u = torch.zeros(3, 20, 1, dtype=torch.float64)
    for _ in range(5):
        swept = backend.evaluate(
            _arguments(u, STARTS, torch.full((3,), 3.0).double(), torch.zeros(3, 0).double()), set()
        )
        assert swept.control_derivative is not None
        u = u - eta * swept.control_derivative / h
    assert result.status == [Status.MAX_ITERATIONS] * 3
    torch.testing.assert_close(result.control, u, rtol=1e-13, atol=1e-13)


def test_fixed_step_that_diverges_does_not_claim_to_converge() -> None:
    result = solve(regulator(), STARTS, 3.0, method="gradient", step_rule="fixed", step=10.0, max_iterations=400)
    assert not any(status.success for status in result.status)
    start = solve(regulator(), STARTS, 3.0, max_iterations=1).history[0].objective
    assert float(result.objective.mean()) <= start * 10  # the best point seen, not the last one


@every_method
@pytest.mark.parametrize("bound", [0.3, 1.0])
def test_bounds_are_never_violated_and_the_sign_of_the_gradient_is_right(method: str, rule: str, bound: float) -> None:
    backend = Unrolled(double_integrator, quadratic, 20)
    inner = backend.evaluate

    def watched(arguments, outputs):  # type: ignore[no-untyped-def]
        assert arguments.control.abs().max() <= bound
        return inner(arguments, outputs)

    backend.evaluate = watched  # type: ignore[method-assign]
    result = solve(backend, STARTS, 3.0, low=-bound, high=bound, method=method, step_rule=rule)
    assert result.status == [Status.CONVERGED] * 3
    times, none = torch.full((3,), 3.0).double(), torch.zeros(3, 0).double()
    gradient = inner(_arguments(result.control, STARTS, times, none), set()).control_derivative
    assert gradient is not None
    assert (gradient[result.control == bound] <= 1e-7).all()
    assert (gradient[result.control == -bound] >= -1e-7).all()
    assert gradient[result.control.abs() < bound].abs().max() <= 1e-6


def test_start_outside_the_bounds_is_projected() -> None:
    far = torch.full((3, 20, 1), 5.0, dtype=torch.float64)
    result = solve(regulator(), STARTS, 3.0, control=far, low=-1.0, high=1.0)
    assert result.status == [Status.CONVERGED] * 3


@pytest.mark.parametrize("method", list(METHODS))
def test_iterations_do_not_depend_on_the_mesh(method: str) -> None:
    counts = [int(solve(regulator(steps), STARTS[:1], 3.0, method=method).iterations) for steps in (10, 20, 40, 80)]
    assert max(counts) <= min(counts) + 5


@pytest.mark.parametrize("method", list(METHODS))
def test_problem_does_not_notice_its_neighbours(method: str) -> None:
    backend = Unrolled(pendulum, quadratic, 20)
    together = solve(backend, STARTS, 2.0, low=-1.0, high=1.0, method=method)
    for row in range(3):
        alone = solve(backend, STARTS[row : row + 1], 2.0, low=-1.0, high=1.0, method=method)
        assert alone.iterations[0] == together.iterations[row]
        # matrix products round differently for other batch sizes
        torch.testing.assert_close(alone.control[0], together.control[row], rtol=0, atol=1e-9)


def test_finished_problems_leave_the_batch() -> None:
    backend = Unrolled(pendulum, quadratic, 20)
    starts = torch.cat([torch.zeros(5, 2, dtype=torch.float64), STARTS])  # the first five start at their optimum
    result = solve(backend, starts, 2.0)
    assert result.iterations[:5].tolist() == [0] * 5
    assert [info.running for info in result.history][:1] == [3]
    assert result.history[-1].running < 3
    assert result.sweeps < 8 * (max(result.iterations.tolist()) + 8)


@pytest.mark.parametrize("method", list(METHODS))
def test_multipliers_of_a_transfer_are_the_costates_of_the_principle(method: str) -> None:
    result = solve(transfer(), torch.zeros(1, 2), 1.0, method=method)
    assert result.status == [Status.CONVERGED]
    # Constant controls on N steps: nu = p(t1) = (-12, 6) / (1 - 1/N^2), in the limit p1 = -12, p2(t1) = 6.
    expected = torch.tensor([[-12.0, 6.0]], dtype=torch.float64) / (1 - 1 / 20**2)
    torch.testing.assert_close(result.multipliers, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(result.objective, torch.tensor([6.0]).double() / (1 - 1 / 20**2), rtol=1e-7, atol=0)
    assert float(result.violation) <= 1e-8


def swing_up(steps: int = 40) -> Unrolled:
    """The pendulum from rest below to rest above, with the least energy."""
    return Unrolled(pendulum, energy, steps, terminal=target(torch.pi, 0.0), equalities=2)


def test_constrained_problem_does_not_notice_its_neighbours() -> None:
    backend, starts = swing_up(20), torch.tensor([[0.0, 0.0], [0.5, 0.2], [-0.4, 1.0]], dtype=torch.float64)
    together = solve(backend, starts, 3.0)
    assert together.status == [Status.CONVERGED] * 3
    for row in range(3):
        alone = solve(backend, starts[row : row + 1], 3.0)
        assert alone.iterations[0] == together.iterations[row]
        torch.testing.assert_close(alone.control[0], together.control[row], rtol=0, atol=1e-8)
        torch.testing.assert_close(alone.multipliers[0], together.multipliers[row], rtol=1e-7, atol=0)


@pytest.mark.parametrize("steps", [20, 40])
def test_quasi_newton_steps_meet_curved_constraints_in_few_iterations(steps: int) -> None:
    result = solve(swing_up(steps), torch.zeros(1, 2), 3.0)
    assert result.status == [Status.CONVERGED]
    assert int(result.iterations) <= 25


def test_constraints_in_one_gradient_give_the_same_answer_as_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    apart = solve(swing_up(20), torch.zeros(1, 2), 3.0)
    monkeypatch.setattr("pontryagin.optim.start.MOST_APART", 1)
    together = solve(swing_up(20), torch.zeros(1, 2), 3.0)
    assert together.status == apart.status == [Status.CONVERGED]
    assert together.iterations > apart.iterations  # what the sweeps of each constraint buy
    torch.testing.assert_close(together.control, apart.control, rtol=0, atol=1e-5)
    torch.testing.assert_close(together.multipliers, apart.multipliers, rtol=1e-5, atol=0)


def test_warm_start_with_multipliers_needs_fewer_iterations() -> None:
    backend = transfer()
    cold = solve(backend, torch.zeros(1, 2), 1.0)
    warm = solve(backend, torch.zeros(1, 2), 1.0, control=cold.control, warm=cold)
    assert int(warm.iterations) <= 2


def test_inequality_that_does_not_bind_has_no_multiplier() -> None:
    free = Unrolled(double_integrator, quadratic, 20, terminal=lambda x: x[:, :1] - 10.0)
    plain = solve(regulator(), STARTS, 3.0)
    result = solve(free, STARTS, 3.0)
    assert result.status == [Status.CONVERGED] * 3
    assert (result.multipliers == 0).all()
    torch.testing.assert_close(result.objective, plain.objective, rtol=1e-10, atol=0)


def test_inequality_that_binds_is_an_equality_with_a_positive_multiplier() -> None:
    low_end = Unrolled(double_integrator, quadratic, 20, terminal=lambda x: x[:, :1] + 1.0)  # x1(t1) <= -1
    end = Unrolled(double_integrator, quadratic, 20, terminal=lambda x: x[:, :1] + 1.0, equalities=1)
    loose, tight = solve(low_end, STARTS, 3.0), solve(end, STARTS, 3.0)
    assert loose.status == tight.status == [Status.CONVERGED] * 3
    assert (loose.multipliers > 0).all()
    torch.testing.assert_close(loose.multipliers, tight.multipliers, rtol=1e-5, atol=0)
    torch.testing.assert_close(loose.objective, tight.objective, rtol=1e-7, atol=0)


@pytest.mark.parametrize("guess", [0.7, 1.5, 4.0])
def test_minimum_time_of_the_double_integrator(guess: float) -> None:
    backend = Unrolled(
        double_integrator, nothing, 20, terminal_cost=lambda t, x: t, terminal=target(0, 0), equalities=2
    )
    starts = torch.tensor([[1.0, 0.0], [0.25, 0.0], [4.0, 0.0]], dtype=torch.float64)
    result = solve(backend, starts, guess, low=-1.0, high=1.0, final_time_bounds=(0.01, 50.0))
    assert result.status == [Status.CONVERGED] * 3
    # 2 sqrt(x); with an even number of steps the switch is a node, so that the discrete optimum is the exact one
    torch.testing.assert_close(result.final_time, torch.tensor([2.0, 1.0, 4.0]).double(), rtol=1e-7, atol=0)
    torch.testing.assert_close(result.multipliers[:, 0], torch.tensor([1.0, 2.0, 0.5]).double(), rtol=1e-5, atol=0)


def test_final_time_stays_in_its_bounds_and_above_t0() -> None:
    backend = Unrolled(
        double_integrator, nothing, 20, terminal_cost=lambda t, x: t, terminal=target(0, 0), equalities=2
    )
    start = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    late = solve(backend, start, 4.0, low=-1.0, high=1.0, final_time_bounds=(3.0, 5.0))
    assert late.status == [Status.CONVERGED]
    assert float(late.final_time) == 3.0
    unbounded = solve(backend, start, 4.0, low=-1.0, high=1.0, final_time_bounds=(-1.0, torch.inf))
    assert float(unbounded.final_time) == pytest.approx(2.0, rel=1e-7)


def test_shared_control_minimises_the_sum() -> None:
    backend = regulator()
    shared = solve(backend, STARTS, 3.0, control=torch.zeros(20, 1, dtype=torch.float64))
    assert shared.status == [Status.CONVERGED] * 3
    assert shared.control.shape == (20, 1) and shared.objective.shape == (3,)
    # Linear-quadratic: the best control of the sum is the best one of the mean initial state.
    mean = solve(backend, STARTS.mean(0, keepdim=True), 3.0)
    torch.testing.assert_close(shared.control, mean.control[0], rtol=0, atol=1e-6)


def test_shared_control_meets_the_constraints_of_every_problem() -> None:
    backend = Unrolled(double_integrator, energy, 20, terminal=lambda x: x[:, :1] - 5.0)
    starts = torch.tensor([[4.0, 3.0], [9.0, 0.0]], dtype=torch.float64)  # x1(t1) <= 5 in both
    result = solve(backend, starts, 3.0, control=torch.zeros(20, 1, dtype=torch.float64))
    assert result.status == [Status.CONVERGED] * 2
    assert result.multipliers.shape == (2, 1)
    assert (result.multipliers > 0).sum() == 1  # only the harder one binds


def _arguments(u: Tensor, x0: Tensor, t1: Tensor, theta: Tensor):  # type: ignore[no-untyped-def]
    from pontryagin.sweep import Arguments

    return Arguments(control=u, initial_state=x0, final_time=t1, parameters=theta)


def _record(objectives: list[float]):  # type: ignore[no-untyped-def]
    def callback(info: IterationInfo) -> None:
        objectives.append(info.objective)

    return callback
