"""Controls that are stationary and do not minimise H: how far they are from it, and what becomes of them."""

import math
from dataclasses import replace

import pytest
import torch
from statements import regulator

import pontryagin as pmp
from pontryagin.branches import PARTS, TEETH, combed
from pontryagin.control_set import ControlSet
from pontryagin.minimum import excess, lowest
from pontryagin.status import Status

BOX = ControlSet(torch.tensor([-2.0]), torch.tensor([2.0]))


def wells(**changes) -> pmp.Problem:
    """H = (u^2 - 1)^2 + p u with two minima in u."""
    return regulator(
        **{
            "running_cost": lambda t, x, u: (u[0] ** 2 - 1) ** 2,
            "initial_state": [0.0],
            "control_bounds": (-2.0, 2.0),
            **changes,
        }
    )


def test_the_excess_is_zero_at_the_minimum_and_what_other_controls_gain_elsewhere():
    controls = torch.tensor([[1.0], [0.0], [-2.0]])
    gain = excess(lambda u: (u[..., 0] ** 2 - 1) ** 2, BOX, controls)
    torch.testing.assert_close(gain, torch.tensor([0.0, 1.0, 9.0]))


def test_a_control_without_a_value_is_no_better():
    other, gain = lowest(lambda u: torch.where(u[..., 0] < 0, math.nan, u[..., 0]), BOX, torch.tensor([[1.0], [0.0]]))
    assert other.tolist() == [[0.0], [0.0]] and gain.tolist() == [1.0, 0.0]


def test_a_comb_takes_the_other_control_for_its_teeth_alone():
    combs = combed(torch.zeros(1, 320, 1), torch.ones(1, 320, 1))[0, :, :, 0]
    assert combs.mean(1).tolist() == pytest.approx([*(part for part in PARTS for _ in TEETH), 1.0], abs=1e-6)
    assert ((combs.diff(dim=1) == 1).sum(1) + 1).tolist() == [*TEETH, *TEETH, 1]


def test_the_lower_one_of_two_minima_of_h_is_found_from_a_guess_in_the_other():
    tilted = wells(running_cost=lambda t, x, u: (u[0] ** 2 - 1) ** 2 + 0.3 * u[0])
    solution = pmp.solve(tilted, guess=1.0)
    assert solution.status is Status.CONVERGED and solution.verify().ok
    assert bool((solution.control.values < -1).all())


def test_an_optimum_that_switches_ever_faster_comes_near_and_is_not_called_one():
    problem = wells(running_cost=lambda t, x, u: (u[0] ** 2 - 1) ** 2 + x[0] ** 2)  # no control has the infimum, 0
    solution = pmp.solve(problem, guess=1.0, accuracy=1e-3)
    assert float(solution.objective) < 0.1  # 0.2997 with a control that is continuous
    assert not solution.status.success and not solution.verify().ok


def test_a_minimum_of_h_that_is_not_the_lowest_is_called_so_and_fails_verify():
    disturbed = torch.tensor([0.0028, -1.1005, -2.5068], dtype=torch.float64)
    solution = pmp.solve(pmp.problems.get("singular_5_yeo").problem(), initial_state=disturbed)
    assert solution.status is Status.NOT_MINIMAL
    assert [check.name for check in solution.verify().checks if not check.ok] == ["minimum"]


def test_a_singular_control_that_is_disturbed_fails():
    solution = pmp.solve(pmp.problems.get("singular_5_yeo").problem())
    assert solution.verify().ok
    for size in (1e-2, 1.0):
        values = (solution.control.values + size * torch.sin(40 * solution.time)[:, None]).clamp(0, 10)
        report = replace(solution, control=replace(solution.control, values=values)).verify()
        assert not report.ok


def test_costates_that_jump_at_a_bound_of_the_state_are_taken_in_the_middle():
    """As fast as allowed, cruise, brake: 10 / 1.5 + 1.5 of time."""
    problem = pmp.Problem(
        dynamics=lambda t, x, u: torch.stack([x[1], u[0]]),
        running_cost=lambda t, x, u: 1 + 0 * x[0],
        initial_state=[0.0, 0.0],
        terminal_state=[10.0, 0.0],
        state_bounds=([-99, -1.5], [99, 1.5]),
        control_bounds=(-1, 1),
        free_final_time=(5.0, 1.0, 30.0),
    )
    solution = pmp.solve(problem)
    assert solution.success and bool(solution.verify().passed)
    assert float(solution.objective) == pytest.approx(10 / 1.5 + 1.5, rel=1e-6)
