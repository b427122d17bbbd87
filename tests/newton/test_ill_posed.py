"""Problems that cannot be solved end within few iterations, in a status that says why, and without NaN."""

from __future__ import annotations

import re

import pytest
from ill_posed_cases import degenerate, infeasible, unbounded

import pontryagin as pmp
from pontryagin.status import Status

LIMIT = 150

#: Of verify(): these grids are coarse.
ACCURACY = 1e-4

INFEASIBLE, UNBOUNDED, DEGENERATE = infeasible(), unbounded(), degenerate()


def solve(problem):
    solution = pmp.solve(problem, method="newton", steps=20, max_iterations=LIMIT)
    if solution.status is not Status.NOT_FINITE:
        for values in (solution.state, solution.costate, solution.control.values, solution.objective):
            assert bool(values.isfinite().all())
    return solution


@pytest.mark.parametrize("name", INFEASIBLE)
def test_a_problem_without_an_answer_is_infeasible_and_names_what_fails(name):
    problem, worst = INFEASIBLE[name]
    solution = solve(problem)
    assert solution.status is Status.INFEASIBLE, solution
    assert re.search(worst, solution.worst), solution.worst
    assert not solution.verify(ACCURACY).ok


@pytest.mark.parametrize("name", UNBOUNDED)
def test_a_cost_that_falls_without_end_is_unbounded(name):
    solution = solve(UNBOUNDED[name])
    assert solution.status is Status.UNBOUNDED, solution
    assert abs(float(solution.objective)) > 1e6


@pytest.mark.parametrize("name", DEGENERATE)
def test_a_degenerate_problem_ends_in_a_status_that_its_report_confirms(name):
    problem, allowed = DEGENERATE[name]
    solution = solve(problem)
    assert solution.status in allowed, solution
    report = solution.verify(ACCURACY)
    assert report.ok == solution.success, report
