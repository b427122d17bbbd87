"""Soft landing on the moon with the least fuel.

    minimise   J = int_0^t1 T dt
    subject to h' = v,    v' = -1 + T / m,    m' = -T / 2.349,    0 <= T <= 1.227,
               (h, v, m) = (1, -0.783, 1) at t = 0,    h = v = 0 and m free at t1

Height, velocity and mass in units of gravity; the control T is the thrust. Optimal: free fall until 0.23925911, full
thrust until t1 = 1.39680809.
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "terminal constraint", "free time")
tolerance = "nonsmooth"
reference = Reference(
    objective=1.42031259905,
    digits=12,
    citation="Meditch, IEEE Trans. Automatic Control 9 (1964); value from the closed form of both arcs",
    initial_costate=(0.2675928634, -0.2095252121, 1.70643283),
    switching_times=(0.2392591086264,),
    final_time=1.3968080891066,
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([x[1], -1.0 + u[0] / x[2], -u[0] / 2.349])


def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return u[0]


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[1.0, -0.783, 1.0],
        terminal_state=[0.0, 0.0, None],
        free_final_time=(1.5, 0.1, 10.0),
        control_bounds=(0.0, 1.227),
        name="moon_lander",
    )


def guess(problem: Problem) -> list[float]:
    """Thrust that holds the weight."""
    return [1.0]
