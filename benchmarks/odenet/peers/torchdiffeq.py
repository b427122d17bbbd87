"""torchdiffeq with fixed steps, by autograd: its rk4 is Kutta's 3/8 rule."""

from __future__ import annotations

import torch
import torchdiffeq
from torch import Tensor

from benchmarks.odenet.contender import Contender
from benchmarks.odenet.in_torch import by_autograd, field, mean_square
from benchmarks.odenet.task import Task, Weights


def three_eighths(problem: Task) -> Contender:
    time, options = torch.tensor([0.0, 1.0]), {"step_size": problem.step_length}

    def loss(w: Weights) -> Tensor:
        state = problem.initial_state
        path = torchdiffeq.odeint(lambda t, x: field(t, x, w), state, time, method="rk4", options=options)
        return mean_square(path[-1], problem.target)

    call = by_autograd(problem, loss)
    return Contender("torchdiffeq, rk4 (3/8 rule)", call, call, "3/8 rule")
