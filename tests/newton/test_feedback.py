"""Feedback gains: against Riccati equations, and against what a new solve from a disturbed state does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from newton_cases import double_integrator, effort, integrator
from scipy.linalg import solve_discrete_are

import pontryagin as pmp
from pontryagin.problems import get

A, B = np.array([[0.1, 1.0], [-0.4, -0.2]]), np.array([[0.0], [1.0]])
Q, R, END = np.diag([2.0, 0.5]), np.array([[0.3]]), np.array([[1.0, 0.2], [0.2, 0.6]])


def newton(problem, **options):
    return pmp.solve(problem, method="newton", **{"steps": 20} | options)


def regulator(horizon=2.0, **changes):
    matrices = [torch.tensor(matrix) for matrix in (A, B, Q, R, END)]
    a, b, q, r, end = matrices
    fields = {
        "dynamics": lambda t, x, u: a @ x + b @ u,
        "running_cost": lambda t, x, u: 0.5 * (x @ q @ x + u @ r @ u),
        "terminal_cost": lambda t, x: 0.5 * x @ end @ x,
        "initial_state": [1.0, -0.5],
        "horizon": (0.0, horizon),
    }
    return pmp.Problem(**fields | changes)


def test_gains_of_a_linear_quadratic_problem_are_those_of_the_discrete_riccati_equation():
    """Euler steps: x+ = (1 + h A) x + h B u at the cost h/2 (x Q x + u R u)."""
    gain, h = newton(regulator(), control="constant", scheme="euler").feedback_gain, 2.0 / 20
    a, b, P = np.eye(2) + h * A, h * B, END
    for k in reversed(range(20)):
        K = -np.linalg.solve(h * R + b.T @ P @ b, b.T @ P @ a)
        P = h * Q + a.T @ P @ (a + b @ K)
        np.testing.assert_allclose(gain[k], K, atol=1e-12)


def test_far_from_the_end_the_gain_is_that_of_the_endless_horizon():
    gain, h = newton(regulator(horizon=40.0), control="constant", scheme="euler", steps=400).feedback_gain, 0.1
    a, b = np.eye(2) + h * A, h * B
    P = solve_discrete_are(a, b, h * Q, h * R)
    np.testing.assert_allclose(gain[0], -np.linalg.solve(h * R + b.T @ P @ b, b.T @ P @ a), atol=1e-12)


@pytest.mark.parametrize(("control", "error"), [("constant", 2e-2), ("linear", 1e-4)])
def test_gains_approach_those_of_the_riccati_differential_equation(control, error):
    """x' = u, L = (x^2 + u^2) / 2 has u = -tanh(1 - t) x; a constant control is half a step late."""
    problem = pmp.Problem(
        dynamics=integrator,
        running_cost=lambda t, x, u: 0.5 * (x[0] ** 2 + u[0] ** 2),
        initial_state=[1.0],
        horizon=(0.0, 1.0),
    )
    solution = newton(problem, steps=40, control=control)
    exact = -torch.tanh(1 - solution.time[:-1])
    torch.testing.assert_close(solution.feedback_gain[:, 0, 0], exact, rtol=0, atol=error)


def errors_of_prediction(problem, steps, sizes, nodes, **options):
    """Largest u - (u* + K (x - x*)) at these nodes, of new solves from x0 + size * direction."""
    solution = newton(problem, steps=steps, tolerance=1e-11, **options)
    direction = torch.linspace(1.0, 0.4, problem.state_dim, dtype=torch.float64)
    found = []
    for size in sizes:
        start = problem.initial_state + size * direction
        again = newton(problem, steps=steps, tolerance=1e-11, initial_state=start, guess=solution, **options)
        assert again.success
        predicted = torch.einsum("kij,kj->ki", solution.feedback_gain, (again.state - solution.state)[:-1])
        error = again.control.values[:steps] - solution.control.values[:steps] - predicted
        found.append(float(error[nodes].abs().max()))
    return found


PENDULUM = get("pendulum_swing_up_T3").problem
SWING = get("cartpole_kelly").problem


@pytest.mark.parametrize(
    ("problem", "control", "nodes"),
    [
        (get("van_der_pol_bocop").problem, "constant", slice(None)),
        (PENDULUM, "constant", slice(None)),
        (SWING, "constant", slice(None)),
        (PENDULUM, "linear", slice(0, 1)),
        (SWING, "linear", slice(0, 1)),
    ],
)
def test_gains_predict_a_new_solve_from_a_disturbed_state_up_to_squares(problem, control, nodes):
    """Along its whole way, because what is left of an optimal path is optimal. A linear control, which the step before
    shares, does so where it begins."""
    large, small = errors_of_prediction(problem(), 25, (1e-4, 5e-5), nodes, control=control)
    assert large < 1e-3
    assert large / small == pytest.approx(4, rel=0.1)


