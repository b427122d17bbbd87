"""Cart-pole swing-up with the least effort.

    minimise   J = int_0^2 f^2 dt
    subject to x'' = (-mp l g s c - l (f + mp l w^2 s)) / d,    th'' = ((mc + mp) g s + c (f + mp l w^2 s)) / d,
               d = mp l c^2 - l (mc + mp),    |f| <= 20,    |x| <= 2,
               (x, th, x', w) = (0, 0, 0, 0) at t = 0,    (1, pi, 0, 0) at t = 2

Cart mc = 1, pole mp = 0.3 of length l = 0.5, g = 9.81; s = sin th, c = cos th, w = th'. At the optimum no bound holds,
f = -(p . f_f) / 2. Other extremals: 58.8076674582, the local minimum that a straight line from start to end leads to,
and 59.1082639088, probably a saddle.
"""

import math

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("terminal constraint", "control bounds", "state bounds")
tolerance = "smooth"
reference = Reference(
    objective=57.9447803067,
    digits=12,
    citation="Kelly, SIAM Review 59 (2017), section 6; the best minimum known, recomputed by shooting and collocation",
    initial_costate=(6.30590297, -35.56180763, 4.341305795, -4.690494425),
    other_minima=(58.8076674582,),
)

CART, POLE, LENGTH, GRAVITY = 1.0, 0.3, 0.5, 9.81


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    sine, cosine = torch.sin(x[1]), torch.cos(x[1])
    force = u[0] + POLE * LENGTH * x[3] ** 2 * sine
    determinant = LENGTH * (POLE * cosine**2 - (CART + POLE))
    cart = -LENGTH * (POLE * GRAVITY * sine * cosine + force) / determinant
    pole = ((CART + POLE) * GRAVITY * sine + cosine * force) / determinant
    return torch.stack([x[2], x[3], cart, pole])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return u[0] ** 2


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[0.0, 0.0, 0.0, 0.0],
        terminal_state=[1.0, math.pi, 0.0, 0.0],
        horizon=(0.0, 2.0),
        control_bounds=(-20.0, 20.0),
        state_bounds=([-2.0, None, None, None], [2.0, None, None, None]),
        name="cartpole_kelly",
    )
