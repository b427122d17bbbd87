"""Problems of the gallery by Newton's method, from no option but the problem and its own guess."""

from __future__ import annotations

import pytest
import torch

import pontryagin as pmp
from pontryagin.problems import get, names

#: One of each kind, which take less than a second; the others are slow.
FAST = {
    "batch_reactor", "beam", "brachistochrone_dymos", "bryson_denham_1_9", "bryson_max_range", "cstr_kirk",
    "double_integrator_min_time", "goddard_cops", "hypersensitive", "linear_tangent_steering", "orbit_raising",
    "pendulum_swing_up_T3", "scalar_turnpike",
}  # fmt: skip

#: Costates that do not settle: there are infinitely many optimal paths, and the discretised problem prefers some.
AMBIGUOUS = {"reeds_shepp_turn_around"}


def solve(name, **options):
    entry = get(name)
    problem = entry.problem()
    guess = None if entry.guess is None else torch.tensor(entry.guess(problem), dtype=torch.float64)
    return entry, pmp.solve(problem, method="newton", guess=guess, **options)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in names()])
def test_newton_reaches_the_reference(name):
    entry, solution = solve(name)
    rough = entry.tolerance == "nonsmooth" or {"state bounds", "path constraint"} & set(entry.tags)
    digits = 10.0 ** (1 - entry.reference.digits)
    assert solution.success
    assert float(solution.objective) == pytest.approx(
        entry.reference.objective, rel=max(1e-4 if rough else 1e-6, digits)
    )
    if entry.reference.initial_costate is not None:
        known = torch.tensor(entry.reference.initial_costate, dtype=torch.float64)
        torch.testing.assert_close(solution.costate[0], known, rtol=0, atol=1e-3 * float(known.abs().max()))
    if entry.reference.final_time is not None:
        assert float(solution.final_time) == pytest.approx(entry.reference.final_time, rel=1e-4)
    assert name in AMBIGUOUS or solution.verify().ok


@pytest.mark.slow
def test_several_starts_find_the_better_minimum_of_the_cart_pole():
    entry, solution = solve("cartpole_kelly", starts=32)
    assert float(solution.objective) == pytest.approx(entry.reference.objective, rel=1e-6)
