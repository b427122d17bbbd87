"""One part of the benchmark `odenet` on two threads: one JSON object on stdout.

`python -m benchmarks.odenet.measure PART`, with PART one of PARTS. A process of its own, because some packages make
their threads once and for all.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import torch

from benchmarks import machine
from benchmarks.odenet import ours
from benchmarks.odenet.contender import Contender, asserted
from benchmarks.odenet.peers import peers
from benchmarks.odenet.task import Shape, Task, task
from benchmarks.report import Report
from benchmarks.timing import SETTLE, Times, interleaved
from benchmarks.yardstick import multiply_add_peak

THREADS = 2
#: Seconds of calls of one contender in a row: the first few find caches cold and threads asleep.
SLICE = 0.1
SIZES = (256, 4096)
MS = "ms a gradient"

#: How many times faster than the best peer, by the size of the batch.
LIMITS = {Shape(2, 64): (">= 18", ">= 11"), Shape(32, 128): (">= 4", ">= 2.5")}
SHARE_LIMIT = ">= 58"  # percent of the multiply-add peak, for the larger batch

WIDTHS, WIDTHS_SIZE = (16, 32, 64, 128, 256), 1024
WIDTHS_PEERS = ("eager", "compile", "jax")


def against_peers(report: Report, shape: Shape) -> None:
    peak = multiply_add_peak(torch.float32, THREADS)
    group = f"{shape.name}, float32, {THREADS} threads"
    shares = f"{group}: multiply-add peak"
    for size, limit in zip(SIZES, LIMITS[shape], strict=True):
        start = time.perf_counter()
        problem = task(shape, size)
        objective = ours.with_objective(problem)
        mine = [objective, ours.with_autograd(problem)]
        times = _measure(report, problem, mine, group)
        share = problem.operations / times.median(objective.name) / peak * 100
        per_step = task(shape, size, per_step=True)
        _measure(report, per_step, [ours.with_objective(per_step), ours.with_autograd(per_step)], group)
        others = list(peers(problem, report.note))
        times = _measure(report, problem, others, group, beside=objective)
        best = min((other.name for other in others), key=times.median)
        ratio = times.ratio(best, objective.name)
        report.check(f"{shape.name}: {best}, the best peer, over {objective.name}", ratio, limit, size)
        report.row(f"{objective.name}, share of it", share, "%", size, group=shares)
        if size == max(SIZES):
            report.check(f"{shape.name}: {objective.name}, share of the peak, %", share, SHARE_LIMIT, size)
        _told(f"{group}, B={size}", start)
    report.row(f"peak of {THREADS} threads", peak / 1e9, "GFLOP/s", group=shares)


def over_widths(report: Report) -> None:
    """How the lead shrinks as the matrix products grow."""
    group = f"D = H, batch {WIDTHS_SIZE}, float32, {THREADS} threads"
    for width in WIDTHS:
        start = time.perf_counter()
        problem = task(Shape(width, width), WIDTHS_SIZE)
        objective = ours.with_objective(problem)
        contenders = [objective, ours.with_autograd(problem), *peers(problem, report.note, WIDTHS_PEERS)]
        times = _measure(report, problem, contenders, group, width=width)
        best = min((c.name for c in contenders[2:]), key=times.median)
        report.row(
            f"best of the others over {objective.name}",
            times.ratio(best, objective.name),
            "times",
            group=group,
            width=width,
        )
        _told(f"{group}, D={width}", start)


PARTS: dict[str, Callable[[Report], None]] = {
    **{shape.name: partial(against_peers, shape=shape) for shape in LIMITS},
    "widths": over_widths,
}


def _measure(
    report: Report,
    problem: Task,
    contenders: list[Contender],
    group: str,
    beside: Contender | None = None,
    width: int | None = None,
) -> Times:
    """Rows of the contenders; `beside` is timed with them for ratios."""
    errors = {contender.name: asserted(contender, problem) for contender in contenders}
    calls = {contender.name: contender.call for contender in (*contenders, *([beside] if beside else []))}
    times = interleaved(calls, rounds=15, slice_seconds=SLICE, budget_seconds=10, settle_seconds=SETTLE[THREADS])
    size = None if width else problem.size
    for name, error in errors.items():
        report.row(name, times.median(name) * 1e3, MS, size, error, group, width=width)
    return times


def _told(what: str, start: float) -> None:
    print(f"{what}: {time.perf_counter() - start:.0f} s", file=sys.stderr)


def main(part: str) -> None:
    machine.use_cores(THREADS)
    report = Report("odenet")
    PARTS[part](report)
    rows, checks = [asdict(row) for row in report.rows], [asdict(check) for check in report.checks]
    print(json.dumps({"rows": rows, "checks": checks, "notes": report.notes}))


if __name__ == "__main__":
    main(*sys.argv[1:])
