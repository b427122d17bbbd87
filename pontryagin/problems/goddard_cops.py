"""Goddard's rocket with drag climbs as high as possible.

    maximise   h(t1)
    subject to h' = v,    v' = (T - D) / m - 1 / h^2,    m' = -2 T,    D = 310 v^2 exp(500 (1 - h)),    0 <= T <= 3.5,
               (h, v, m) = (1, 0, 1) at t = 0,    m = 0.6 at t1

The control T is the thrust. Optimal: full thrust until 0.02350968, then the singular thrust that keeps
(1 + 2 v) D = m / h^2, then none from 0.07267074 to t1 = 0.19885626.
"""

import torch
from torch import Tensor

from pontryagin.problem import Problem
from pontryagin.problems._registry import Reference

tags = ("control bounds", "terminal constraint", "free time", "singular")
tolerance = "nonsmooth"
reference = Reference(
    objective=1.01283691832,
    digits=12,
    citation="Goddard (1919), COPS rocket; value recomputed by integration of the three arcs",
    switching_times=(0.023509684041465, 0.072670743441435),
    final_time=0.198856262105,
)


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    drag = 310.0 * x[1] ** 2 * torch.exp(500.0 * (1.0 - x[0]))
    return torch.stack([x[1], (u[0] - drag) / x[2] - 1.0 / x[0] ** 2, -2.0 * u[0]])


def terminal_cost(t: Tensor, x: Tensor) -> Tensor:
    return x[0]


def problem() -> Problem:
    return Problem(
        dynamics=dynamics,
        terminal_cost=terminal_cost,
        maximize=True,
        initial_state=[1.0, 0.0, 1.0],
        terminal_state=[None, None, 0.6],
        free_final_time=(0.2, 0.01, 2.0),
        control_bounds=(0.0, 3.5),
        name="goddard_cops",
    )
