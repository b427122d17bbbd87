"""Dubins' car turns around on the spot in the least time.

    minimise   J = t1
    subject to x' = cos th,    y' = sin th,    th' = u,    |u| <= 1,
               (x, y, th) = (0, 0, 0) at t = 0,    (0, 0, pi) at t1

The car drives forwards with speed one and turns with a radius of at least one. Optimal: three arcs, u = -1 for pi/3,
1 for 5 pi/3, -1 for pi/3, or the mirror image of it.
"""

import math

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "terminal constraint", "free time")
tolerance = "nonsmooth"
reference = Reference(
    objective=7.0 * math.pi / 3.0,
    digits=16,
    citation="Dubins, American Journal of Mathematics 79 (1957): three arcs of circles",
    switching_times=(math.pi / 3.0, 2.0 * math.pi),
    final_time=7.0 * math.pi / 3.0,
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([torch.cos(x[2]), torch.sin(x[2]), u[0]])


def terminal_cost(t: Tensor, x: Tensor) -> Tensor:
    return t


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        terminal_cost=terminal_cost,
        initial_state=[0.0, 0.0, 0.0],
        terminal_state=[0.0, 0.0, math.pi],
        free_final_time=(5.0, 0.1, 50.0),
        control_bounds=(-1.0, 1.0),
        name="dubins_turn_around",
    )


def guess(problem: Problem) -> list[float]:
    """A turn to one side."""
    return [1.0]
