"""Generated C++ on cart-pole gradients: against hand-written code and every other package; cost against B and N.

Float64 and one thread unless said, 100 RK4 steps. Answers are asserted first; ratios are medians over rounds.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch

from benchmarks import machine, ours, workloads
from benchmarks.contender import Contender, asserted
from benchmarks.ours import SWEEP, VERB
from benchmarks.peers import peers
from benchmarks.picture import draw_native
from benchmarks.report import PER_STEP, Report
from benchmarks.timing import SETTLE, Times, interleaved
from benchmarks.workloads import CARTPOLE
from benchmarks.workloads.workload import STEPS, Batch
from benchmarks.yardstick import NAME as YARDSTICK
from benchmarks.yardstick import multiply_add_peak, operations_per_step, yardstick

BACKEND = "native"
SIZES = (1, 1024)
PEAK_LIMIT = ">= 45"

#: Peer, what of ours it is compared with, and how many times faster we have to be for B = 1 and 1024.
LIMITS = {
    "casadi unrolled": ((VERB,), (">= 0.9", ">= 9")),
    "casadi looped": ((VERB,), (">= 2.2", ">= 25")),
    "jax": ((SWEEP, VERB), (">= 45", ">= 85")),
    "compile": ((SWEEP, VERB), (">= 1000", ">= 80")),
    "eager": ((SWEEP, VERB), (">= 10000", ">= 165")),
}
YARDSTICK_LIMITS = ("<= 1.10", "<= 1.12")
COMPILE_LIMITS = {"CARTPOLE": "<= 2", "CHAIN": "<= 15"}  # names in benchmarks.workloads
LOAD_LIMIT = "<= 20"

BATCHES = tuple(2**k for k in range(15))  # at N = 100
LENGTHS = tuple(25 * 2**k for k in range(8))  # at B = 64


def run() -> Report:
    report = Report("native")
    for index, size in enumerate(SIZES):
        _one_thread(report, index, size)
    for index, size in enumerate(SIZES):
        _torch_compile(report, index, size)
    _growth(report)
    _builds(report)
    return report


def draw(report: Report) -> Path:
    return draw_native(report)


def _one_thread(report: Report, index: int, size: int) -> None:
    machine.use_cores(1)
    batch = CARTPOLE.batch(size)
    group, mine = "cart-pole, float64, 1 thread", _mine(batch, threads=1)
    times = _measure(report, batch, [yardstick(batch), *mine], group)
    report.check(f"{VERB} over {YARDSTICK}", times.ratio(VERB, YARDSTICK), YARDSTICK_LIMITS[index], size)

    operations, peak = operations_per_step(), multiply_add_peak(torch.float64)
    for name in (YARDSTICK, VERB):
        share = operations * size * STEPS / times.median(name) / peak * 100
        report.row(f"{name}, share of the multiply-add peak", share, "%", size, group="multiply-add peak")
        if name == VERB and size > 1:
            report.check(f"{name}, share of the multiply-add peak, %", share, PEAK_LIMIT, size)
    if index == 0:
        report.row("operations of the hand-written code", operations, "per problem and step", group="multiply-add peak")
        report.row("multiply-add peak, float64", peak / 1e9, "GFLOP/s", group="multiply-add peak")

    for name in ("casadi unrolled", "casadi looped", "jax", "eager"):
        _against(report, index, batch, name, mine, group, threads=1)


def _torch_compile(report: Report, index: int, size: int) -> None:
    machine.use_cores(2)
    group, batch = "cart-pole, float32, 2 threads", CARTPOLE.batch(size, torch.float32)
    mine = _mine(batch, threads=2)
    _measure(report, batch, mine, group, threads=2)
    _against(report, index, batch, "compile", mine, group, threads=2)


def _mine(batch: Batch, threads: int) -> list[Contender]:
    return [make(batch, BACKEND, threads) for make in (ours.verb, ours.as_methods_call_it, ours.public)]


def _against(
    report: Report, index: int, batch: Batch, name: str, mine: list[Contender], group: str, threads: int
) -> None:
    """One peer beside those of ours that it is compared with."""
    compared, limits = LIMITS[name]
    for peer in peers(batch, threads, report.note, only=(name,)):
        error = asserted(peer, batch)
        calls = {contender.name: contender.call for contender in (peer, *mine)}
        # also on one core: threads of a peer's own, JAX's for one, go on spinning for a while
        times = interleaved(calls, rounds=7, budget_seconds=10, settle_seconds=SETTLE[2])
        nanoseconds = times.median(peer.name) / batch.size / batch.steps * 1e9
        report.row(peer.name, nanoseconds, PER_STEP, batch.size, error, group)
        for other in compared:
            report.check(f"{peer.name} over {other}", times.ratio(peer.name, other), limits[index], batch.size)


def _measure(report: Report, batch: Batch, contenders: list[Contender], group: str, threads: int = 1) -> Times:
    errors = {contender.name: asserted(contender, batch) for contender in contenders}
    times = interleaved({c.name: c.call for c in contenders}, settle_seconds=SETTLE[threads])
    for name, error in errors.items():
        report.row(name, times.median(name) / batch.size / batch.steps * 1e9, PER_STEP, batch.size, error, group)
    return times


def _growth(report: Report) -> None:
    """Microseconds of one call of the verb against the size of the batch and the number of steps."""
    machine.use_cores(1)
    for group, batches in (
        ("cost against the batch, 100 steps", [CARTPOLE.batch(size) for size in BATCHES]),
        ("cost against the steps, 64 problems", [CARTPOLE.batch(64, steps=steps) for steps in LENGTHS]),
    ):
        contenders = [ours.verb(batch, BACKEND) for batch in batches]
        errors = [asserted(contender, batch) for contender, batch in zip(contenders, batches, strict=True)]
        times = interleaved({str(i): contender.call for i, contender in enumerate(contenders)}, rounds=7)
        spent = [times.median(str(i)) for i in range(len(batches))]
        for batch, seconds, error in zip(batches, spent, errors, strict=True):
            report.row(VERB, seconds * 1e6, "us a call", batch.size, error, group, batch.steps)
        work = [math.log(batch.size * batch.steps) for batch in batches if batch.size >= 64]
        cost = [math.log(seconds) for batch, seconds in zip(batches, spent, strict=True) if batch.size >= 64]
        report.row("slope of its logarithms, from B=64 on", _slope(work, cost), "", group=group)


def _slope(x: list[float], y: list[float]) -> float:
    """Of the line through the points, by least squares."""
    x0, y0 = sum(x) / len(x), sum(y) / len(y)
    return sum((a - x0) * (b - y0) for a, b in zip(x, y, strict=True)) / sum((a - x0) ** 2 for a in x)


def _builds(report: Report) -> None:
    group = "seconds to build"
    for workload, limit in COMPILE_LIMITS.items():
        seconds = ours.native_build_seconds(workload, BACKEND)
        if seconds is None:
            report.note("builds of generated C++: there is no native tier")
            continue
        compiling, loading = seconds
        name = getattr(workloads, workload).name
        report.row(f"{name}, compile", compiling, "s", group=group)
        report.row(f"{name}, load from the cache", loading, "s", group=group)
        report.check(f"{name}, compile, seconds", compiling, limit)
        report.check(f"{name}, load from the cache, milliseconds", loading * 1e3, LOAD_LIMIT)
    try:
        from benchmarks.peers.casadi import seconds_to_compile
    except ImportError:
        return
    for form, spent in seconds_to_compile(CARTPOLE.batch(1)).items():
        report.row(f"{CARTPOLE.name}, CasADi, generated C, {form}", spent, "s", group=group)
