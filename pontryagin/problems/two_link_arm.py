"""A robot arm of two links turns in the least time.

    minimise   J = t1
    subject to x1' = (s (9/4 c x1^2 + 2 x2^2) + 4/3 (u1 - u2) - 3/2 c u2) / d,
               x2' = -(s (7/2 x1^2 + 9/4 c x2^2) - 7/3 u2 + 3/2 c (u1 - u2)) / d,
               x3' = x2 - x1,    x4' = x1,    d = 31/36 + 9/4 s^2,    |u1| <= 1,    |u2| <= 1,
               x = (0, 0, 0.5, 0) at t = 0,    (0, 0, 0.5, 0.522) at t1

with s = sin x3, c = cos x3, torques u1 and u2. Optimal: (u1, u2) = (1, 1), (1, -1), (-1, -1), (-1, 1), which switch at
0.9431404, 1.49114 and 2.6275451. A local minimum has t1 = 3.208.
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "terminal constraint", "free time")
tolerance = "nonsmooth"
reference = Reference(
    objective=2.98227994,
    digits=9,
    citation="Luus, Iterative Dynamic Programming (2000), two-link robotic arm; recomputed with free switching times",
    switching_times=(0.9431404, 1.49114, 2.6275451),
    final_time=2.98227994,
    other_minima=(3.208,),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    sine, cosine = torch.sin(x[2]), torch.cos(x[2])
    determinant = 31.0 / 36.0 + 2.25 * sine**2
    difference = u[0] - u[1]
    first = sine * (2.25 * cosine * x[0] ** 2 + 2.0 * x[1] ** 2) + 4.0 / 3.0 * difference - 1.5 * cosine * u[1]
    second = sine * (3.5 * x[0] ** 2 + 2.25 * cosine * x[1] ** 2) - 7.0 / 3.0 * u[1] + 1.5 * cosine * difference
    return torch.stack([first / determinant, -second / determinant, x[1] - x[0], x[0]])


def terminal_cost(t: Tensor, x: Tensor) -> Tensor:
    return t


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        terminal_cost=terminal_cost,
        initial_state=[0.0, 0.0, 0.5, 0.0],
        terminal_state=[0.0, 0.0, 0.5, 0.522],
        free_final_time=(3.0, 0.1, 30.0),
        control_bounds=(-1.0, 1.0),
        name="two_link_arm",
    )
