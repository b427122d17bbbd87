"""What must hold before a time counts: the tests marked `gpu`, and no access out of bounds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

import torch
from torch import nn

import pontryagin as pmp
from benchmarks import ours
from benchmarks.device import ensemble, gradients, newton
from benchmarks.device.kernels import DEVICE, Kernels
from benchmarks.report import Report
from benchmarks.workloads import CARTPOLE

ROOT = Path(__file__).resolve().parents[2]
GROUP = "tests marked gpu"
SANITIZER = "compute-sanitizer"
FOUND = 9  # exit status of the sanitizer where it found something
SMALL = 65  # problems: one more than a block
NETS = ((2, 64), (32, 128), (160, 160))  # widths of state and hidden layer: the last is more than shared memory holds


def tests(report: Report, quick: bool) -> None:
    """All of them. Raises RuntimeError where one failed, or none passed."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        # Packages of this machine may warn of what is not asked for here.
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            "gpu",
            "-W",
            "default",
            "--continue-on-collection-errors",
            f"--junitxml={results}",
            "tests",
        ]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if not results.exists():
            raise RuntimeError(f"pytest exited with {done.returncode}:\n{done.stdout[-2000:]}")
        counts = counted(results.read_text(encoding="utf-8"), report)
    for name, count in counts.items():
        report.row(name, count, "tests", group=GROUP)
    report.check("tests marked gpu that did not pass", counts["failed"], "<= 0")
    if counts["failed"] or not counts["passed"]:
        raise RuntimeError(f"{counts['failed']} tests failed, {counts['passed']} passed")


def counted(junit: str, report: Report) -> dict[str, int]:
    """Tests by their end, from what pytest writes; each that failed is a note."""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for case in ET.fromstring(junit).iter("testcase"):
        wrong = next((child for child in case if child.tag in ("failure", "error")), None)
        if wrong is not None:
            counts["failed"] += 1
            message = (wrong.get("message") or "").strip().splitlines()[:2]
            report.note(f"{case.get('classname')}::{case.get('name')}: {' '.join(message)}")
        else:
            counts["skipped" if case.find("skipped") is not None else "passed"] += 1
    return counts


def sanitizer(report: Report, quick: bool) -> None:
    """memcheck over `small`; memory is not cached, so that each array has bounds of its own."""
    tool = shutil.which(SANITIZER)
    if tool is None:
        report.note(f"{SANITIZER}: not on the path")
        return
    command = [tool, "--tool=memcheck", f"--error-exitcode={FOUND}", sys.executable, "-m", "benchmarks.device.checks"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode not in (0, FOUND):
        report.note(f"{SANITIZER}: exited with {done.returncode}: {done.stdout.strip()[-500:]}")
        return
    report.check(f"{SANITIZER}, memcheck, exit status", done.returncode, "<= 0")
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:])


def small() -> None:
    """Every kernel of the benchmark once, with all states kept and in segments."""
    for dtype in (torch.float32, torch.float64):
        batch = gradients.drawn(CARTPOLE, SMALL, dtype)
        systems = ensemble.drawn(SMALL, dtype)
        for room in (2**30, 2**16):
            cartpole = Kernels(ours.problem(CARTPOLE), batch.steps, dtype)
            lorenz = Kernels(ensemble.problem(), ensemble.STEPS, dtype)
            cartpole.clock.room = lorenz.clock.room = room
            cartpole(gradients.arguments(batch), gradients.GRADIENT)
            for outputs in ensemble.WAYS.values():
                lorenz(ensemble.arguments(systems), outputs)
        for widths in NETS:
            _small_net(widths, dtype)
    newton.small()
    torch.cuda.synchronize()


def _small_net(widths: tuple[int, int], dtype: torch.dtype) -> None:
    """One gradient step, weights per step, with a running cost."""
    width, hidden = widths
    field = nn.Sequential(nn.Linear(width + 1, hidden), nn.Tanh(), nn.Linear(hidden, width)).to(DEVICE, dtype)
    cost = pmp.PathCost(state=0.1, velocity=0.1)
    net = pmp.ODENet(field, steps=5, weights="per_step", running_cost=cost, backend="fused")
    x = torch.randn(SMALL, width, dtype=dtype, device=DEVICE)
    net.objective(x, torch.zeros_like(x)).backward()
    (net(x) ** 2).sum().backward()


if __name__ == "__main__":
    small()
