"""The compiled interpreter on cart-pole gradients: against hand-written code, eager PyTorch and other packages.

One thread, float64, 100 RK4 steps. Answers are asserted first. Ratios are medians over rounds of one run.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch

import pontryagin as pmp
from benchmarks import machine
from benchmarks.cartpole import HORIZON, STEPS, Answer, Batch, problem
from benchmarks.peers import peers
from benchmarks.report import Report
from benchmarks.timing import interleaved
from benchmarks.yardstick import Yardstick
from pontryagin.backend.compiled import CompiledSweep
from pontryagin.sweep import Arguments
from pontryagin.time_grid import TimeGrid

YARDSTICK, VERB, BACKEND = "hand-written C++", "compiled verb", "backend, as methods call it"
PUBLIC, ALL = "sweep, J and dJ/du", "sweep, all outputs"
EAGER = "eager PyTorch and autograd"
LIMITS = {1: ("<= 2.6", ">= 1000"), 1024: ("<= 2.7", ">= 60")}
TOLERANCE = 1e-11  # of float64 sums in another order, over 100 steps that swing


@dataclass(frozen=True)
class Contender:
    call: Callable[[], object]
    answer: Callable[[], Answer]


def backend(batch: Batch) -> Contender:
    """What a method of optimisation calls."""
    sweeps = CompiledSweep(problem(), TimeGrid.uniform(STEPS), control_kind="constant", scheme="rk4", threads=1)
    size = batch.control.shape[0]
    arguments = Arguments(
        control=batch.control[..., None].contiguous(),
        initial_state=batch.initial_state,
        final_time=torch.full((size,), HORIZON, dtype=torch.float64),
        parameters=torch.empty(size, 0, dtype=torch.float64),
    )
    outputs = frozenset({"objective", "control_derivative"})

    def answer() -> Answer:
        result = sweeps.evaluate(arguments, outputs)
        assert result.objective is not None
        assert result.control_derivative is not None
        return Answer(result.objective, result.control_derivative[..., 0])

    return Contender(lambda: sweeps.evaluate(arguments, outputs), answer)


def verb(batch: Batch) -> Contender:
    """The compiled sweep alone: one foreign call with addresses ready, as the hand-written code is called too."""
    sweeps = CompiledSweep(problem(), TimeGrid.uniform(STEPS), control_kind="constant", scheme="rk4", threads=1)
    size = batch.control.shape[0]
    tau = TimeGrid.uniform(STEPS).nodes.contiguous()
    final_time = torch.full((size,), HORIZON, dtype=torch.float64)
    objective, gradient = torch.empty(size, dtype=torch.float64), torch.empty_like(batch.control)
    used = {0: tau, 1: batch.control, 2: batch.initial_state, 3: final_time, 10: objective, 15: gradient}
    # In the order of _core.Sweeper.run.
    addresses = [used[i].data_ptr() if i in used else 0 for i in range(19)]
    run_core = sweeps._sweeper(backward=True, keep_state=False, extended=False).run

    def call(_held: object = used) -> None:
        run_core(False, STEPS, size, STEPS, 0, 1, addresses)

    def answer() -> Answer:
        call()
        return Answer(objective, gradient)

    return Contender(call, answer)


def public(batch: Batch, outputs: tuple[str, ...] | None) -> Contender:
    p, u = problem(), batch.control[..., None].contiguous()

    def call() -> pmp.Sweep:
        return pmp.sweep(
            p,
            u,
            control="constant",
            initial_state=batch.initial_state,
            backend="interpreter",
            outputs=outputs,
            threads=1,
        )

    def answer() -> Answer:
        swept = call()
        assert swept.objective is not None
        assert swept.control_gradient is not None
        return Answer(swept.objective, swept.control_gradient[..., 0] * (HORIZON / STEPS))

    return Contender(call, answer)


def run() -> Report:
    machine.use_one_core()
    torch.set_num_threads(1)
    report = Report("interpreter")
    for size, (limit, eager_limit) in LIMITS.items():
        batch = Batch.random(size)
        reference = batch.eager()
        yardstick = Yardstick(batch)
        contenders = {
            YARDSTICK: Contender(yardstick, yardstick.answer),
            VERB: verb(batch),
            BACKEND: backend(batch),
            PUBLIC: public(batch, ("objective", "control_gradient")),
            ALL: public(batch, None),
        }
        slow = {EAGER: Contender(batch.eager, batch.eager)}
        slow.update({name: Contender(call, answer) for name, call, answer in peers(batch)})
        errors = {name: c.answer().error(reference) for name, c in {**contenders, **slow}.items()}
        for name, error in errors.items():
            assert error < TOLERANCE, f"{name} is wrong by {error:.1e} at B={size}"

        fast_times = interleaved({name: c.call for name, c in contenders.items()})
        slow_times = interleaved({PUBLIC: contenders[PUBLIC].call, **{n: c.call for n, c in slow.items()}}, rounds=7)
        for name in contenders:
            report.row(
                name, fast_times.median(name) / size / STEPS * 1e9, "ns per problem and step", size, errors[name]
            )
        for name in slow:
            report.row(
                name, slow_times.median(name) / size / STEPS * 1e9, "ns per problem and step", size, errors[name]
            )
        report.check(f"{VERB} over {YARDSTICK}", fast_times.ratio(VERB, YARDSTICK), limit, size)
        report.check(f"{EAGER} over {PUBLIC}", slow_times.ratio(EAGER, PUBLIC), eager_limit, size)
        if size == 1:
            overhead = fast_times.difference(PUBLIC, VERB) * 1e6
            report.check("public call over the verb, microseconds", overhead, "<= 60", size)
    _first_answers(report)
    return report


def _first_answers(report: Report, processes: int = 3) -> None:
    """Seconds to the first answers of new processes; the median of several."""
    command = [sys.executable, "-m", "benchmarks.first_solve"]
    runs = [
        json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(processes)
    ]
    for name in runs[0]:
        seconds = statistics.median(r[name] for r in runs)
        report.row(name, seconds, "s")
        if name.startswith("first solve"):
            report.check(f"{name}, seconds", seconds, "<= 0.5")
