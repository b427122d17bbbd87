"""A robot arm in spherical coordinates turns in the least time.

    minimise   J = t1
    subject to L rho'' = u1,    I_th th'' = u2,    I_phi phi'' = u3,    |u| <= 1,
               I_phi = ((L - rho)^3 + rho^3) / 3,    I_th = I_phi sin^2 phi,    L = 5,
               (rho, th, phi) = (4.5, 0, pi/4) at t = 0,    (4.5, 2 pi/3, pi/4) at t1, at rest at both ends

Optimal: every control jumps between its bounds.
"""

import math

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "terminal constraint", "free time")
tolerance = "nonsmooth"
reference = Reference(
    objective=9.14091174591,
    digits=12,
    citation="Dolan, More & Munson, COPS 3.0 (2004), robot arm; value recomputed",
    final_time=9.14091174591,
)

LENGTH = 5.0


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    inertia = ((LENGTH - x[0]) ** 3 + x[0] ** 3) / 3.0
    around = inertia * torch.sin(x[2]) ** 2
    return torch.stack([x[3], x[4], x[5], u[0] / LENGTH, u[1] / around, u[2] / inertia])


def terminal_cost(t: Tensor, x: Tensor) -> Tensor:
    return t


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        terminal_cost=terminal_cost,
        initial_state=[4.5, 0.0, math.pi / 4.0, 0.0, 0.0, 0.0],
        terminal_state=[4.5, 2.0 * math.pi / 3.0, math.pi / 4.0, 0.0, 0.0, 0.0],
        free_final_time=(9.0, 0.1, 50.0),
        control_bounds=(-1.0, 1.0),
        name="robot_arm_cops",
    )
