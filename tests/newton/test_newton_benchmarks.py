"""What the benchmarks of Newton's method take for granted: formulas of their own, checks that can fail, starts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pontryagin as pmp
from benchmarks.newton_peers.ours import newton
from benchmarks.newton_peers.solver import Solved, Solver, asserted
from benchmarks.newton_peers.statement import CARTPOLE, STEPS, VAN_DER_POL
from benchmarks.run_newton_starts import Endings
from benchmarks.starts import disturbed, impossible
from pontryagin.status import Status


@pytest.mark.parametrize("kind", ["constant", "linear"])
@pytest.mark.parametrize("statement", [CARTPOLE, VAN_DER_POL], ids=lambda statement: statement.name)
def test_formulas_of_the_benchmark_are_those_of_the_gallery(statement, kind):
    random = np.random.default_rng(0)
    control = random.standard_normal((2, STEPS + (kind == "linear"), statement.m))
    starts = statement.initial_state + 0.1 * random.standard_normal((2, statement.n))
    objective, end = statement.led_to(control, starts)
    swept = pmp.sweep(
        statement.problem, torch.tensor(control), control=kind, initial_state=torch.tensor(starts), backend="torch"
    )
    np.testing.assert_allclose(objective, swept.objective, rtol=1e-12)
    np.testing.assert_allclose(end, swept.state[:, -1], rtol=1e-9)


def test_answers_are_asserted():
    honest = newton(VAN_DER_POL, "constant", "interpreter", 1)
    found, error = asserted(honest, VAN_DER_POL, [1.0478302])
    assert error < 1e-6
    assert found.iterations < 20
    with pytest.raises(AssertionError, match=r"none of the known minima: 1\.05"):
        asserted(honest, VAN_DER_POL, [1.05])
    idle = Solver("idle", "none", lambda: Solved(np.zeros((1, STEPS, 1)), 0))
    with pytest.raises(AssertionError, match=r"idle misses the end of cartpole_kelly by 3\.1"):
        asserted(idle, CARTPOLE, [58.0])
    wild = Solver("wild", "none", lambda: Solved(np.full((1, STEPS, 1), 21.0), 0))
    with pytest.raises(AssertionError, match="wild leaves the control bounds of cartpole_kelly by 1"):
        asserted(wild, CARTPOLE, [58.0])


def test_initial_states_are_disturbed_by_a_tenth_of_what_a_state_does():
    problem = VAN_DER_POL.problem
    solution = pmp.solve(problem, method="newton", steps=20)
    extent = solution.state.amax(0) - solution.state.amin(0)
    states = disturbed(problem, 200, 0, solution)
    share = (states - problem.initial_state) / extent
    assert float(share.abs().max()) <= 0.1
    assert float(share.abs().amax(0).min()) > 0.09
    torch.testing.assert_close(states, disturbed(problem, 200, 0, solution))


def test_endings_count_what_is_claimed_and_not_confirmed():
    endings = Endings.of(
        [
            (Status.CONVERGED, True, True, False),
            (Status.CONVERGED, False, True, False),
            (Status.INFEASIBLE, False, False, True),
            (Status.STALLED, False, True, True),
        ]
    )
    assert (endings.verified, endings.claimed, endings.nan) == (1, 1, 1)
    assert (endings.impossible, endings.refused) == (2, 0.5)
    assert str(endings) == "1 verified, 1 converged, 1 infeasible, 1 stalled"


def test_a_rope_that_is_too_long_cannot_be_shortened_in_time():
    """At the lowest speed from the begin, and braked at last: 9 - 1 / (2 * 0.71265)."""
    problem = pmp.problems.get("container_crane").problem()
    states = problem.initial_state.repeat(3, 1)
    states[:, 1] = 14 + 9 - 0.5 / 0.71265 + torch.tensor([-1e-6, 1e-6, -1e-6], dtype=torch.float64)
    states[2, 4] = -0.9
    assert impossible("container_crane", problem, states).tolist() == [False, True, True]
