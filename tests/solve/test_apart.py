"""Problems of a batch that need grids of their own, and the grid on which they meet again."""

from __future__ import annotations

import pytest
import torch

import pontryagin as pmp
from pontryagin.apart import common, merged
from pontryagin.records import Level
from pontryagin.status import Status
from tests.solve.test_branches import sailing


def test_a_common_grid_has_the_nodes_of_all_and_none_twice():
    near = pmp.TimeGrid(torch.tensor([0.0, 1 / 3 + 1e-15, 0.5, 1.0], dtype=torch.float64))
    assert common([near, pmp.TimeGrid.uniform(2), pmp.TimeGrid.uniform(3)], 100).nodes.tolist() == pytest.approx(
        [0, 1 / 3, 1 / 2, 2 / 3, 1]
    )


def test_grids_that_would_make_it_too_large_are_left_out():
    assert common([pmp.TimeGrid.uniform(7), pmp.TimeGrid.uniform(2), pmp.TimeGrid.uniform(4)], 8).steps == 8


def test_levels_of_one_grid_are_one():
    levels = [Level(50, 3, 0.1, 0.2), Level(100, 2, 0.3, 0.4), Level(50, 5, 0.0, 0.3)]
    assert merged(levels) == (Level(50, 5, 0.1, 0.3), Level(100, 2, 0.3, 0.4))


def test_one_problem_that_begins_many_turns_away_leaves_the_others_as_they_are_alone():
    problem, states = sailing(), torch.tensor([[0.0, 0.0], [0.0, 0.3], [0.0, -0.2]], dtype=torch.float64)
    knots = torch.zeros(3, 6, 1, dtype=torch.float64)
    knots[1] = 20 * torch.randn(6, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    nodes = pmp.TimeGrid(torch.linspace(0, 1, 6, dtype=torch.float64))
    together = pmp.solve(problem, initial_state=states, guess=pmp.Control(knots, "linear", nodes))
    assert all(status.success for status in together.status) and bool(together.verify().ok)
    assert together.objective.tolist() == pytest.approx(pmp.solve(problem, initial_state=states).objective.tolist())


def test_what_cannot_be_reached_keeps_its_status_beside_what_can():
    problem = pmp.Problem(
        dynamics=lambda t, x, u: u,
        running_cost=lambda t, x, u: u[0] ** 2,
        initial_state=[0.0],
        terminal_state=[1.0],
        control_bounds=(-2.0, 2.0),
        horizon=(0.0, 1.0),
    )
    states = torch.tensor([[0.5], [-9.0], [0.0]], dtype=torch.float64)
    solution = pmp.solve(problem, initial_state=states)
    assert solution.status == [Status.CONVERGED, Status.INFEASIBLE, Status.CONVERGED]
    assert solution.verify().passed.tolist() == [True, False, True]
    assert solution.objective[[0, 2]].tolist() == pytest.approx([0.25, 1.0])


def test_a_problem_that_cannot_be_integrated_again_does_not_fail_the_others():
    problem = pmp.Problem(
        dynamics=lambda t, x, u: torch.stack([u[0], 8 * torch.sin(8 * x[1])]),
        running_cost=lambda t, x, u: u[0] ** 2,
        initial_state=[0.0, 0.0],
        horizon=(0.0, 1.0),
    )
    solution = pmp.solve(problem, initial_state=torch.zeros(2, 2, dtype=torch.float64), steps=50)
    assert solution.verify().ok
    noise = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    solution.state[1, 1:] = noise  # from which Newton's method on the nodes does not settle
    assert solution.verify().passed.tolist() == [True, False]


def test_a_stop_ends_the_whole_search_at_once():
    calls = []

    def stop(row):
        calls.append(row)
        return len(calls) >= 20

    problem = pmp.Problem(
        dynamics=lambda t, x, u: torch.stack([x[1], u[0]]),
        running_cost=lambda t, x, u: u[0] ** 2,
        initial_state=[0.0, 0.0],
        terminal_state=[10.0, 0.0],
        control_bounds=(-1, 1),
        horizon=(0.0, 1.0),
    )
    solution = pmp.solve(problem, callback=stop)
    assert solution.status is Status.INTERRUPTED
    assert len(calls) == 20
