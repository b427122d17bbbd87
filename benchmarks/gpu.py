"""The CUDA kernels on one GPU: correct first, then timed against every way of PyTorch, JAX, diffrax and the ceilings.

    python -m benchmarks.gpu [--quick] [--budget SECONDS]

All tests marked `gpu`, then sweeps of cart-pole problems and of an ensemble of Lorenz systems, cart-pole swing-ups by
Newton's method, ODE-Net steps by PyTorch, and compute-sanitizer where it is on the path. Answers are checked against
float64 on the CPU, in memory that held NaN. Each section is a process; one that fails leaves a note in the results,
which are benchmarks/results/gpu-DEVICE.json and a table on standard output. Exit status 0, 1 where a section failed, 2
where there is no GPU. The time of JAX and diffrax is the host's until they are done, that of all others lies between
events.

On a machine with a GPU, a CUDA build of torch and no network, this repository is all that has to be brought, if a C++
compiler, CMake, ninja, scikit-build-core and pybind11 are there for the build, and networkx, numpy, rich,
cuda-pathfinder, hypothesis, pytest, scipy, mpmath, matplotlib and scikit-learn for benchmark and tests:

    python3 -m pip install --no-build-isolation --no-deps -e . && python3 -m benchmarks.gpu

Where nothing can be installed, the extension is built beside the Python files:

    cmake --preset dev -DPython_EXECUTABLE="$(command -v python3)" && cmake --build --preset dev
    python3 -m benchmarks.gpu
"""

from __future__ import annotations

import argparse
import re
import sys

import torch

from benchmarks.device.measure import SECTIONS, command
from benchmarks.device.sections import run_all
from benchmarks.report import Report

BUDGET = 540.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="Sweeps on one GPU, checked, timed.")
    parser.add_argument("--quick", action="store_true", help="fewer sizes; nothing that compiles for long")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds for all of it (default %(default)g)")
    asked = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        why = "torch was built without CUDA" if torch.version.cuda is None else "torch finds no NVIDIA GPU"
        print(f"{why}: this benchmark measures a GPU and runs nowhere else", file=sys.stderr)
        return 2
    report = Report(results_name(torch.cuda.get_device_name(), asked.quick))
    failed = run_all(tuple(SECTIONS), report, asked.budget, command(asked.quick))
    report.show()
    print(f"\nwritten to benchmarks/results/{report.save().name}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def results_name(device: str, quick: bool) -> str:
    """Of the file: letters, digits and dashes."""
    plain = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-") or "unknown"
    return f"gpu-{plain}{'-quick' if quick else ''}"


if __name__ == "__main__":
    sys.exit(main())
