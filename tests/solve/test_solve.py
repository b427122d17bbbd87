"""What solve finds, and what it refuses."""

import math

import pytest
import torch
from statements import REGULATOR, regulator, slide, transfer

from pontryagin.data import Data
from pontryagin.errors import NotYetSupported, ProblemError
from pontryagin.parameters import Parameter
from pontryagin.problem import Problem
from pontryagin.solve import solve
from pontryagin.status import Status


def test_regulator_is_solved_with_its_costate_and_control(regulated):
    t = regulated.time
    assert regulated.status is Status.CONVERGED and regulated.success is True
    # errors of a linear control on 16 steps are of order h^2 / 10
    assert float(regulated.objective) == pytest.approx(REGULATOR, abs=5e-4)
    torch.testing.assert_close(regulated.state[:, 0], torch.cosh(1 - t) / math.cosh(1), rtol=0, atol=5e-4)
    torch.testing.assert_close(regulated.costate[:, 0], torch.sinh(1 - t) / math.cosh(1), rtol=0, atol=5e-4)
    torch.testing.assert_close(regulated.control.values, -regulated.costate, rtol=0, atol=2e-3)


def test_terminal_constraints_are_met_and_their_multipliers_are_the_last_costate(transferred):
    assert transferred.success
    torch.testing.assert_close(transferred.state[-1], torch.tensor([1.0, 0.0]).double(), rtol=0, atol=1e-7)
    torch.testing.assert_close(transferred.costate[-1], transferred.multipliers, rtol=0, atol=1e-12)
    torch.testing.assert_close(transferred.multipliers, torch.tensor([-12.0, 6.0]).double(), rtol=0, atol=1e-3)
    assert float(transferred.objective) == pytest.approx(6.0, abs=1e-4)


def test_free_final_time_is_found_and_the_hamiltonian_ends_at_minus_its_price():
    solution = solve(slide(), steps=8)
    assert float(solution.final_time) == pytest.approx(1 / math.sqrt(2), abs=1e-6)
    assert float(solution.objective) == pytest.approx(math.sqrt(2), abs=1e-6)
    torch.testing.assert_close(solution.hamiltonian, torch.full((9,), -1.0).double(), rtol=0, atol=1e-5)


def test_a_maximised_objective_is_reported_as_it_was_stated():
    problem = regulator(running_cost=lambda t, x, u: -0.5 * (x[0] ** 2 + u[0] ** 2), maximize=True)
    solution = solve(problem, steps=8)
    assert float(solution.objective) == pytest.approx(-REGULATOR, abs=2e-3)
    assert float(solution.costate[0, 0]) == pytest.approx(math.tanh(1.0), abs=2e-3)  # of the minimised -J


def test_bounds_hold_exactly():
    solution = solve(regulator(control_bounds=(-0.5, 0.0)), steps=16)
    assert solution.success
    assert float(solution.control.values.min()) == -0.5
    assert bool((solution.control_gradient[solution.control.values == -0.5] >= -1e-8).all())


def test_constant_controls_and_other_schemes_are_taken():
    solution = solve(regulator(), steps=8, control="constant", scheme="heun", method="gradient")
    assert solution.control.kind == "constant" and solution.control.shape == (8, 1)
    assert (solution.method, solution.scheme) == ("gradient", "heun")
    assert float(solution.objective) == pytest.approx(REGULATOR, abs=5e-3)


def test_without_steps_the_grid_is_refined_until_the_accuracy_holds():
    solution = solve(regulator(), accuracy=1e-5)
    last = solution.levels[-1]
    assert last.change < 1e-5 and last.defect < 1e-5
    assert [level.steps for level in solution.levels] == [50 * 2**i for i in range(len(solution.levels))]
    assert float(solution.objective) == pytest.approx(REGULATOR, rel=1e-5)


# -- batches ---------------------------------------------------------------------------------------------------------


def test_a_batch_axis_in_is_a_batch_axis_out(regulated, batch_of_regulated):
    assert regulated.batch is None and regulated.objective.dim() == 0 and regulated.state.shape == (17, 1)
    assert batch_of_regulated.batch == 3 and batch_of_regulated.state.shape == (3, 17, 1)
    assert batch_of_regulated.status == [Status.CONVERGED] * 3
    assert batch_of_regulated.success.tolist() == [True] * 3
    torch.testing.assert_close(
        batch_of_regulated.objective, regulated.objective * torch.tensor([1.0, 4.0, 1.0]).double(), rtol=1e-9, atol=0
    )


