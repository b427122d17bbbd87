"""Largest range of a glide path with given final height.

    maximise   x(2)
    subject to x' = v cos g,    y' = v sin g,    v' = 1/2 - sin g,    x = y = v = 0 at t = 0,    y(2) = 0.1

The control g is the angle of the path; gravity is one, thrust a half. Optimal: p_x = -1, p_y constant,
(cos g, sin g) parallel to (v, p_v - p_y v); the path begins with a vertical dive.
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("terminal constraint",)
tolerance = "smooth"
reference = Reference(
    objective=1.71231487508,
    digits=11,
    citation="Bryson, Dynamic Optimization (1999); value recomputed by shooting on the maximum principle",
    initial_costate=(-1.0, -0.8980230557, -1.201411454),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    sine = torch.sin(u[0])
    return torch.stack([x[2] * torch.cos(u[0]), x[2] * sine, 0.5 - sine])


def terminal_cost(t: Tensor, x: Tensor) -> Tensor:
    return x[0]


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        terminal_cost=terminal_cost,
        maximize=True,
        initial_state=[0.0, 0.0, 0.0],
        terminal_state=[None, 0.1, None],
        horizon=(0.0, 2.0),
        name="bryson_max_range",
    )


def guess(problem: Problem) -> list[list[float]]:
    """A dive that ends in a climb."""
    return [[-1.5], [0.5]]
