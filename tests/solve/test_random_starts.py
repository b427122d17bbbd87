"""Random starts one by one, as a guess, and all in one solve."""

import pytest
import torch

from pontryagin.control import Control
from pontryagin.guess import Start, random_starts, read_guess
from pontryagin.instances import read_instances
from pontryagin.problem import Problem
from pontryagin.solve import solve
from pontryagin.time_grid import TimeGrid


def test_the_best_of_several_starts_is_the_best_of_each_alone():
    """Two valleys at the end, of which that of negative states is deeper."""
    problem = Problem(
        dynamics=lambda t, x, u: u,
        running_cost=lambda t, x, u: 0.05 * u[0] ** 2,
        terminal_cost=lambda t, x: 5 * (x[0] ** 2 - 1) ** 2 + 0.3 * x[0],
        initial_state=[0.1],
        horizon=(0.0, 1.0),
    )
    grid, instances = TimeGrid.uniform(10), read_instances(problem)
    drawn = random_starts(read_guess(0.5, instances, "linear", grid), instances, 4, seed=0)
    alone = []
    for k in range(4):
        rows = torch.tensor([k])
        start = Start(Control(drawn.control.values[rows], "linear", grid), drawn.final_time[rows])
        alone.append(float(solve(problem, method="newton", steps=10, guess=start).objective))
    assert alone[0] > min(alone) + 0.1, "the test needs a start that is better than the guess"
    together = solve(problem, method="newton", steps=10, guess=0.5, starts=4, seed=0)
    assert float(together.objective) == pytest.approx(min(alone), rel=1e-7)
