"""Triple integrator brought near to rest, cost on the position alone: four switches.

    minimise   J = int_0^5 x1^2 dt
    subject to x1' = x2,    x2' = x3,    x3' = u,    |u| <= 1,    x(0) = (1, 0, 0)

Optimal: u = -1 until 0.82429, +1 until 2.56330, -1 until 3.94172, +1 until 4.73290, -1 to the end. The problem is
convex, so that an extremal is the optimum.
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds",)
tolerance = "nonsmooth"
reference = Reference(
    objective=1.252111741907,
    digits=13,
    citation="Luus' singular control 4 (published 1.252389645 is not converged); value from the switching times",
    initial_costate=(2.92158089272, 2.19184410435, 0.999992096961),
    switching_times=(0.824288053791, 2.56330460631, 3.94171753615, 4.73289821868),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([x[1], x[2], u[0]])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return x[0] ** 2


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[1.0, 0.0, 0.0],
        horizon=(0.0, 5.0),
        control_bounds=(-1.0, 1.0),
        name="luus_singular_4",
    )
