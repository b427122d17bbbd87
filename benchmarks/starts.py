"""Where problems of the gallery are begun, to see how often they are solved: disturbed states, random guesses."""

from __future__ import annotations

import torch
from torch import Tensor

import pontryagin as pmp

#: Of the range of each state along the solution.
PART = 0.1


def disturbed(problem: pmp.Problem, count: int, seed: int, solution: pmp.Solution | None = None) -> Tensor:
    """Initial states (count, n): each component moved by up to a tenth of its range along the solution, either way.

    Free components stay free; state bounds are kept.
    """
    if solution is None:
        solution = pmp.solve(problem, method="newton", steps=100)
    extent = solution.state.amax(0) - solution.state.amin(0)
    generator = torch.Generator().manual_seed(seed)
    share = 2 * torch.rand(count, problem.state_dim, generator=generator, dtype=torch.float64) - 1
    states = problem.initial_state + PART * extent * share
    if problem.state_bounds is not None:
        states = torch.where(states.isnan(), states, states.clamp(*problem.state_bounds))
    return states


def impossible(name: str, problem: pmp.Problem, states: Tensor) -> Tensor:
    """(count,) which of these initial states of a problem of the gallery no control leads to the end, by hand."""
    if name != "container_crane":
        return torch.zeros(len(states), dtype=torch.bool)
    assert problem.terminal_state is not None
    return states[:, 1] - problem.terminal_state[1] > _shortened(problem, states[:, 4])


def _shortened(problem: pmp.Problem, speed: Tensor) -> Tensor:
    """By how much the rope of the crane can be shortened in its nine seconds from these speeds of its length x2: down
    to the lowest speed as fast as u2 may, at that speed, and up to rest as fast as u2 may. x2' = x5, x5' = u2."""
    assert problem.state_bounds is not None
    duration, lowest = 9.0, -problem.state_bounds[0][4]
    down, up = -problem.control_set.low[1], problem.control_set.high[1]
    begin, end = (speed + lowest) / down, lowest / up
    return (lowest - speed) / 2 * begin + lowest * (duration - begin - end) + lowest / 2 * end
