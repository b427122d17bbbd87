"""Seconds until a new process has its first answers, imports not counted. Prints one JSON object; run as a script."""

from __future__ import annotations

import json
import time

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from benchmarks.ours import problem
from benchmarks.workloads import CARTPOLE
from pontryagin import Problem, solve, sweep


def main() -> None:
    torch.set_num_threads(1)
    spent: dict[str, float] = {}

    def lap(name: str, start: float) -> None:
        spent[name] = time.perf_counter() - start

    start = time.perf_counter()
    make_fx(lambda x: torch.sin(x))(torch.zeros(2))
    lap("torch: set up tracing, once in a process", start)

    batch = CARTPOLE.batch(1)
    start = time.perf_counter()
    sweep(
        problem(CARTPOLE),
        batch.control,
        control="constant",
        initial_state=batch.initial_state,
        backend="interpreter",
    )
    lap("first sweep, cart-pole", start)

    start = time.perf_counter()
    solution = solve(
        Problem(
            dynamics=lambda t, x, u: torch.stack([x[1], u[0]]),
            running_cost=lambda t, x, u: 0.5 * u[0] ** 2,
            initial_state=[0.0, 0.0],
            terminal_state=[1.0, 0.0],
            horizon=(0.0, 1.0),
            control_dim=1,
        )
    )
    lap("first solve, double integrator", start)
    assert abs(float(solution.objective) - 6.0) < 1e-5, float(solution.objective)
    print(json.dumps(spent))


if __name__ == "__main__":
    main()
