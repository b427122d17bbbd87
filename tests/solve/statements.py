"""Small problems with optima in closed form, solved in a moment."""

import math

import torch

from pontryagin.problem import Problem

#: Optimal value of the regulator: J = tanh(1) / 2, with x = cosh(1 - t) / cosh(1), p = -u = sinh(1 - t) / cosh(1).
REGULATOR = math.tanh(1.0) / 2


def regulator(**changes) -> Problem:
    fields = {
        "dynamics": lambda t, x, u: u,
        "running_cost": lambda t, x, u: 0.5 * (x[0] ** 2 + u[0] ** 2),
        "initial_state": [1.0],
        "horizon": (0.0, 1.0),
        "name": "regulator",
    }
    return Problem(**{**fields, **changes})


def transfer(**changes) -> Problem:
    """Double integrator from rest to rest with least energy: J = 6, u = 6 - 12 t, p = (-12, 12 t - 6)."""
    fields = {
        "dynamics": lambda t, x, u: torch.stack([x[1], u[0]]),
        "running_cost": lambda t, x, u: 0.5 * u[0] ** 2,
        "initial_state": [0.0, 0.0],
        "terminal_state": [1.0, 0.0],
        "horizon": (0.0, 1.0),
        "name": "transfer",
    }
    return Problem(**{**fields, **changes})


def slide(**changes) -> Problem:
    """Free time: x' = u from 0 to 1, cost t1 + int u^2 / 2 dt: u = sqrt(2), t1 = 1 / sqrt(2), J = sqrt(2)."""
    fields = {
        "dynamics": lambda t, x, u: u,
        "running_cost": lambda t, x, u: 0.5 * u[0] ** 2,
        "terminal_cost": lambda t, x: t,
        "initial_state": [0.0],
        "terminal_state": [1.0],
        "free_final_time": (1.5, 0.1, 5.0),
        "name": "slide",
    }
    return Problem(**{**fields, **changes})
