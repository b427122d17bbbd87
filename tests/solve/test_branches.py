"""Controls with several minima of H: the ones that make a continuous function, and solves that begin turned away."""

from __future__ import annotations

import math

import pytest
import torch

import pontryagin as pmp
from pontryagin.branches import calmer_branches
from pontryagin.pointwise import Points

STEPS = 24


def sailing(**keywords):
    """The fastest drift along x[0] in a current: H = p0 (cos u + x1) + p1 sin u, the same after every turn of u."""
    return pmp.Problem(
        dynamics=lambda t, x, u: torch.stack([torch.cos(u[0]) + x[1], torch.sin(u[0])]),
        terminal_cost=lambda t, x: -x[0],
        terminal_constraint=lambda t, x: x[1:],
        initial_state=[0.0, 0.0],
        horizon=(0.0, 2.0),
        **keywords,
    )


def points_of(control):
    """Nodes with the costate (-1, t - 1), for which H is least at the angle of (1, 1 - t)."""
    time = torch.linspace(0, 2, STEPS + 1, dtype=torch.float64)[None]
    state, none = torch.zeros(1, STEPS + 1, 2, dtype=torch.float64), torch.zeros(1, STEPS + 1, 0, dtype=torch.float64)
    costate = torch.stack([-torch.ones_like(time), time - 1], 2)
    return Points(time, state, control, none, none), costate, torch.atan2(1 - time, torch.ones_like(time))[..., None]


def test_turns_between_nodes_are_taken_out_and_what_is_smooth_is_left_alone():
    *_, angle = points_of(torch.zeros(1, STEPS + 1, 1, dtype=torch.float64))
    turned = angle.clone()
    turned[:, 5:9] += 2 * math.pi
    turned[:, 14:] -= 4 * math.pi
    points, costate, _ = points_of(turned)
    found = calmer_branches(sailing(), points, costate)
    whole = ((found - angle) / (2 * math.pi)).round()
    assert (whole == whole[:, :1]).all() and torch.allclose(found - angle, 2 * math.pi * whole, atol=1e-6)
    points, costate, _ = points_of(angle)
    assert calmer_branches(sailing(), points, costate) is None


def test_a_control_that_maximises_h_is_replaced_by_one_that_minimises_it():
    *_, angle = points_of(torch.zeros(1, STEPS + 1, 1, dtype=torch.float64))
    points, costate, _ = points_of(angle + math.pi + 0.01)
    found = calmer_branches(sailing(), points, costate)
    assert torch.allclose(torch.cos(found - angle), torch.ones_like(found), atol=1e-9)


def test_bounds_are_kept():
    *_, angle = points_of(torch.zeros(1, STEPS + 1, 1, dtype=torch.float64))
    points, costate, _ = points_of(angle + math.pi + 0.01)
    found = calmer_branches(sailing(control_bounds=([-0.5], [4.0])), points, costate)
    assert found.min() >= -0.5 and found.max() <= 4.0


def test_a_problem_that_is_lost_changes_nothing_for_the_others():
    *_, angle = points_of(torch.zeros(1, STEPS + 1, 1, dtype=torch.float64))
    points, costate, _ = points_of(angle + 2 * math.pi * (torch.arange(STEPS + 1) % 2)[None, :, None])
    alone = calmer_branches(sailing(), points, costate)
    both = Points(*(torch.cat((field, torch.full_like(field, math.nan))) for field in points.fields))
    assert torch.equal(calmer_branches(sailing(), both, torch.cat((costate, costate)))[0], alone[0])


@pytest.mark.parametrize("seed", range(3))
def test_a_guess_that_is_many_turns_away_leads_to_a_control_that_verify_confirms(seed):
    problem = sailing()
    nodes = torch.linspace(0, 1, 6, dtype=torch.float64)
    turns = 20 * torch.randn(6, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    solution = pmp.solve(problem, guess=pmp.Control(turns, "linear", pmp.TimeGrid(nodes)))
    assert solution.status.success and bool(solution.verify().passed)
    straight = pmp.solve(problem)
    assert float(solution.objective) == pytest.approx(float(straight.objective), rel=1e-6)


def test_an_answer_on_a_grid_that_is_too_coarse_says_so(monkeypatch):
    monkeypatch.setattr("pontryagin.refine.LARGEST", 50)
    monkeypatch.setattr("pontryagin.apart.FIRST", 25)
    solution = pmp.solve(sailing(), accuracy=1e-11)
    assert solution.status is pmp.Status.INACCURATE and not bool(solution.verify().passed)
    assert pmp.solve(sailing(), accuracy=1e-3).status.success
