"""solve(method="newton"): each kind of constraint, convergence, batches, endings."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from newton_cases import double_integrator, effort, everything, integrator, solved

import pontryagin as pmp
from pontryagin.problems import get
from pontryagin.status import Status

SOLVED = solved()


def newton(problem, **options):
    return pmp.solve(problem, method="newton", **{"steps": 50} | options)


@pytest.mark.parametrize("control", ["linear", "constant"])
@pytest.mark.parametrize("name", SOLVED)
def test_every_kind_of_constraint_leads_to_the_known_optimum(name, control):
    problem, value, error = SOLVED[name]
    solution = newton(problem, control=control)
    assert solution.success, solution
    assert solution.iterations <= 60
    if control == "constant":
        error = max(error, 2e-2)  # pieces cannot follow a control that moves
    assert float(solution.objective) == pytest.approx(value, rel=error)


@pytest.mark.parametrize("name", SOLVED)
def test_answers_pass_the_optimality_report(name):
    problem, _, _ = SOLVED[name]
    solution = newton(problem, steps=None, accuracy=1e-5)
    report = solution.verify()
    assert report.ok, report


def test_a_linear_quadratic_problem_takes_one_step():
    solution = newton(get("double_integrator_lqr").problem())
    assert solution.iterations == 1


def test_convergence_is_quadratic():
    """The last steps before rounding more than square the error, up to a constant: its logarithm grows by 1.7."""
    errors = []
    newton(
        get("pendulum_swing_up_T3").problem(),
        tolerance=1e-13,
        max_iterations=12,
        callback=lambda row: errors.append(max(row.residual, row.violation)),
    )
    orders = [math.log(new) / math.log(old) for old, new in itertools.pairwise(errors) if 1e-7 < old < 1e-2]
    assert orders
    assert min(orders) > 1.7, errors


def test_cartpole_swings_up_from_no_guess_without_creeping():
    """31 iterations, most of them with an eighth of the step, where no trial is taken that the filter refuses."""
    solution = newton(get("cartpole_kelly").problem(), steps=100)
    assert solution.success
    assert solution.iterations < 20
    assert float(solution.objective) == pytest.approx(57.9447803067, rel=1e-3)


def test_costates_are_the_multipliers_with_the_documented_sign():
    """u = 6 - 12 t, p1 = -12, p2 = -6 + 12 t."""
    solution = newton(get("double_integrator_min_energy").problem())
    t = solution.time
    torch.testing.assert_close(solution.costate, torch.stack([-12 + 0 * t, -6 + 12 * t], 1), atol=1e-6, rtol=0)
    torch.testing.assert_close(solution.multipliers, solution.costate[-1], atol=1e-6, rtol=0)


def test_multipliers_of_a_state_bound_are_what_the_costate_jumps_by():
    """x1 <= 1/9: p1 is constant between contacts, and changes there by the integral of the multiplier."""
    problem, _, _ = SOLVED["state bounds (Bryson & Denham)"]
    solution = newton(problem)
    mu = solution.state_multipliers[:, 0]
    h = 1 / 50
    assert bool((mu >= 0).all())
    jump = float(solution.costate[0, 0] - solution.costate[-1, 0])
    assert jump == pytest.approx(float(mu.sum()) * h, rel=1e-6)
    off = solution.state[:, 0] < 1 / 9 - 1e-3
    assert float(mu[off].abs().max()) < 1e-4 * float(mu.max())


def test_multipliers_of_a_path_constraint_are_those_of_the_same_state_bound():
    bound, path = (
        newton(SOLVED[name][0])
        for name in ("state bounds (Bryson & Denham)", "path constraint in the state (Bryson & Denham)")
    )
    torch.testing.assert_close(path.path_multipliers[:, 0], bound.state_multipliers[:, 0], rtol=1e-3, atol=1e-3)


def test_parameters_and_free_initial_states_are_part_of_the_solution():
    assert float(newton(SOLVED["parameter on its bound"][0]).parameters) == pytest.approx(0.2, abs=1e-6)
    assert float(newton(SOLVED["parameter"][0]).parameters) == pytest.approx(0.5, abs=1e-6)
    assert float(newton(SOLVED["free initial state on its bound"][0]).state[0]) == pytest.approx(0.25, abs=1e-6)


def test_everything_at_once():
    solution = newton(everything(), steps=20, max_iterations=200)
    assert solution.status is Status.CONVERGED


# -- batches -----------------------------------------------------------------------------------------------------------


def test_answers_do_not_depend_on_the_neighbours():
    """One that is far away, one that is infeasible, and the same one alone."""
    problem = pmp.Problem(
        dynamics=lambda t, x, u: torch.stack([x[1], u[0] - torch.sin(x[0])]),
        running_cost=effort,
        initial_state=[0.0, 0.0],
        terminal_state=[1.0, 0.0],
        horizon=(0.0, 2.0),
        control_bounds=(-5, 5),
        state_bounds=([None, -1.0], [None, 1.0]),
    )
    starts = torch.tensor([[0.0, 0.0], [40.0, 0.0], [-0.3, 0.2]], dtype=torch.float64)
    many = newton(problem, initial_state=starts, steps=20)
    assert many.status[1] is Status.INFEASIBLE
    for i in (0, 2):
        one = newton(problem, initial_state=starts[i], steps=20)
        assert one.status is many.status[i] is Status.CONVERGED
        assert one.iterations == many.iterations[i]
        torch.testing.assert_close(one.state, many.state[i], rtol=0, atol=1e-12)
        torch.testing.assert_close(one.costate, many.costate[i], rtol=0, atol=1e-11)


def test_a_batch_of_parameters_gives_a_batch_of_answers():
    problem = pmp.Problem(
        dynamics=lambda t, x, u, p: torch.stack([p[0] * u[0]]),
        running_cost=lambda t, x, u, p: u[0] ** 2,
        initial_state=[0.0],
        terminal_state=[1.0],
        horizon=(0.0, 1.0),
        parameters={"gain": 1.0},
    )
    solution = newton(problem, parameters={"gain": torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)}, steps=10)
    np.testing.assert_allclose(solution.objective, [1.0, 0.25, 0.0625], rtol=1e-8)


def test_several_starts_keep_the_best():
    solution = newton(get("cartpole_kelly").problem(), steps=25, starts=4)
    one = newton(get("cartpole_kelly").problem(), steps=25)
    assert float(solution.objective) <= float(one.objective) + 1e-6


# -- endings -----------------------------------------------------------------------------------------------------------


def test_an_end_that_cannot_be_reached_is_infeasible_and_says_where():
    solution = newton(
        pmp.Problem(
            dynamics=double_integrator,
            running_cost=effort,
            initial_state=[0.0, 0.0],
            terminal_state=[10.0, 0.0],
            horizon=(0.0, 1.0),
            control_bounds=(-1, 1),
        ),
        steps=20,
    )
    assert solution.status is Status.INFEASIBLE
    assert solution.worst
    assert solution.worst in str(solution)


def test_constraints_that_contradict_each_other_are_infeasible():
    solution = newton(
        pmp.Problem(
            dynamics=integrator,
            running_cost=effort,
            initial_state=[0.0],
            horizon=(0.0, 1.0),
            path_constraint=lambda t, x, u: torch.stack([u[0] - 1 - x[0], 2 + x[0] - u[0]]),
        ),
        steps=20,
    )
    assert solution.status is Status.INFEASIBLE
    assert "path_constraint" in solution.worst


def test_the_limit_of_iterations_is_kept():
    solution = newton(get("cartpole_kelly").problem(), max_iterations=3)
    assert solution.status is Status.MAX_ITERATIONS
    assert solution.iterations == 3


def test_a_callback_that_says_so_ends_the_solve():
    solution = newton(get("cartpole_kelly").problem(), callback=lambda row: row.iteration == 2)
    assert solution.status is Status.INTERRUPTED


def test_a_start_without_numbers_is_not_finite():
    solution = newton(
        pmp.Problem(
            dynamics=lambda t, x, u: torch.stack([torch.log(x[0]) + u[0]]),
            running_cost=effort,
            initial_state=[-1.0],
            horizon=(0.0, 1.0),
        ),
        steps=5,
    )
    assert solution.status is Status.NOT_FINITE


def test_the_table_of_iterations_has_what_a_person_reads():
    solution = newton(get("van_der_pol_bounded").problem())
    row = solution.history[-1]
    for name in ("objective", "residual", "violation", "complementarity", "barrier", "step", "regularisation"):
        assert math.isfinite(getattr(row, name))
    assert row.barrier < solution.history[0].barrier


@pytest.mark.parametrize("control", ["linear", "constant"])
@pytest.mark.parametrize("backend", ["torch", "interpreter"])
def test_a_solution_is_a_warm_start_with_all_its_multipliers(backend, control):
    problem = get("van_der_pol_bounded").problem()
    options = {"backend": backend, "control": control}
    first = newton(problem, **options)
    again = newton(problem, guess=first, **options)
    assert again.success
    assert again.iterations <= 1 < first.iterations
    assert float(again.objective) == pytest.approx(float(first.objective), rel=1e-8)
    near = {"initial_state": problem.initial_state + 0.01}
    cold, warm = newton(problem, **near, **options), newton(problem, guess=first, **near, **options)
    assert warm.success
    assert warm.iterations < cold.iterations
    assert float(warm.objective) == pytest.approx(float(cold.objective), rel=1e-7)


def test_problems_of_a_batch_are_warm_starts_for_the_next_one():
    problem = get("cartpole_kelly").problem()
    states = problem.initial_state + 0.02 * torch.arange(3.0, dtype=torch.float64)[:, None]
    first = newton(problem, initial_state=states)
    for guess in (first, first[1]):
        again = newton(problem, guess=guess, initial_state=states + 0.01)
        assert bool(again.success.all())
        assert int(again.iterations.max()) < int(first.iterations.min())
    several = newton(problem, guess=first, initial_state=states, starts=3)
    assert bool((several.objective <= first.objective + 1e-6).all())


def test_a_batch_whose_problems_fail_in_part_may_begin_from_a_batch():
    problem = SOLVED["state bounds (Bryson & Denham)"][0]
    states = torch.tensor([[0.0, 1.0], [0.0, 0.9], [0.5, 1.0]], dtype=torch.float64)
    first = newton(problem, initial_state=states[[0, 1, 1]])
    again = newton(problem, guess=first, initial_state=states, steps=None)
    assert again.success.tolist() == [True, True, False]


def test_save_and_load_keep_the_multipliers_in_time(tmp_path):
    problem, _, _ = SOLVED["state bounds (Bryson & Denham)"]
    solution = newton(problem, steps=10)
    solution.save(tmp_path / "answer.npz")
    loaded = pmp.Solution.load(tmp_path / "answer.npz", problem)
    torch.testing.assert_close(loaded.state_multipliers, solution.state_multipliers)


def ill_posed() -> dict[str, tuple[pmp.Problem, Status]]:
    """Made on purpose, with the status that they deserve."""
    one = {"horizon": (0.0, 1.0), "running_cost": effort}
    rest = {"dynamics": double_integrator, "initial_state": [0.0, 0.0]}
    line = {"dynamics": integrator, "initial_state": [0.0]}
    return {
        "a cost without a minimum": (
            pmp.Problem(**line, horizon=(0.0, 1.0), running_cost=lambda t, x, u: u[0]), Status.UNBOUNDED
        ),
        "a reward that outgrows the effort": (
            pmp.Problem(
                dynamics=double_integrator, initial_state=[0.1, 0.0], horizon=(0.0, 3.0),
                running_cost=lambda t, x, u: u[0] ** 2 - 100 * x[0] ** 2,
            ), Status.UNBOUNDED
        ),
        "the longest time without a bound": (
            pmp.Problem(
                **rest, terminal_cost=lambda t, x: -t, free_final_time=(1, 0.1, None), control_bounds=(-1, 1)
            ), Status.UNBOUNDED
        ),
        "too far for the time": (
            pmp.Problem(
                **rest, terminal_cost=lambda t, x: t, terminal_state=[100.0, 0.0], free_final_time=(1, 0.1, 2),
                control_bounds=(-1, 1),
            ), Status.INFEASIBLE
        ),
        "a state bound that the control cannot keep": (
            pmp.Problem(
                **rest | {"initial_state": [0.0, 1.0]}, **one, terminal_state=[0.0, -1.0], control_bounds=(-2, 2),
                state_bounds=([None, None], [0.001, None]),
            ), Status.INFEASIBLE
        ),
        "a path constraint that the initial state violates": (
            pmp.Problem(**rest, **one, path_constraint=lambda t, x, u: 1 - x[0]), Status.INFEASIBLE
        ),
        "a negative integral of a square": (
            pmp.Problem(**rest, **one, integral_constraint=(lambda t, x, u: u[0] ** 2, [-2.0], [-1.0])),
            Status.INFEASIBLE
        ),
        "an end that does not exist": (
            pmp.Problem(**rest, **one, terminal_constraint=lambda t, x: x[0] ** 2 + 1), Status.INFEASIBLE
        ),
        "two ends at once": (
            pmp.Problem(**rest, **one, terminal_constraint=lambda t, x: torch.stack([x[0] - 1, x[0] - 2])),
            Status.INFEASIBLE
        ),
        "the same end twice": (
            pmp.Problem(**rest, **one, terminal_constraint=lambda t, x: torch.stack([x[0] - 1, 2 * x[0] - 2])),
            Status.CONVERGED
        ),
        "a state that no control moves": (
            pmp.Problem(
                dynamics=lambda t, x, u: torch.stack([x[1], -x[1], u[0]]), initial_state=[0.0, 1.0, 0.0],
                terminal_state=[5.0, None, None], **one,
            ), Status.INFEASIBLE
        ),
    }  # fmt: skip


ILL_POSED = ill_posed()


@pytest.mark.parametrize("name", ILL_POSED)
def test_ill_posed_problems_end_in_the_right_status_within_few_iterations(name):
    problem, status = ILL_POSED[name]
    solution = newton(problem, steps=30)
    assert solution.status is status, solution
    assert solution.iterations < 150


# -- saddles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["torch", "interpreter"])
def test_a_rest_that_is_a_saddle_is_left(backend):
    """x = u = p = 0 meets every condition of first order; beyond the conjugate point at pi / 2 it is no minimum."""
    problem = pmp.Problem(
        dynamics=integrator,
        running_cost=lambda t, x, u: u[0] ** 2 / 2 - x[0] ** 2 / 2 + x[0] ** 4 / 4,
        initial_state=[0.0],
        control_bounds=(-5, 5),
        horizon=(0.0, 3.0),
        name="rest",
    )
    solution = pmp.solve(problem, method="newton", backend=backend, steps=30)
    assert solution.success
    assert float(solution.objective) < -0.1


def test_the_path_of_another_problem_is_no_guess_for_the_states():
    one, other = get("scalar_lqr").problem(), get("van_der_pol_unbounded").problem()
    solutions = newton(one), newton(other)
    assert newton(one, guess=solutions[1]).success
    assert newton(other, guess=solutions[0]).success


def test_more_equalities_than_the_core_has_room_for_are_met_by_numpy():
    problem = pmp.Problem(
        dynamics=lambda t, x, u: u,
        running_cost=lambda t, x, u: (u**2).sum(),
        initial_state=[0.0],
        terminal_constraint=lambda t, x: torch.stack([(k + 1) * (x[0] - 1) for k in range(65)]),
        horizon=(0.0, 1.0),
    )
    assert float(newton(problem, steps=3).objective) == pytest.approx(1.0)
    with pytest.raises(pmp.BackendError, match="torch"):
        newton(problem, steps=3, backend="interpreter")
