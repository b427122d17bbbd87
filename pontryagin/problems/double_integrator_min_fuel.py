"""Double integrator from rest to rest with the least fuel.

    minimise   J = int_0^3 |a| dt,    a = u1 - u2,    written as int_0^3 (u1 + u2) dt
    subject to x1' = x2,    x2' = u1 - u2,    0 <= u1 <= 1,    0 <= u2 <= 1,    x(0) = (0, 0),    x(3) = (1, 0)

Optimal: full thrust forwards until tau = (3 - sqrt 5) / 2, nothing until 3 - tau, full thrust backwards;
J = 2 tau = 3 - sqrt 5. The two one-sided controls make |a| smooth; no optimum has both of them on.
"""

import math

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "terminal constraint")
tolerance = "nonsmooth"
TAU = (3.0 - math.sqrt(5.0)) / 2
reference = Reference(
    objective=2 * TAU,
    digits=15,
    citation="closed form, 3 - sqrt 5; Athans & Falb, Optimal Control (1966), chapter 8",
    initial_costate=(-2.0 / math.sqrt(5.0), -3.0 / math.sqrt(5.0)),
    switching_times=(TAU, 3.0 - TAU),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([x[1], u[0] - u[1]])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return u[0] + u[1]


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[0.0, 0.0],
        terminal_state=[1.0, 0.0],
        horizon=(0.0, 3.0),
        control_bounds=(0.0, 1.0),
        name="double_integrator_min_fuel",
    )
