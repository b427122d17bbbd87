"""The reversible net in plain PyTorch, unrolled: the reference of what undoes its steps.

Two copies y and z of the state from y_0 = z_0 = x_0, with the increment Psi_h(t, x) of a step and a coupling l,

    y_{n+1} = l y_n + (1 - l) z_n + Psi_h(t_n, z_n),      z_{n+1} = z_n - Psi_{-h}(t_{n+1}, y_{n+1})

(McCallum and Foster, Efficient, accurate and stable gradients for neural ODEs, 2024), and y at the end.
"""

from __future__ import annotations

from torch import Tensor

from benchmarks.odenet.in_torch import mean_square, one_step
from benchmarks.odenet.task import Task, Weights
from pontryagin.neural.reversible import COUPLING


def unrolled(problem: Task, w: Weights) -> Tensor:
    """The loss with constant weights."""
    h = problem.step_length
    y = z = problem.initial_state
    for n in range(problem.steps):
        y = COUPLING * y + (1 - COUPLING) * z + one_step(n * h, z, w, h) - z
        z = z - (one_step((n + 1) * h, y, w, -h) - y)
    return mean_square(y, problem.target)
