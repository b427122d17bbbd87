"""diffrax with constant steps of the classic RK4, given by its tableau, differentiated with all steps kept."""

from __future__ import annotations

from typing import Any

import diffrax
import numpy as np

from benchmarks.odenet.contender import Contender
from benchmarks.odenet.peers.jax import compiled, field
from benchmarks.odenet.task import Task, Weights
from benchmarks.peers.diffrax_rk4 import RK4


def constant_steps(problem: Task) -> Contender:
    def end(x: Any, w: Weights) -> Any:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            RK4(),
            *np.array([0.0, 1.0, problem.step_length], np.float32),
            y0=x,
            args=w,
            adjoint=diffrax.RecursiveCheckpointAdjoint(checkpoints=problem.steps),
            max_steps=problem.steps,
        ).ys[0]

    return compiled("diffrax, constant steps of RK4", problem, end)
