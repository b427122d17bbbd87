"""A car that drives both ways turns around on the spot in the least time.

    minimise   J = t1
    subject to x' = v cos th,    y' = v sin th,    th' = v k,    |v| <= 1,    |k| <= 1,
               (x, y, th) = (0, 0, 0) at t = 0,    (0, 0, pi) at t1

Controls are the speed v and the curvature k. Optimal: every path on which the car turns at full rate, v k = 1, and
comes back, with p = (0, 0, -1): for instance pi/3 forwards, backwards and forwards again. There are infinitely many, so
that switching times are not listed. With v = k = 0 no direction turns the car to first order.
"""

import math

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "terminal constraint", "free time")
tolerance = "nonsmooth"
reference = Reference(
    objective=math.pi,
    digits=16,
    citation="Reeds & Shepp, Pacific Journal of Mathematics 145 (1990)",
    final_time=math.pi,
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([u[0] * torch.cos(x[2]), u[0] * torch.sin(x[2]), u[0] * u[1]])


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
        name="reeds_shepp_turn_around",
    )


def guess(problem: Problem) -> list[list[float]]:
    """A turn to one side in three moves: forwards, backwards, forwards."""
    return [[1.0, 1.0], [-1.0, -1.0], [1.0, 1.0]]
