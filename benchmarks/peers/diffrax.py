"""diffrax with constant steps of RK4, differentiated through the steps with all of them kept.

Time is counted in steps. The control of a step is handed to its stages as the increment that diffrax makes of a
driving signal, so that all stages see the control of their own step.
"""

from __future__ import annotations

from typing import Any

import diffrax
import jax.numpy as jnp

from benchmarks.contender import Contender
from benchmarks.peers.diffrax_rk4 import RK4
from benchmarks.peers.jax import JAX, compiled
from benchmarks.workloads.workload import Batch, Workload


class _Held(diffrax.AbstractTerm):  # type: ignore[misc]
    """y' = h (f, L)(y, u_k) in step k."""

    control: Any  # (N, m)
    workload: Workload
    h: float

    def vf(self, t: Any, y: Any, args: Any) -> Any:
        return y

    def contr(self, t0: Any, t1: Any, **kwargs: Any) -> Any:
        return (t1 - t0).astype(self.control.dtype), self.control[jnp.int32(t0)]

    def prod(self, vf: Any, control: Any) -> Any:
        length, u = control
        return length * self.h * jnp.stack(self.workload.rates(JAX, vf, u))


def constant_steps(batch: Batch, threads: int) -> Contender:
    workload, h, steps = batch.workload, batch.step_length, batch.steps

    def objective(control: Any, state: Any) -> Any:
        end = diffrax.diffeqsolve(
            _Held(control, workload, h),
            RK4(),
            t0=0.0,
            t1=float(steps),
            dt0=1.0,
            y0=jnp.append(state, jnp.zeros((), state.dtype)),
            adjoint=diffrax.RecursiveCheckpointAdjoint(checkpoints=steps),
            max_steps=steps,
        ).ys[0]
        return workload.objective(end)

    return compiled("diffrax, constant steps of RK4", batch, objective)
