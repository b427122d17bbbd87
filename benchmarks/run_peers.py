"""The gradient of five problems by every package: sizes of batch, types, one and two threads. 100 RK4 steps.

Van der Pol, cart-pole and Lorenz by all packages; a quadrotor and a chain of seven links by eager PyTorch and CasADi.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.picture import draw_peers
from benchmarks.report import Report, Row


def run() -> Report:
    report = Report("peers")
    for threads in (1, 2):
        if threads > (os.cpu_count() or 1):
            report.note(f"{threads} threads: the machine has fewer cores")
            continue
        command = [sys.executable, "-m", "benchmarks.grid", str(threads)]
        printed = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        report.rows += [Row(**row) for row in printed["rows"]]
        for text in printed["notes"]:
            report.note(text)
    return report


def draw(report: Report) -> Path:
    return draw_peers(report)