def test_a_batch_of_one_is_a_batch():
    solution = solve(regulator(), steps=4, initial_state=torch.ones(1, 1, dtype=torch.float64))
    assert solution.batch == 1 and solution.control.shape == (1, 5, 1)


def test_a_problem_of_a_batch_can_be_taken_out(batch_of_regulated):
    second = batch_of_regulated[1]
    assert second.batch is None and second.status is Status.CONVERGED
    assert torch.equal(second.state, batch_of_regulated.state[1])
    with pytest.raises(ProblemError, match="no problem 3 in a batch of 3"):
        batch_of_regulated[3]
    with pytest.raises(ProblemError, match="single problem"):
        second[0]


def test_parameters_make_a_batch_by_name():
    problem = regulator(
        running_cost=lambda t, x, u, theta: 0.5 * (theta[0] * x[0] ** 2 + u[0] ** 2), parameters={"weight": 1.0}
    )
    solution = solve(problem, steps=16, parameters={"weight": torch.tensor([1.0, 4.0]).double()})
    # J = sqrt(w) tanh(sqrt(w)) / 2
    torch.testing.assert_close(
        solution.objective, torch.tensor([REGULATOR, math.tanh(2.0)]).double(), rtol=0, atol=2e-3
    )


def test_data_are_followed_and_can_be_replaced():
    problem = regulator(running_cost=lambda t, x, u, d: 0.5 * ((x[0] - d[0]) ** 2 + u[0] ** 2), data=[[0.0], [0.0]])
    assert float(solve(problem, steps=16).objective) == pytest.approx(REGULATOR, abs=5e-4)
    reachable = solve(problem, steps=16, data=[[1.0], [1.0]])
    assert float(reachable.objective) == pytest.approx(0.0, abs=1e-12)
    several = solve(problem, steps=8, data=torch.tensor([[[0.0], [0.0]], [[1.0], [1.0]]]).double())
    assert several.batch == 2 and float(several.objective[1]) == pytest.approx(0.0, abs=1e-12)


def test_single_precision_stays_single():
    solution = solve(regulator(), steps=8, initial_state=torch.tensor([1.0]), tolerance=1e-4)
    assert solution.state.dtype == solution.control.dtype == torch.float32
    assert float(solution.objective) == pytest.approx(REGULATOR, abs=2e-3)


# -- guesses, starts and stopping --------------------------------------------------------------------------------------


def two_valleys() -> Problem:
    """Two minima, at u = 1 and u = -0.6; the second one is lower by 0.08."""
    return Problem(
        dynamics=lambda t, x, u: u,
        running_cost=lambda t, x, u: (u[0] - 1) ** 2 * (u[0] + 0.6) ** 2 + 0.05 * u[0],
        initial_state=[0.0],
        horizon=(0.0, 1.0),
        control_bounds=(-2.0, 2.0),
    )


def test_a_warm_start_takes_fewer_iterations():
    cold = solve(transfer(), steps=8, method="lbfgs")
    again = solve(transfer(), steps=8, guess=cold, method="lbfgs")
    assert int(again.iterations) < int(cold.iterations) / 4
    nearby = solve(transfer(terminal_state=[1.01, 0.0]), steps=8, guess=cold, method="lbfgs")
    assert nearby.success and int(nearby.iterations) < int(cold.iterations)


