"""The compiled interpreter on cart-pole gradients: against hand-written code, eager PyTorch and other packages.

One thread, float64, 100 RK4 steps. Answers are asserted first. Ratios are medians over rounds of one run.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from benchmarks import machine, ours, yardstick
from benchmarks.contender import asserted
from benchmarks.ours import SWEEP, VERB
from benchmarks.peers import peers
from benchmarks.report import PER_STEP, Report
from benchmarks.timing import interleaved
from benchmarks.workloads import CARTPOLE
from benchmarks.yardstick import NAME as YARDSTICK

EAGER = "eager PyTorch and autograd"
LIMITS = {1: ("<= 2.6", ">= 1000"), 1024: ("<= 2.7", ">= 60")}


def run() -> Report:
    machine.use_cores(1)
    report = Report("interpreter")
    for size, (limit, eager_limit) in LIMITS.items():
        batch = CARTPOLE.batch(size)
        fast = [
            yardstick.yardstick(batch),
            ours.verb(batch, "interpreter"),
            ours.as_methods_call_it(batch, "interpreter"),
            ours.public(batch, "interpreter"),
            ours.public(batch, "interpreter", outputs=None),
        ]
        slow = list(peers(batch, 1, report.note, only=("eager", "jax", "casadi")))
        errors = {contender.name: asserted(contender, batch) for contender in (*fast, *slow)}
        calls = {contender.name: contender.call for contender in (*fast, *slow)}

        fast_times = interleaved({c.name: c.call for c in fast})
        slow_times = interleaved({name: calls[name] for name in (SWEEP, *(c.name for c in slow))}, rounds=7)
        for contenders, times in ((fast, fast_times), (slow, slow_times)):
            for contender in contenders:
                nanoseconds = times.median(contender.name) / size / batch.steps * 1e9
                report.row(contender.name, nanoseconds, PER_STEP, size, errors[contender.name])
        report.check(f"{VERB} over {YARDSTICK}", fast_times.ratio(VERB, YARDSTICK), limit, size)
        report.check(f"{EAGER} over {SWEEP}", slow_times.ratio(EAGER, SWEEP), eager_limit, size)
        if size == 1:
            overhead = fast_times.difference(SWEEP, VERB) * 1e6
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
