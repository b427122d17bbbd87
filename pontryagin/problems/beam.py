"""Bending of a beam between two walls.

    minimise   J = int_0^1 u^2 dt
    subject to x1' = x2,    x2' = u,    0 <= x1 <= 0.1,    |u| <= 10,    x(0) = (0, 1),    x(1) = (0, -1)

Optimal: u = -20/3 (1 - t / 0.3) until the upper wall is reached at t = 0.3, u = 0 along it until t = 0.7, then the same
backwards; p = (400/9, 40/3 - 400/9 t) on the first arc.
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "terminal constraint", "state bounds")
tolerance = "constrained"
reference = Reference(
    objective=80.0 / 9.0,
    digits=16,
    citation="Maurer & Mittelmann (1991); closed form 8 / (9 l) for walls at 0 and l = 0.1",
    initial_costate=(400.0 / 9.0, 40.0 / 3.0),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([x[1], u[0]])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return u[0] ** 2


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[0.0, 1.0],
        terminal_state=[0.0, -1.0],
        horizon=(0.0, 1.0),
        control_bounds=(-10.0, 10.0),
        state_bounds=([0.0, None], [0.1, None]),
        name="beam",
    )
