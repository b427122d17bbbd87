"""JAX: value and gradient of a scan over steps, compiled as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.build import BUILD
from benchmarks.odenet.contender import Contender
from benchmarks.odenet.task import Answer, Task, Weights, rk4

jax.config.update("jax_compilation_cache_dir", str(BUILD / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def field(t: Any, x: Any, w: Weights) -> Any:
    return jnp.tanh(x @ w.W1.T + (w.b1 + t * w.c1)) @ w.W2.T + w.b2


def scanned(problem: Task) -> Contender:
    h = problem.step_length

    def end(x: Any, w: Weights) -> Any:
        def step(z: Any, t: Any) -> Any:
            return rk4(lambda s, v: field(s, v, w), t, z, h), None

        return jax.lax.scan(step, x, jnp.arange(problem.steps, dtype=x.dtype) * h)[0]

    return compiled("JAX, jit of scan", problem, end)


def compiled(name: str, problem: Task, end: Callable[[Any, Weights], Any]) -> Contender:
    """The contender of x(1) = end(x(0), weights)."""

    def loss(w: Weights, x: Any, y: Any) -> Any:
        return jnp.square(end(x, w) - y).sum(-1).mean()

    gradient = jax.jit(jax.value_and_grad(loss))
    arguments = [jnp.array(tensor.numpy()) for tensor in (*problem.weights, problem.initial_state, problem.target)]
    weights, x, y = Weights(*arguments[:-2]), *arguments[-2:]

    def answer() -> Answer:
        value, slopes = gradient(weights, x, y)
        return Answer(float(value), Weights(*(torch.tensor(np.asarray(slope)) for slope in slopes)))

    return Contender(name, lambda: jax.block_until_ready(gradient(weights, x, y)), answer)
