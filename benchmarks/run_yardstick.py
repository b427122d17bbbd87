"""The mark itself: the hand-written cart-pole gradient, for all sizes and both types, and the processor's peak."""

from __future__ import annotations

import torch

from benchmarks import machine
from benchmarks.contender import asserted
from benchmarks.report import PER_STEP, Report
from benchmarks.timing import interleaved
from benchmarks.workloads import CARTPOLE
from benchmarks.workloads.workload import STEPS
from benchmarks.yardstick import multiply_add_peak, operations_per_step, yardstick

SIZES = (1, 64, 1024, 16384)


def run() -> Report:
    machine.use_cores(1)
    report = Report("yardstick")
    for dtype in (torch.float64, torch.float32):
        name = str(dtype).removeprefix("torch.")
        batches = {size: CARTPOLE.batch(size, dtype) for size in SIZES}
        contenders = {size: yardstick(batch) for size, batch in batches.items()}
        errors = {size: asserted(contenders[size], batch) for size, batch in batches.items()}
        times = interleaved({str(size): contender.call for size, contender in contenders.items()})
        for size in SIZES:
            nanoseconds = times.median(str(size)) / size / STEPS * 1e9
            report.row(f"hand-written, {name}", nanoseconds, PER_STEP, size, errors[size])
        report.row(f"multiply-add peak, {name}", multiply_add_peak(dtype) / 1e9, "GFLOP/s")
    report.row("operations of the hand-written gradient", operations_per_step(), "per problem and step")
    return report
