"""The gradient of every workload by every package, for sizes and types, on so many threads: one JSON object on stdout.

`python -m benchmarks.grid THREADS`. A process of its own for each number of threads, because some packages make their
threads once and for all.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict

import torch

from benchmarks import machine, ours
from benchmarks.contender import Contender, asserted
from benchmarks.ours import SWEEP
from benchmarks.peers import PEERS, peers
from benchmarks.report import PER_STEP, Report
from benchmarks.run_native import BACKEND
from benchmarks.timing import SETTLE, interleaved
from benchmarks.workloads import CARTPOLE, CHAIN, LORENZ, QUADROTOR, VAN_DER_POL
from benchmarks.workloads.workload import Batch, Workload
from benchmarks.yardstick import yardstick

SMALL, SMALL_SIZES = (CARTPOLE, VAN_DER_POL, LORENZ), (1, 64, 1024, 16384)
LARGE, LARGE_SIZES = (QUADROTOR, CHAIN), (1, 64, 1024)

#: Peers that compile for seconds in every cell, or take seconds a call, run in float64 on one thread, float32 on two.
PATIENT = ("compile", "torchdiffeq", "torchdiffeq adjoint", "diffrax")
BOTH_TYPES = tuple(name for name in PEERS if name not in (*PATIENT, "casadi unrolled"))
LARGE_PEERS = ("eager", "casadi", "casadi looped")
#: The adjoint takes a gradient in all controls at every stage, which for a larger batch takes seconds a call.
LARGEST = {"torchdiffeq adjoint": 1024}
ROUNDS, BUDGET = 7, 0.5


def measure(threads: int) -> Report:
    machine.use_cores(threads)
    report = Report("grid")
    usual = torch.float64 if threads == 1 else torch.float32
    report.note(f"{', '.join(PATIENT)}: float64 on two threads, float32 on one; they would take most of the time")
    for name, size in LARGEST.items():
        report.note(f"{name}: more than {size} problems, which take seconds a call")
    report.note("casadi unrolled: half a minute of gcc for each problem and type; see the benchmark `native`")
    for workload in SMALL:
        for dtype in (torch.float64, torch.float32):
            names = (*BOTH_TYPES, *PATIENT) if dtype == usual else BOTH_TYPES
            _cells(report, workload, dtype, threads, SMALL_SIZES, names)
    if threads == 1:
        for workload in LARGE:
            _cells(report, workload, torch.float64, threads, LARGE_SIZES, LARGE_PEERS)
    return report


def _cells(
    report: Report, workload: Workload, dtype: torch.dtype, threads: int, sizes: tuple[int, ...], names: tuple[str, ...]
) -> None:
    kind = str(dtype).removeprefix("torch.")
    group = f"{workload.name}, {kind}, {threads} thread{'s' if threads > 1 else ''}"
    for size in sizes:
        start = time.perf_counter()
        batch = workload.batch(size, dtype)
        sweep = ours.public(batch, BACKEND, threads)
        mine = [ours.verb(batch, BACKEND, threads), sweep]
        if workload is CARTPOLE:
            mine.append(yardstick(batch, threads))
        _measure(report, batch, mine, group, threads)
        asked = [name for name in names if size <= LARGEST.get(name, size)]
        for peer in peers(batch, threads, report.note, only=asked):
            _measure(report, batch, [peer], group, threads, beside=sweep)
        print(f"{group}, B={size}: {time.perf_counter() - start:.0f} s", file=sys.stderr)


def _measure(
    report: Report,
    batch: Batch,
    contenders: list[Contender],
    group: str,
    threads: int,
    beside: Contender | None = None,
) -> None:
    errors = {contender.name: asserted(contender, batch) for contender in contenders}
    calls = {contender.name: contender.call for contender in (*contenders, *([beside] if beside else []))}
    times = interleaved(calls, rounds=ROUNDS, budget_seconds=BUDGET, settle_seconds=SETTLE[threads])
    for name, error in errors.items():
        report.row(name, times.median(name) / batch.size / batch.steps * 1e9, PER_STEP, batch.size, error, group)
        if beside:
            ratio = times.ratio(name, beside.name)
            report.row(f"{name} over {SWEEP}", ratio, "times", batch.size, group=f"{group}: ratios")


if __name__ == "__main__":
    measured = measure(int(sys.argv[1]))
    print(json.dumps({"rows": [asdict(row) for row in measured.rows], "notes": measured.notes}))
