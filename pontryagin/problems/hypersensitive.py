"""Hyper-sensitive problem: a long horizon with fast arcs at both ends.

    minimise   J = 1/2 int_0^50 (x^2 + u^2) dt
    subject to x' = -x^3 + u,    x(0) = 1.5,    x(50) = 1

Optimal: H = 0 up to exp(-50), so u = -p = x^3 - sqrt(x^6 + x^2) on the way in and x^3 + sqrt(x^6 + x^2) on the way
out; between them nothing happens. J = int_0^1.5 (sqrt(x^6 + x^2) - x^3) dx + int_0^1 (sqrt(x^6 + x^2) + x^3) dx.
"""

import math

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("terminal constraint",)
tolerance = "smooth"
reference = Reference(
    objective=1.330806904943,
    digits=13,
    citation="Rao & Mease, Automatica 35 (1999); value from the quadratures above",
    initial_costate=(math.sqrt(1.5**6 + 1.5**2) - 1.5**3,),
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([u[0] - x[0] ** 3])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return 0.5 * (x[0] ** 2 + u[0] ** 2)


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[1.5],
        terminal_state=[1.0],
        horizon=(0.0, 50.0),
        name="hypersensitive",
    )