def test_a_gain_leaves_no_bound_that_the_control_is_pressed_against():
    solution = newton(get("van_der_pol_bounded").problem(), steps=40)
    u, bound = solution.control.values[:-1, 0], solution.control_set
    held = (u - bound.low).abs().minimum((u - bound.high).abs()) < 1e-6
    gain = solution.feedback_gain[:, 0].abs().amax(1)
    assert 0 < held.sum() < len(held)
    assert float(gain[held].max()) < 1e-4 < 0.1 < float(gain[~held].max())


def test_a_gain_brings_a_state_back_to_the_bound_that_it_is_pressed_against():
    """In one step: x + h u stays what it was."""
    problem = pmp.Problem(
        dynamics=integrator,
        running_cost=lambda t, x, u: (x[0] - 1) ** 2 + 0.1 * u[0] ** 2,
        initial_state=[0.0],
        horizon=(0.0, 1.0),
        state_bounds=([None], [0.5]),
    )
    solution = newton(problem, control="constant")
    held = solution.state[1:, 0] > 0.5 - 1e-6
    gain = solution.feedback_gain[:, 0, 0]
    assert 0 < held.sum() < len(held)
    torch.testing.assert_close(gain[held], torch.full_like(gain[held], -20.0), rtol=1e-4, atol=0)
    assert float(gain[~held].abs().max()) < 19


def test_gains_hold_the_final_time_that_was_found():
    free = {"free_final_time": (1.5, 0.1, 5.0), "terminal_cost": lambda t, x: t}
    statement = {"dynamics": double_integrator, "running_cost": effort, "initial_state": [0.0, 0.0]}
    solution = newton(pmp.Problem(**statement, **free, terminal_state=[1.0, 0.0]))
    horizon = (0.0, float(solution.final_time))
    fixed = newton(pmp.Problem(**statement, horizon=horizon, terminal_state=[1.0, 0.0]))
    torch.testing.assert_close(solution.feedback_gain, fixed.feedback_gain, rtol=1e-5, atol=1e-5)


def test_gains_do_not_ask_which_method_found_the_optimum():
    first, second = (pmp.solve(PENDULUM(), method=method, steps=20) for method in ("newton", "lbfgs"))
    torch.testing.assert_close(first.feedback_gain, second.feedback_gain, rtol=1e-4, atol=1e-4)


def test_gains_of_a_batch_are_those_of_its_problems():
    starts = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
    problem = get("van_der_pol_bocop").problem()
    many = newton(problem, initial_state=starts)
    assert many.feedback_gain.shape == (2, 20, 1, 2)
    for i in range(2):
        one = newton(problem, initial_state=starts[i])
        assert one.feedback_gain.shape == (20, 1, 2)
        torch.testing.assert_close(one.feedback_gain, many.feedback_gain[i], rtol=1e-9, atol=1e-9)


def test_there_is_no_gain_where_the_optimum_is_not_strict():
    problem = pmp.Problem(
        dynamics=lambda t, x, u: torch.stack([u[0] + u[1]]),
        running_cost=lambda t, x, u: (u[0] + u[1]) ** 2,
        initial_state=[1.0],
        horizon=(0.0, 1.0),
    )
    assert bool(newton(problem).feedback_gain.isnan().all())


def test_what_gains_need_is_said(tmp_path):
    line = {"dynamics": integrator, "running_cost": effort, "initial_state": [0.0], "horizon": (0.0, 1.0)}
    integral = pmp.Problem(**line, integral_constraint=(lambda t, x, u: x[0], [1.0], [1.0]))
    with pytest.raises(pmp.NotYetSupported, match="make each integral a state"):
        _ = newton(integral).feedback_gain
    solution = newton(pmp.Problem(**line, terminal_state=[1.0]))
    solution.save(tmp_path / "answer.npz")
    with pytest.raises(pmp.ProblemError, match="feedback gains need the functions of the problem"):
        _ = pmp.Solution.load(tmp_path / "answer.npz").feedback_gain
    loaded = pmp.Solution.load(tmp_path / "answer.npz", solution.problem)
    torch.testing.assert_close(loaded.feedback_gain, solution.feedback_gain)
