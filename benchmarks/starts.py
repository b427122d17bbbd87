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
