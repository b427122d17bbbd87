"""Double integrator to rest at the origin in the least time.

    minimise   t1
    subject to x1' = x2,    x2' = u,    |u| <= 1,    x(0) = (1, 0),    x(t1) = (0, 0)

Optimal: u = -1 until 1, +1 until 2; p = (1, 1 - t), H = -1.
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "terminal constraint", "free time")
tolerance = "nonsmooth"
reference = Reference(
    objective=2.0,
    digits=16,
    citation="closed form, 2 sqrt(x1(0)); Pontryagin et al. (1962), section 5",
    initial_costate=(1.0, 1.0),
    switching_times=(1.0,),
    final_time=2.0,
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([x[1], u[0]])


def terminal_cost(t: Tensor, x: Tensor) -> Tensor:
    return t


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        terminal_cost=terminal_cost,
        initial_state=[1.0, 0.0],
        terminal_state=[0.0, 0.0],
        free_final_time=(3.0, 0.1, 10.0),
        control_bounds=(-1.0, 1.0),
        name="double_integrator_min_time",
    )
