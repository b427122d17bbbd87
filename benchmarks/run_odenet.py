"""Gradients of small ODE-Nets against every package: float32, two threads, 20 RK4 steps.

Ratios are to the best of the other packages; the share of the peak counts operations as `Shape.operations` says.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.odenet.measure import PARTS
from benchmarks.picture import draw_odenet
from benchmarks.report import Check, Report, Row


def run() -> Report:
    report = Report("odenet")
    for part in PARTS:
        command = [sys.executable, "-m", "benchmarks.odenet.measure", part]
        printed = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        report.rows += [Row(**row) for row in printed["rows"]]
        report.checks += [Check(**check) for check in printed["checks"]]
        for text in printed["notes"]:
            report.note(text)
    return report


def draw(report: Report) -> Path:
    return draw_odenet(report)
