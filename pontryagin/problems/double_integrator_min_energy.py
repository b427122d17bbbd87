"""Double integrator from rest to rest with the least energy.

    minimise   J = 1/2 int_0^1 u^2 dt
    subject to x1' = x2,    x2' = u,    x(0) = (0, 0),    x(1) = (1, 0)

Optimal: u = 6 - 12 t, x1 = 3 t^2 - 2 t^3, p = (-12, -6 + 12 t), J = 6.
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("terminal constraint",)
tolerance = "smooth"
reference = Reference(
    objective=6.0,
    digits=16,
    citation="closed form; Bryson & Ho, Applied Optimal Control (1975)",
    initial_costate=(-12.0, -6.0),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([x[1], u[0]])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return 0.5 * u[0] ** 2


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[0.0, 0.0],
        terminal_state=[1.0, 0.0],
        horizon=(0.0, 1.0),
        name="double_integrator_min_energy",
    )
