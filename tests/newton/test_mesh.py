"""Refinement after Newton's method: where steps are divided, by how much, and what that is worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import pontryagin as pmp
from pontryagin.found import picked
from pontryagin.guess import read_guess
from pontryagin.instances import read_instances
from pontryagin.mesh import MUCH, divided
from pontryagin.on_grid import Options
from pontryagin.problems import get
from pontryagin.refine import Search
from pontryagin.status import Status
from pontryagin.time_grid import TimeGrid


def search_on(problem: pmp.Problem, steps: int):
    """The search for one problem, and what it found on an even grid."""
    options = Options("newton", "linear", "rk4", "auto", 1e-8, 1e-6, None, None, None, None)
    instances = read_instances(problem)
    search = Search(instances, options)
    return search, search.run(read_guess(None, instances, "linear", TimeGrid.uniform(steps)), 1, 0, refine=False)


def test_steps_are_divided_by_their_share_and_old_nodes_stay():
    grid = TimeGrid([0.0, 0.1, 0.4, 1.0])
    finer = divided(grid, torch.tensor([0.5, 2.0, 2 * MUCH], dtype=torch.float64), 100)
    np.testing.assert_allclose(finer.nodes, [0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0], rtol=1e-15)
    assert set(grid.nodes.tolist()) <= set(finer.nodes.tolist())


def test_all_steps_are_divided_where_none_stands_out():
    grid = TimeGrid([0.0, 0.1, 1.0])
    assert torch.equal(divided(grid, torch.zeros(2, dtype=torch.float64), 4).nodes, grid.refine(2).nodes)


def test_a_grid_that_would_be_too_large_is_cut_to_the_steps_that_need_it_most():
    grid, shares = TimeGrid.uniform(10), torch.linspace(1.5, 15.0, 10, dtype=torch.float64)
    assert divided(grid, shares, 100).steps == 20
    cut = divided(grid, shares, 17)
    assert 11 <= cut.steps <= 17
    assert torch.equal(cut.nodes[:4], grid.nodes[:4])
    assert divided(grid, shares, 10) is None


@pytest.mark.parametrize("name", ["double_integrator_min_time", "double_integrator_min_fuel", "scalar_turnpike"])
def test_losses_lie_at_the_switches_and_tell_what_the_objective_loses(name):
    entry = get(name)
    search, found = search_on(entry.problem(), 23)
    losses = search._mesh(found.result, found.grid).losses()[0]
    lost = float(found.result.objective) - entry.reference.objective
    assert lost / 4 < float(losses.sum()) < 4 * lost
    t = search.instances.problem.t0 + found.grid.nodes * float(found.result.final_time)
    near = torch.zeros(23, dtype=torch.bool)
    for switch in entry.reference.switching_times:
        k = int(torch.searchsorted(t, switch)) - 1
        near[max(k - 2, 0) : k + 3] = True
    assert float(losses[near].sum()) > 0.95 * float(losses.sum())


def test_defects_of_a_smooth_answer_fall_with_the_fifth_power_of_the_step():
    problem, largest = get("van_der_pol_bocop").problem(), []
    for steps in (20, 40, 80):
        search, found = search_on(problem, steps)
        largest.append(float(search._mesh(found.result, found.grid).defects().max()))
    rates = np.log2(np.array(largest[:-1]) / largest[1:])
    np.testing.assert_allclose(rates, 5.0, atol=0.5)


def test_a_switch_is_found_to_many_digits_on_few_steps():
    entry = get("double_integrator_min_time")
    solution = pmp.solve(entry.problem(), method="newton")
    assert float(solution.objective) == pytest.approx(2.0, rel=1e-6)
    assert solution.steps < 100
    lengths = solution.control.grid.lengths
    shortest = int(lengths.argmin())
    assert abs(float(solution.time[shortest]) - 1.0) < 0.01
    assert float(lengths.max() / lengths[shortest]) > 15
    assert solution.verify().ok


def product() -> pmp.Problem:
    """At u = 0, the middle of the bounds, no direction moves x to first order."""
    return pmp.Problem(
        dynamics=lambda t, x, u: torch.stack([u[0] * u[1]]),
        running_cost=lambda t, x, u: u.square().sum(),
        initial_state=[0.0],
        terminal_state=[1.0],
        horizon=(0.0, 2.0),
        control_bounds=([-1.0, -1.0], [1.0, 1.0]),
    )


def test_a_start_that_no_direction_improves_is_left_by_random_ones():
    solution = pmp.solve(product(), method="newton", steps=10)
    assert solution.status is Status.CONVERGED
    assert float(solution.objective) == pytest.approx(2.0, rel=1e-8)


def test_random_starts_of_one_problem_leave_the_others_of_the_batch_alone():
    starts = torch.tensor([[0.0], [5.0], [0.3]], dtype=torch.float64)
    many = pmp.solve(product(), method="newton", steps=10, initial_state=starts)
    assert many.status[1] is Status.INFEASIBLE
    for i in (0, 2):
        one = pmp.solve(product(), method="newton", steps=10, initial_state=starts[i])
        assert one.status is many.status[i] is Status.CONVERGED
        assert one.iterations == many.iterations[i]
        torch.testing.assert_close(one.state, many.state[i], rtol=0, atol=1e-10)


def test_a_switch_on_which_the_objective_hardly_depends_is_found_too():
    entry = get("luus_singular_4")
    solution = pmp.solve(entry.problem())
    jumps = solution.control.values[:, 0].diff().abs() > 1.0
    ends = torch.cat((solution.time[:-1][jumps], solution.time[1:][jumps]))
    for switch in entry.reference.switching_times:
        assert float((ends - switch).abs().min()) < 3e-3  # of a horizon of 5, to the root of the accuracy


def test_one_grid_suits_many_problems_that_switch_at_different_times():
    problem = get("dubins_turn_around").problem()
    states = 0.2 * torch.rand(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    solution = pmp.solve(problem, initial_state=states, guess=1.0)
    assert bool(solution.success.all()) and bool(solution.verify().passed.all()), str(solution.report)
    assert solution.steps < 800


def test_problems_that_are_under_way_do_not_divide_the_grid_of_those_that_are_solved():
    search, found = search_on(get("double_integrator_min_time").problem(), 20)
    twice = picked(replace(found, defects=torch.tensor([1e-9])), torch.tensor([0, 0]))
    for status, heard in (
        ([Status.CONVERGED, Status.MAX_ITERATIONS], [True, False]),
        ([Status.MAX_ITERATIONS, Status.MAX_ITERATIONS], [True, True]),
        ([Status.INFEASIBLE, Status.MAX_ITERATIONS], [False, True]),
    ):
        assert search._heard(replace(twice, result=twice.result.ended(status))).tolist() == heard
