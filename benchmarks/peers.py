"""The same gradient by other packages, where they are installed: answer and timed call of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from benchmarks.cartpole import CART, GRAVITY, HORIZON, LENGTH, POLE, STEPS, TARGET, WEIGHT, Answer, Batch

Peer = tuple[str, Callable[[], object], Callable[[], Answer]]


def peers(batch: Batch) -> Iterator[Peer]:
    """Name, timed call and answer of every peer that can be imported."""
    for package, make in (("jax", _jax), ("casadi", _casadi)):
        if find_spec(package):
            yield make(batch)


def _dynamics(x: Any, u: Any, sin: Any, cos: Any) -> list[Any]:
    angle, rate = x[1], x[3]
    s, c = sin(angle), cos(angle)
    d = CART + POLE * s * s
    return [
        x[2],
        rate,
        (LENGTH * POLE * s * rate * rate + u + POLE * GRAVITY * c * s) / d,
        -(LENGTH * POLE * c * s * rate * rate + u * c + (CART + POLE) * GRAVITY * s) / (LENGTH * d),
    ]


def _step(f: Callable[[Any, Any], Any], x: Any, u: Any) -> Any:
    h = HORIZON / STEPS
    k1 = f(x, u)
    k2 = f(x + h / 2 * k1, u)
    k3 = f(x + h / 2 * k2, u)
    k4 = f(x + h * k3, u)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def _jax(batch: Batch) -> Peer:
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def objective(control: Any, state: Any) -> Any:
        def step(x: Any, u: Any) -> Any:
            return _step(lambda x, u: jnp.stack(_dynamics(x, u, jnp.sin, jnp.cos)), x, u), HORIZON / STEPS * u**2

        end, costs = jax.lax.scan(step, state, control)
        return costs.sum() + WEIGHT * ((end - jnp.array(TARGET)) ** 2).sum()

    gradient = jax.jit(jax.vmap(jax.value_and_grad(objective)))
    control, state = jnp.array(batch.control.numpy()), jnp.array(batch.initial_state.numpy())

    def answer() -> Answer:
        j, g = gradient(control, state)
        return Answer(torch.tensor(np.asarray(j)), torch.tensor(np.asarray(g)))

    return "JAX, jit of scan and vmap", lambda: jax.block_until_ready(gradient(control, state)), answer


def _casadi(batch: Batch) -> Peer:
    import casadi

    def f(x: Any, u: Any) -> Any:
        return casadi.vertcat(*_dynamics(casadi.vertsplit(x), u, casadi.sin, casadi.cos))

    state, control = casadi.SX.sym("x", 4), casadi.SX.sym("u", STEPS)
    x, j = state, 0
    for n in range(STEPS):
        x = _step(f, x, control[n])
        j += HORIZON / STEPS * control[n] ** 2
    j += WEIGHT * casadi.sumsqr(x - casadi.DM(TARGET))
    size = batch.control.shape[0]
    gradient = casadi.Function("gradient", [state, control], [j, casadi.gradient(j, control)]).map(size)
    # The function reads and writes these arrays itself: no conversion is timed. It holds addresses, so we hold arrays.
    arrays = (batch.initial_state.numpy(), batch.control.numpy(), np.zeros(size), np.zeros((size, STEPS)))
    buffer, trigger = gradient.buffer()
    for index in (0, 1):
        buffer.set_arg(index, arrays[index].data)
        buffer.set_res(index, arrays[2 + index].data)

    def call(_held: object = (gradient, buffer, arrays)) -> None:
        trigger()

    def answer() -> Answer:
        trigger()
        return Answer(torch.from_numpy(arrays[2]), torch.from_numpy(arrays[3]))

    return "CasADi, virtual machine (SX, unrolled)", call, answer
