"""The package's own contenders: the compiled verb, the backend as methods call it, and the public call."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Collection

import torch
from torch import Tensor

import pontryagin as pmp
from benchmarks.contender import Contender
from benchmarks.workloads.workload import Answer, Batch, Namespace, Workload, by_elimination
from pontryagin.backend.compiled import CompiledSweep
from pontryagin.backend.select import make_backend
from pontryagin.sweep import Arguments
from pontryagin.time_grid import TimeGrid

VERB, BACKEND, SWEEP = "compiled verb", "backend, as methods call it", "sweep, J and dJ/du"
SWEEP_ALL = "sweep, all outputs"
GRADIENT = ("objective", "control_gradient")


#: torch.linalg.solve becomes formulas up to 4 x 4; larger systems are written out.
PLAIN = Namespace(torch.sin, torch.cos, by_elimination)


def problem(workload: Workload) -> pmp.Problem:
    """The workload as a user writes it: one sample, no batch."""

    def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
        return torch.stack(workload.dynamics(PLAIN, x.unbind(), u.unbind()))

    return pmp.Problem(
        name=workload.name,
        dynamics=dynamics,
        running_cost=lambda t, x, u: workload.running_cost(x.unbind(), u.unbind()),
        terminal_cost=lambda t, x: workload.terminal_cost(x.unbind()),
        initial_state=list(workload.initial_state),
        horizon=(0.0, workload.horizon),
        control_dim=workload.m,
    )


def native_build_seconds(name: str, backend: str) -> tuple[float, float] | None:
    """Seconds to compile the sweep of `workloads.NAME`, and to load it from the cache; None of what is not compiled.

    In new processes, with a cache of their own; capturing the formulas is not counted.
    """
    if backend != "native":
        return None
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PONTRYAGIN_CACHE_DIR": cache}
        command = [sys.executable, "-m", "benchmarks.first_build", name, backend]

        def spent() -> float:
            return float(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)

        compiling = spent()
        return compiling, statistics.median(spent() for _ in range(3))


def verb(batch: Batch, backend: str, threads: int = 1) -> Contender:
    """The compiled sweep alone: one foreign call with addresses ready, as the hand-written code is called too."""
    sweeps = backend_of(batch, backend, threads)
    tau = TimeGrid.uniform(batch.steps).nodes.contiguous()
    final_time = torch.full((batch.size,), batch.workload.horizon, dtype=batch.dtype)
    objective, gradient = torch.empty(batch.size, dtype=batch.dtype), torch.empty_like(batch.control)
    used = {0: tau, 1: batch.control, 2: batch.initial_state, 3: final_time, 10: objective, 15: gradient}
    # In the order of _core.Sweeper.run.
    addresses = [used[i].data_ptr() if i in used else 0 for i in range(19)]
    run = sweeps._sweeper(backward=True, keep_state=False, extended=False).run
    assert sweeps.name == backend, f"{sweeps.name} sweeps in place of {backend}"
    single, steps, size, stride = batch.dtype == torch.float32, batch.steps, batch.size, batch.control[0].numel()

    def call(_held: object = used) -> None:
        run(single, steps, size, stride, 0, threads, addresses)

    def answer() -> Answer:
        call()
        return Answer(objective, gradient)

    return Contender(VERB, call, answer)


def as_methods_call_it(batch: Batch, backend: str, threads: int = 1) -> Contender:
    sweeps = backend_of(batch, backend, threads)
    arguments = Arguments(
        control=batch.control,
        initial_state=batch.initial_state,
        final_time=torch.full((batch.size,), batch.workload.horizon, dtype=batch.dtype),
        parameters=torch.empty(batch.size, 0, dtype=batch.dtype),
    )
    outputs = frozenset({"objective", "control_derivative"})

    def answer() -> Answer:
        result = sweeps.evaluate(arguments, outputs)
        assert result.objective is not None
        assert result.control_derivative is not None
        return Answer(result.objective, result.control_derivative)

    return Contender(BACKEND, lambda: sweeps.evaluate(arguments, outputs), answer)


def public(batch: Batch, backend: str, threads: int = 1, outputs: Collection[str] | None = GRADIENT) -> Contender:
    p, u, x0 = problem(batch.workload), batch.control, batch.initial_state

    def call() -> pmp.Sweep:
        return pmp.sweep(
            p, u, control="constant", initial_state=x0, backend=backend, outputs=outputs, threads=threads
        )  # fmt: skip

    def answer() -> Answer:
        swept = call()
        assert swept.objective is not None
        assert swept.control_gradient is not None
        return Answer(swept.objective, swept.control_gradient * batch.step_length)

    return Contender(SWEEP_ALL if outputs is None else SWEEP, call, answer)


def backend_of(batch: Batch, backend: str, threads: int) -> CompiledSweep:
    made = make_backend(
        problem(batch.workload),
        TimeGrid.uniform(batch.steps),
        control_kind="constant",
        backend=backend,
        dtype=batch.dtype,
        threads=threads,
    )
    assert isinstance(made, CompiledSweep)
    return made
