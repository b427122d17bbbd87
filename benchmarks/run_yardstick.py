"""The mark itself: the hand-written cart-pole gradient, for all sizes and both types, and the processor's peak."""

from __future__ import annotations

import torch

from benchmarks import machine
from benchmarks.cartpole import STEPS, Batch
from benchmarks.report import Report
from benchmarks.timing import interleaved
from benchmarks.yardstick import Yardstick, multiply_add_peak

#: Rounding of N steps grows with the sensitivity of the swing; float32 has some seven digits to start with.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-4}


def run() -> Report:
    machine.use_one_core()
    torch.set_num_threads(1)
    report = Report("yardstick")
    for dtype, tolerance in TOLERANCE.items():
        name = str(dtype).removeprefix("torch.")
        error = Yardstick(Batch.random(67, dtype)).answer().error(Batch.random(67).eager())  # packs and single problems
        assert error < tolerance, f"the yardstick is wrong by {error:.1e} in {name}"
        sizes = (1, 64, 1024, 16384)
        times = interleaved({str(size): Yardstick(Batch.random(size, dtype)) for size in sizes})
        for size in sizes:
            nanoseconds = times.median(str(size)) / size / STEPS * 1e9
            report.row(f"hand-written, {name}", nanoseconds, "ns per problem and step", size, error)
        report.row(f"multiply-add peak, {name}", multiply_add_peak(dtype) / 1e9, "GFLOP/s")
    return report
