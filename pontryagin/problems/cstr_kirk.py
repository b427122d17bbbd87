"""Stirred tank reactor with a first-order reaction, cooled by the control.

    minimise   J = int_0^0.78 (x1^2 + x2^2 + 0.1 u^2) dt
    subject to x1' = -2 (x1 + 1/4) + (x2 + 1/2) E - (x1 + 1/4) u,    x2' = 1/2 - x2 - (x2 + 1/2) E,
               E = exp(25 x1 / (x1 + 2)),    x(0) = (0.05, 0)

x1 and x2 are the deviations of temperature and concentration from the steady state. Optimal: u = 5 p1 (x1 + 1/4).
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("unconstrained",)
tolerance = "smooth"
reference = Reference(
    objective=0.0266033554604,
    digits=11,
    citation="Kirk, Optimal Control Theory (1970), section 6.2 (0.0266); value recomputed by shooting",
    initial_costate=(1.078172671, 0.191785646),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    reaction = (x[1] + 0.5) * torch.exp(25.0 * x[0] / (x[0] + 2.0))
    return torch.stack([-(2.0 + u[0]) * (x[0] + 0.25) + reaction, 0.5 - x[1] - reaction])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return x[0] ** 2 + x[1] ** 2 + 0.1 * u[0] ** 2


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[0.05, 0.0],
        horizon=(0.0, 0.78),
        name="cstr_kirk",
    )
