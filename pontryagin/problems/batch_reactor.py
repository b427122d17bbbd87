"""Temperature profile of a batch reactor with consecutive reactions A -> B -> C.

    maximise   x2(1)
    subject to x1' = -k1 x1^2,    x2' = k1 x1^2 - k2 x2,    k1 = 4000 exp(-2500 / T),    k2 = 620000 exp(-5000 / T),
               298 <= T <= 398,    x(0) = (1, 0)

The control T is the temperature in kelvin. Optimal: H is quadratic in exp(-2500 / T).
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds",)
tolerance = "constrained"
reference = Reference(
    objective=0.610802920553,
    digits=8,
    citation="PROPT collection (0.61080), literature 0.610775; value recomputed by shooting",
    initial_costate=(-0.7780412985, -0.7892345685),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    arrhenius = torch.exp(-2500.0 / u[0])
    made = 4000.0 * arrhenius * x[0] ** 2
    return torch.stack([-made, made - 620000.0 * arrhenius**2 * x[1]])


def terminal_cost(t: Tensor, x: Tensor) -> Tensor:
    return x[1]


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        terminal_cost=terminal_cost,
        maximize=True,
        initial_state=[1.0, 0.0],
        horizon=(0.0, 1.0),
        control_bounds=(298.0, 398.0),
        name="batch_reactor",
    )
