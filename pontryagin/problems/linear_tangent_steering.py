"""Linear tangent steering: a rocket of constant thrust reaches height and speed in the least time.

    minimise   t1
    subject to x1' = x2,    x2' = 100 cos u,    x3' = x4,    x4' = 100 sin u,    |u| <= pi/2,
               x(0) = 0,    x2 = 45, x3 = 5, x4 = 0 at t1,    x1(t1) free

Optimal: tan u = c1 - c2 t with c1 = 1.40850836, c2 = 5.07963332; p1 = 0.
"""

import math

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "terminal constraint", "free time")
tolerance = "smooth"
reference = Reference(
    objective=0.554570878335,
    digits=12,
    citation="Bryson & Ho, Applied Optimal Control (1975); COPS 3, particle steering (0.55457); value recomputed",
    initial_costate=(0.0, -0.005789061646, -0.02940631043, -0.008153941701),
    final_time=0.554570878335,
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([x[1], 100.0 * torch.cos(u[0]), x[3], 100.0 * torch.sin(u[0])])


def terminal_cost(t: Tensor, x: Tensor) -> Tensor:
    return t


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        terminal_cost=terminal_cost,
        initial_state=[0.0, 0.0, 0.0, 0.0],
        terminal_state=[None, 45.0, 5.0, 0.0],
        free_final_time=(1.0, 0.01, 10.0),
        control_bounds=(-math.pi / 2, math.pi / 2),
        name="linear_tangent_steering",
    )


def guess(problem: Problem) -> list[list[float]]:
    """Up first, then down."""
    return [[0.8], [-0.8]]
