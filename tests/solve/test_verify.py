"""The optimality report: it passes what is optimal, and fails what is not, at the right line."""

from dataclasses import replace

import pytest
import torch
from statements import regulator, slide, transfer

from pontryagin.backend.torch_sweep import TorchSweep
from pontryagin.instances import read_instances
from pontryagin.reintegrate import Flows, reintegrate
from pontryagin.solve import solve
from pontryagin.tableau import DORMAND_PRINCE


def failed(report):
    return {check.name for check in report.checks if not check.ok}


@pytest.fixture(scope="module")
def solved():
    return {
        "bounded": solve(regulator(control_bounds=(-0.5, 0.5)), steps=20, accuracy=1e-5),
        "terminal": solve(transfer(), steps=16, accuracy=1e-5),
        "free time": solve(slide(), steps=8, accuracy=1e-5),
        "inequality": solve(regulator(terminal_inequality=lambda t, x: x[:1] - 0.5), steps=16, accuracy=1e-5),
    }


@pytest.mark.parametrize("name", ["bounded", "terminal", "free time", "inequality"])
def test_an_optimum_passes_every_check(solved, name):
    report = solved[name].verify()
    assert report.ok, str(report)


def test_each_report_has_the_lines_that_its_problem_needs(solved):
    names = {name: [check.name for check in solution.verify().checks] for name, solution in solved.items()}
    first, then = ["state", "objective", "bounds"], ["costate", "initial costate", "transversality", "stationarity"]
    assert names["bounded"] == [*first, *then, "minimum", "hamiltonian"]
    assert names["terminal"] == [*first, "terminal", *then, "minimum", "hamiltonian"]
    assert names["free time"] == [*first, "terminal", *then, "minimum", "hamiltonian", "final time"]
    assert names["inequality"] == [*first, "terminal", *then, "minimum", "multipliers", "hamiltonian"]


def test_a_perturbed_control_fails(solved):
    solution = solved["bounded"]
    values = solution.control.values - 0.01 * torch.sin(9 * solution.time)[:, None]
    report = replace(solution, control=replace(solution.control, values=values)).verify()
    assert {"state", "objective", "bounds", "stationarity"} <= failed(report)


def test_a_costate_of_the_wrong_sign_fails(solved):
    report = replace(solved["terminal"], costate=-solved["terminal"].costate).verify()
    assert {"costate", "initial costate", "transversality", "minimum"} <= failed(report)


def test_wrong_multipliers_fail(solved):
    equality = solved["terminal"]
    assert {"transversality", "costate"} <= failed(replace(equality, multipliers=equality.multipliers + 1).verify())
    inequality = solved["inequality"]
    assert "multipliers" in failed(replace(inequality, multipliers=-inequality.multipliers).verify())


def test_a_wrong_final_time_fails(solved):
    solution = solved["free time"]
    assert {"state", "terminal"} <= failed(replace(solution, time=1.1 * solution.time).verify())


def test_a_stationary_control_that_does_not_minimise_h_fails():
    # H = p u - u^2 / 2 has its stationary point at a maximum
    problem = regulator(running_cost=lambda t, x, u: x[0] - 0.5 * u[0] ** 2, control_bounds=(-3.0, 3.0))
    solution = solve(problem, steps=16, guess=lambda t: 1 - t, max_iterations=1)
    stationary = torch.linspace(1, 0, 17, dtype=torch.float64)[:, None]
    report = replace(solution, control=replace(solution.control, values=stationary)).verify()
    assert "minimum" in failed(report)


def test_too_coarse_a_grid_fails_at_the_re_integration():
    report = solve(regulator(dynamics=lambda t, x, u: u - 20 * x), steps=8, accuracy=1e-6).verify()
    assert "state" in failed(report)


def test_a_loose_solve_fails_at_stationarity():
    report = solve(transfer(), steps=16, max_iterations=3, method="lbfgs").verify()
    assert "stationarity" in failed(report) or "terminal" in failed(report)


def test_a_problem_that_depends_on_time_has_no_constant_hamiltonian():
    report = solve(regulator(running_cost=lambda t, x, u: x[0] ** 2 + (1 + t) * u[0] ** 2), steps=8).verify()
    assert "hamiltonian" not in {check.name for check in report.checks}
    assert "the problem depends on time" in str(report)


def test_the_report_of_a_batch_names_the_worst_problem(batch_of_regulated):
    values = batch_of_regulated.control.values.clone()
    values[1, 5] += 0.1
    broken = replace(batch_of_regulated, control=replace(batch_of_regulated.control, values=values))
    report = broken.verify(accuracy=1e-3)
    assert report.passed.tolist() == [True, False, True]
    assert report["state"].worst == 1 and "problem 1" in str(report)
    assert "2 of 3 problems passed all" in str(report)


def test_large_batches_are_verified_in_parts_with_the_same_result(monkeypatch, batch_of_regulated):
    whole = batch_of_regulated.verify()
    monkeypatch.setattr("pontryagin.verify.MEMORY", 1)
    parts = batch_of_regulated.verify()
    for one, other in zip(whole.checks, parts.checks, strict=True):
        assert one.name == other.name
        torch.testing.assert_close(one.value, other.value, rtol=1e-3, atol=1e-13)


def test_the_re_integration_is_that_of_the_reference_sweep(solved):
    solution = solved["terminal"].batched()
    problem, control = solution.problem, solution.control
    instances = read_instances(problem)
    fine = TorchSweep(problem, control.grid.refine(2), control_kind="linear", scheme="dormand_prince")
    arguments = instances.arguments(control.on(fine.grid), solution.final_time, solution.multipliers)
    swept = fine.evaluate(arguments, {"state", "costate", "objective"})
    flows = Flows(instances, control, solution.time, DORMAND_PRINCE, 2)
    start = solution.state + 1e-3 * torch.rand_like(solution.state)  # Newton mends the nodes
    start[:, 0] = solution.state[:, 0]
    found = reintegrate(flows, start, solution.multipliers)
    torch.testing.assert_close(found.state, swept.state[:, ::2], rtol=0, atol=1e-12)
    torch.testing.assert_close(found.costate, swept.costate[:, ::2], rtol=0, atol=1e-11)
    torch.testing.assert_close(found.cost + found.end.cost, swept.objective, rtol=0, atol=1e-12)


def test_data_take_part_in_the_report():
    problem = regulator(running_cost=lambda t, x, u, d: (x[0] - d[0]) ** 2 + u[0] ** 2, data=[[0.0], [1.0], [0.5]])
    solution = solve(problem, steps=16, accuracy=1e-5)
    assert solution.verify().ok, str(solution.report)
    batch = solve(problem, steps=16, accuracy=1e-5, data=torch.rand(3, 5, 1).double())
    assert batch.verify().passed.tolist() == [True] * 3, str(batch.report)


def test_print_shows_the_report_once_it_is_computed():
    solution = solve(regulator(), steps=8)
    report = solution.verify(accuracy=1e-2)
    assert str(report) in str(solution) and "every check passed" in str(report)
