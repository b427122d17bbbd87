"""Brachistochrone with the height downwards, gravity one and the end at (1, 1).

    minimise   t1
    subject to x' = v sin th,    y' = v cos th,    v' = cos th,    0 <= th <= pi,
               (x, y, v) = (0, 0, 0) at t = 0,    (x, y) = (1, 1) and v free at t1

The control th is the angle of the wire from the vertical. Optimal: a cycloid, th = w t with constant w. Where
v = 0 and th = 0 all along, no first derivative leads away.
"""

import math

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "terminal constraint", "free time")
tolerance = "smooth"
reference = Reference(
    objective=1.8256821894,
    digits=11,
    citation="cycloid",
    initial_costate=(-0.6605780453, -0.2522630494, -1.0),
    final_time=1.8256821894,
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    fall = torch.cos(u[0])
    return torch.stack([x[2] * torch.sin(u[0]), x[2] * fall, fall])


def terminal_cost(t: Tensor, x: Tensor) -> Tensor:
    return t


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        terminal_cost=terminal_cost,
        initial_state=[0.0, 0.0, 0.0],
        terminal_state=[1.0, 1.0, None],
        free_final_time=(2.0, 0.1, 10.0),
        control_bounds=(0.0, math.pi),
        name="brachistochrone_unit",
    )


def guess(problem: Problem) -> list[list[float]]:
    """Steep first, then level."""
    return [[0.1], [1.6]]
