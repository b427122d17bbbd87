"""JAX: a batch of cart-poles by iterative LQR, mapped over the batch and compiled.

The end is a penalty w/2 |x(T) - target|^2 with w = WEIGHTS one after the other, each from the controls of the one
before. An iteration linearises all steps, goes backward with H of the cost alone (Gauss-Newton) plus a regularisation
of u, and forward with all LENGTHS at once, of which the best is taken. Where none is better the regularisation grows.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.newton_peers.solver import Solved, Solver
from benchmarks.newton_peers.statement import STEPS, Array, Statement
from benchmarks.peers.jax import JAX

WEIGHTS = (1e2, 1e4, 1e6)
LENGTHS = (1.0, 0.5, 0.2, 0.05)
MOST = 500  # iterations for each weight
ENOUGH = 1e-6  # relative gain of an iteration below which a weight is done
LARGEST = 1e8  # regularisation at which a problem is given up


def ilqr(statement: Statement, initial_state: Array) -> Solver:
    """Initial states (B, n)."""
    run = jax.jit(jax.vmap(lambda start: _solve(statement, start)))
    starts = jnp.array(initial_state)
    compiled = run.lower(starts).compile()

    def solve() -> Solved:
        control, iterations = jax.block_until_ready(compiled(starts))
        return Solved(np.asarray(control), int(iterations.max()))

    name, tolerance = "JAX, vmapped iLQR from zero, constant control", f"end by penalty {WEIGHTS[-1]:.0e}"
    return Solver(name, tolerance, solve, end=1e-4, objective=1e-4)


def _solve(statement: Statement, start: Any) -> tuple[Any, Any]:
    """u (N, m) and the number of iterations."""
    n, m = statement.n, statement.m

    def step(x: Any, u: Any) -> Any:
        return statement.step(JAX, jnp.stack, jnp.append(x, 0.0), u, u)[:n]

    def cost(u: Any) -> Any:  # of one step: nothing in it moves with the state
        return statement.step_length * statement.running_cost([None] * n, [u[i] for i in range(m)])

    def end_cost(x: Any, weight: Any) -> Any:
        return 0.5 * weight * jnp.sum((x - jnp.array(statement.target)) ** 2)

    # Written out: a call of BLAS or LAPACK for each problem and step would take most of the time.
    def times(a: Any, b: Any) -> Any:
        return (a[:, :, None] * b[None]).sum(1)

    def inverse(matrix: Any) -> Any:
        return 1 / matrix if m == 1 else jnp.linalg.inv(matrix)

    def backward(x: Any, u: Any, weight: Any, delta: Any) -> tuple[Any, Any]:
        A, B = jax.vmap(jax.jacfwd(step, (0, 1)))(x[:-1], u)

        def recursion(carry: Any, k: Any) -> Any:
            P, q = carry
            a, b, l_u, l_uu = k
            pushed = times(P, b)
            inverted = inverse(l_uu + times(b.T, pushed) + delta * jnp.eye(m))
            feed = -times(inverted, (l_u + times(b.T, q[:, None])[:, 0])[:, None])[:, 0]
            gain = -times(inverted, times(pushed.T, a))
            q = times(a.T, (q + times(pushed, feed[:, None])[:, 0])[:, None])[:, 0]
            P = times(a.T, times(P, a + times(b, gain)))
            return ((P + P.T) / 2, q), (feed, gain)

        last = jax.hessian(end_cost)(x[-1], weight), jax.grad(end_cost)(x[-1], weight)
        return jax.lax.scan(  # type: ignore[no-any-return]
            recursion, last, (A, B, jax.vmap(jax.grad(cost))(u), jax.vmap(jax.hessian(cost))(u)), reverse=True
        )[1]

    def forward(x: Any, u: Any, feed: Any, gain: Any, length: Any, weight: Any) -> tuple[Any, Any, Any]:
        def follow(z: Any, k: Any) -> Any:
            x_k, u_k, feed_k, gain_k = k
            v = u_k + length * feed_k + (gain_k * (z - x_k)).sum(1)
            after = step(z, v)
            return after, (after, v, cost(v))

        _, (states, controls, costs) = jax.lax.scan(follow, start, (x[:-1], u, feed, gain))
        total = costs.sum() + end_cost(states[-1], weight)
        return jnp.concatenate([start[None], states]), controls, jnp.where(jnp.isnan(total), jnp.inf, total)

    def iterate(state: Any) -> Any:
        x, u, total, delta, weight, count, _ = state
        feed, gain = backward(x, u, weight, delta)
        trials = jax.vmap(lambda length: forward(x, u, feed, gain, length, weight))(jnp.array(LENGTHS))
        best = jnp.argmin(trials[2])
        better = trials[2][best] < total
        gained = (total - trials[2][best]) / jnp.abs(total)
        delta = jnp.where(better, jnp.maximum(delta / 5, 1e-9), delta * 10)
        done = jnp.where(better, gained < ENOUGH, delta > LARGEST)
        new = [jnp.where(better, trial[best], old) for trial, old in zip(trials, (x, u, total), strict=True)]
        return *new, delta, weight, count + 1, done

    x = jnp.tile(start, (STEPS + 1, 1))
    u, iterations = jnp.zeros((STEPS, m)), 0
    zero = jnp.zeros((STEPS, m)), jnp.zeros((STEPS, m, n))
    for weight in WEIGHTS:
        x, u, total = forward(x, u, *zero, 0.0, weight)
        first = (x, u, total, 1e-3, weight, 0, False)
        x, u, *_, count, _ = jax.lax.while_loop(lambda s: ~s[6] & (s[5] < MOST), iterate, first)
        iterations = iterations + count
    return u, iterations
