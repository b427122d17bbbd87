"""Fuller's problem on a finite horizon: infinitely many switches in finite time.

    minimise   J = int_0^5 x1^2 dt
    subject to x1' = x2,    x2' = u,    |u| <= 1,    x(0) = (0, 1)

Optimal: u = -1 above and +1 below the curve x1 = -b x2 |x2|, b = sqrt((sqrt 33 - 1) / 24); the switches accumulate
at t = 2.919932463, where the origin is reached, then u = 0. The first is at 1.727537889, the time left shrinks by the
factor 0.2421214 from each to the next.
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "singular")
tolerance = "nonsmooth"
reference = Reference(
    objective=0.268393830569,
    digits=11,
    citation="Fuller (1963) and Luus' singular control 2; value by geometric summation of the arcs between switches",
    initial_costate=(1.341969153, 1.341969153),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([x[1], u[0]])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return x[0] ** 2


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[0.0, 1.0],
        horizon=(0.0, 5.0),
        control_bounds=(-1.0, 1.0),
        name="fuller",
    )
