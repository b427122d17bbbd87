"""Double integrator turned around under a ceiling (Bryson & Denham, Breakwell).

    minimise   J = 1/2 int_0^1 u^2 dt
    subject to x1' = x2,    x2' = u,    x1 <= 1/9,    x(0) = (0, 1),    x(1) = (0, -1)

Optimal: u = -6 (1 - 3 t) until the ceiling is reached at t = 1/3, u = 0 along it until t = 2/3, then the same mirrored;
p = (18, 6 - 18 t) on the first arc.
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("terminal constraint", "state bounds")
tolerance = "constrained"
reference = Reference(
    objective=4.0,
    digits=16,
    citation="Bryson, Denham & Dreyfus, AIAA Journal 1 (1963); closed form 4 / (9 l) for a ceiling l <= 1/6",
    initial_costate=(18.0, 6.0),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([x[1], u[0]])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return 0.5 * u[0] ** 2


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[0.0, 1.0],
        terminal_state=[0.0, -1.0],
        horizon=(0.0, 1.0),
        state_bounds=([None, None], [1.0 / 9.0, None]),
        name="bryson_denham_1_9",
    )