def test_a_warm_start_without_steps_ends_on_its_own_grid():
    cold = solve(regulator(), accuracy=2e-10, method="lbfgs")
    warm = solve(regulator(), accuracy=2e-10, guess=cold, method="lbfgs")
    assert cold.steps > 100
    assert [level.steps for level in warm.levels] == [cold.steps // 2, cold.steps]


def test_random_starts_find_the_lower_of_two_minima_and_repeat_themselves():
    problem = two_valleys()
    caught = solve(problem, steps=4, guess=1.0)
    freed = solve(problem, steps=4, guess=1.0, starts=8, seed=3)
    assert float(caught.objective) > 0.04 and float(freed.objective) < -0.02
    assert torch.equal(freed.control.values, solve(problem, steps=4, guess=1.0, starts=8, seed=3).control.values)


def test_a_callback_stops_the_solve_with_its_status():
    rows = []

    def stop(row):
        rows.append(row)
        return len(rows) == 2

    solution = solve(transfer(), steps=8, callback=stop, method="lbfgs")
    assert solution.status is Status.INTERRUPTED and not solution.success
    assert len(rows) == 2 and solution.history == rows
    assert bool(solution.state.isfinite().all())


@pytest.mark.parametrize("steps", [8, None], ids=["one grid", "refined"])
def test_ctrl_c_keeps_the_best_answer_so_far(steps):
    def interrupt(row):
        if row.iteration == 3:
            raise KeyboardInterrupt

    solution = solve(transfer(), steps=steps, callback=interrupt, method="lbfgs")
    assert solution.status is Status.INTERRUPTED
    assert "interrupted" in str(solution)


def test_ctrl_c_between_two_grids_keeps_the_coarse_answer(monkeypatch):
    def interrupt(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("pontryagin.refine.Search._defects", interrupt)
    solution = solve(regulator())
    assert solution.status is Status.INTERRUPTED and solution.steps == 50
    assert float(solution.objective) == pytest.approx(REGULATOR, abs=1e-4)


def test_max_iterations_counts_over_all_grids():
    solution = solve(transfer(), max_iterations=5, method="lbfgs")
    assert solution.status is Status.MAX_ITERATIONS and int(solution.iterations) == 5


def test_what_a_coarse_grid_leaves_undone_is_done_on_the_last(monkeypatch):
    monkeypatch.setattr("pontryagin.refine.COARSE", 2)
    solution = solve(transfer(), method="lbfgs")
    assert solution.success and solution.levels[0].iterations == 2
    assert sum(level.iterations for level in solution.levels) == int(solution.iterations) == len(solution.history)
    assert [row.iteration for row in solution.history] == list(range(1, int(solution.iterations) + 1))


def test_a_grid_that_is_too_coarse_to_be_finite_is_refined():
    # x' = -x^3 from 8.5: the first steps of 1/50 are far from stable
    problem = regulator(dynamics=lambda t, x, u: u - x**3, initial_state=[8.5])
    solution = solve(problem, accuracy=0.5)
    assert solution.success and solution.steps > 50


def test_what_cannot_be_reached_is_infeasible_and_no_exception():
    solution = solve(transfer(control_bounds=(-1.0, 1.0)), steps=8)
    assert solution.status is Status.INFEASIBLE
    assert "control bounds" in str(solution.status)


def test_solve_prints_nothing_unless_asked(capsys):
    solve(regulator(), steps=4)
    assert capsys.readouterr() == ("", "")
    solve(regulator(), steps=4, verbose=True, method="lbfgs")
    out, err = capsys.readouterr()
    assert out == "" and "residual" in err


def test_a_batch_shows_a_bar(capsys):
    solve(regulator(), steps=4, initial_state=[[1.0], [2.0]], verbose=True)
    assert "2/2" in capsys.readouterr().err


# -- refusals ----------------------------------------------------------------------------------------------------------

WRONG = {
    "unknown method": ({"method": "lbfg"}, "did you mean lbfgs"),
    "unknown scheme": ({"scheme": "rk5"}, "did you mean rk4"),
    "unknown backend": ({"backend": "numpy"}, "expected one of auto, torch"),
    "unknown control kind": ({"control": "cubic"}, "expected one of constant, linear"),
    "no steps": ({"steps": 0}, "steps is 0; give a whole number from 1, or None"),
    "half a step": ({"steps": 10.5}, "steps is 10.5"),
    "no starts": ({"starts": 0}, "starts is 0"),
    "a seed of words": ({"seed": "now"}, "seed is 'now'"),
    "negative tolerance": ({"tolerance": -1.0}, "tolerance is -1.0; give a positive number"),
    "accuracy of none": ({"accuracy": None}, "accuracy is None"),
    "no iterations": ({"max_iterations": 0}, "max_iterations is 0"),
    "no threads": ({"threads": 0}, "threads is 0"),
    "callback of a number": ({"callback": 3}, "callback is a int; give a function"),
    "wrong initial state": ({"initial_state": [1.0, 2.0]}, r"initial_state has shape \(2,\); give \(1,\), or \(B, 1\)"),
    "NaN initial state": ({"initial_state": [math.nan]}, r"initial_state\[0\] is nan"),
    "empty batch": ({"initial_state": torch.zeros(0, 1)}, "a batch of no problems"),
    "unknown parameter": ({"parameters": {"mass": 1.0}}, "'mass' is not known"),
    "data that were not declared": ({"data": [[1.0], [2.0]]}, "regulator has no data"),
    "guess of two controls": ({"guess": [1.0, 2.0]}, r"guess has shape \(2,\); give \(1,\).*guess\[:, None\]"),
    "guess rows of two controls": ({"guess": torch.zeros(5, 2)}, r"guess has shape \(5, 2\)"),
    "guess of four axes": ({"guess": torch.zeros(1, 1, 5, 1)}, r"guess has shape \(1, 1, 5, 1\)"),
    "guess of one row": ({"guess": [[1.0]]}, "a linear control needs two"),
    "guess for a batch": ({"guess": torch.zeros(3, 5, 1)}, "guess is for 3 problems, these are 1"),
    "NaN in a guess": ({"guess": torch.tensor([[0.0], [math.nan]])}, r"guess\[1, 0\] is nan"),
    "guess function of two": ({"guess": lambda t: [t, t]}, r"guess\(0\) has shape \(2,\)"),
    "guess function with NaN": ({"guess": lambda t: t / 0 * 0}, r"guess\(0\) is nan"),
    "guess function that fails": ({"guess": lambda t: {}[1]}, "guess raised KeyError at t = 0"),
    "guess of words": ({"guess": "zero"}, "guess"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_refused_with_a_remedy(name):
    keywords, message = WRONG[name]
    with pytest.raises(ProblemError, match=message):
        solve(regulator(), **keywords)


def test_a_solution_of_another_problem_is_no_guess(transferred, batch_of_regulated):
    two = regulator(dynamics=lambda t, x, u: u[:1] + u[1:], control_dim=2)
    with pytest.raises(ProblemError, match="guess has 1 controls; regulator has 2"):
        solve(two, guess=transferred)
    with pytest.raises(ProblemError, match="solution of 3 problems, these are 1"):
        solve(regulator(), guess=batch_of_regulated)


def test_batches_of_different_sizes_are_refused():
    problem = regulator(dynamics=lambda t, x, u, theta: theta * u, parameters={"gain": 1.0})
    with pytest.raises(ProblemError, match="batches differ: initial_state of 2, parameters of 3"):
        solve(problem, initial_state=[[1.0], [2.0]], parameters=torch.ones(3, 1).double())


def test_gradients_are_not_dropped_in_silence():
    problem = regulator(dynamics=lambda t, x, u, theta: theta * u, parameters={"gain": 1.0})
    gain = torch.ones(1, dtype=torch.float64, requires_grad=True)
    with pytest.raises(ProblemError, match="parameters require grad"):
        solve(problem, parameters={"gain": gain})
    with pytest.raises(ProblemError, match="initial_state requires grad"):
        solve(problem, initial_state=gain)


def test_tensors_on_different_devices_are_refused():
    problem = regulator(dynamics=lambda t, x, u, theta: theta * u, parameters={"gain": 1.0})
    with pytest.raises(ProblemError, match="initial_state is on cpu, parameters on meta; move them to one device"):
        solve(problem, parameters=torch.ones(1, dtype=torch.float64, device="meta"))


def test_data_of_another_width_are_refused():
    problem = regulator(dynamics=lambda t, x, u, d: u + d, data=[[0.0], [0.0]])
    with pytest.raises(ProblemError, match="data have 2 components; regulator was declared with 1"):
        solve(problem, data=Data([[0.0, 1.0], [0.0, 1.0]]))


def test_something_else_than_a_problem_is_refused():
    with pytest.raises(ProblemError, match=r"the problem is a dict; give a pontryagin\.Problem"):
        solve({})


@pytest.mark.parametrize("method", ["emsa", "indirect"])
def test_planned_methods_say_so(method):
    with pytest.raises(NotYetSupported, match=f'"{method}".*not part of this version; use gradient or lbfgs or newton'):
        solve(regulator(), method=method)


def test_problems_beyond_first_order_methods_say_so_and_are_left_to_newton():
    gain = regulator(dynamics=lambda t, x, u, theta: u * theta, parameters={"gain": Parameter(1.0, 0.5, 2.0)})
    with pytest.raises(NotYetSupported, match=r'optimised parameters.*method="newton"'):
        solve(gain, method="lbfgs")
    with pytest.raises(NotYetSupported, match="free components of initial_state"):
        solve(regulator(initial_state=[None]), method="gradient")
    assert solve(gain, steps=10).method == "newton"


def test_newton_is_the_default_where_formulas_are_known_and_not_too_many():
    many = Problem(
        dynamics=lambda t, x, u: u - x, running_cost=lambda t, x, u: (u**2).sum(), initial_state=[0.0] * 40,
        terminal_state=[1.0] * 40, horizon=(0.0, 1.0), control_dim=40,
    )  # fmt: skip
    assert solve(regulator(), steps=10).method == "newton"
    assert solve(many, steps=4).method == "lbfgs"
    assert solve(regulator(), steps=10, backend="torch").method == "lbfgs"
