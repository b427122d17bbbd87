"""JAX: the gradient of a scan over steps, mapped over the batch and compiled. One core is one thread for XLA."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.build import BUILD
from benchmarks.contender import Contender
from benchmarks.workloads.workload import Answer, Batch, Namespace, rk4

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_compilation_cache_dir", str(BUILD / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _solve(rows: Any, right: Any) -> Any:
    return jnp.linalg.solve(jnp.array(rows), jnp.array(right))


JAX = Namespace(jnp.sin, jnp.cos, _solve)


def scanned(batch: Batch, threads: int) -> Contender:
    workload, h = batch.workload, batch.step_length

    def objective(control: Any, state: Any) -> Any:
        def step(y: Any, u: Any) -> Any:
            return rk4(lambda z: jnp.stack(workload.rates(JAX, z, u)), y, h), None

        end, _ = jax.lax.scan(step, jnp.append(state, jnp.zeros((), state.dtype)), control)
        return workload.objective(end)

    return compiled("JAX, jit of scan and vmap", batch, objective)


def compiled(name: str, batch: Batch, objective: Any) -> Contender:
    """The contender of J(control (N, m), state (n,))."""
    gradient = jax.jit(jax.vmap(jax.value_and_grad(objective)))
    control, state = jnp.array(batch.control.numpy()), jnp.array(batch.initial_state.numpy())

    def answer() -> Answer:
        j, g = gradient(control, state)
        return Answer(torch.tensor(np.asarray(j)), torch.tensor(np.asarray(g)))

    return Contender(name, lambda: jax.block_until_ready(gradient(control, state)), answer)
