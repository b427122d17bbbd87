"""Seconds until the first CUDA kernel of a new process is machine code, by NVRTC; no GPU is asked.

Counted: opening NVRTC, printing the text, compiling it; not the capture of formulas, nor what a cache would save.
Beside it what a thread takes: registers of 32 bits, bytes of stack, bytes of registers that go to memory; and bytes of
machine code.
Kernels of problems are those of J and dJ/du, 100 RK4 steps; those of nets sweep both ways, float32, 4096 samples; that
of Newton's method is of the cart-pole swing-up of the gallery.
"""

from __future__ import annotations

import multiprocessing
import re
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

import pontryagin as pmp
from benchmarks import machine, ours, workloads
from benchmarks.report import Report
from benchmarks.workloads.workload import Workload
from pontryagin.backend.cuda_mlp import CudaMLP
from pontryagin.backend.cuda_newton import text_of
from pontryagin.backend.cuda_sweep import CudaSweep
from pontryagin.backend.newton_functions import NewtonFunctions
from pontryagin.backend.nvrtc import REPORT, Compiled, find_nvrtc
from pontryagin.mlp import MLP
from pontryagin.tableau import RK4
from pontryagin.time_grid import TimeGrid

ARCHITECTURES = (80, 90)
PROBLEMS = (workloads.CARTPOLE, workloads.VAN_DER_POL, workloads.LORENZ, workloads.QUADROTOR, workloads.CHAIN)
NETS = ((2, 64, 2), (32, 128, 32))
SWING_UPS = ("cartpole_kelly",)  # of the gallery, by Newton's method
BATCH, ROUNDS = 4096, 3

#: What is waited for at most, for cart-pole.
LIMIT = "<= 1"

USED = re.compile(
    r"Compiling entry function.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers",
    re.DOTALL,
)


class _Sizes:
    """What texts need to know of a device: that of an H200, or of an A100."""

    memory = torch.device("cpu")
    room = 0

    def __init__(self, architecture: int) -> None:
        self.processors, self.shared_limit = {80: (108, 163 << 10), 90: (132, 227 << 10)}[architecture]


Kernel = Callable[[int], Callable[[], str]]  # architecture -> printer of the text


def run() -> Report:
    machine.use_cores(1)
    report = Report("cuda_compile")
    for name, kernel in kernels().items():
        for architecture in ARCHITECTURES:
            write = kernel(architecture)
            rounds = [_in_new_process(write, architecture) for _ in range(ROUNDS)]
            seconds = statistics.median(spent for spent, _ in rounds)
            compiled = rounds[0][1]
            found = USED.search(compiled.log)
            assert found, compiled.log
            stack, stored, loaded, registers = map(int, found.groups())
            report.record(
                kernel=name,
                sm=architecture,
                seconds=round(seconds, 3),
                registers=registers,
                stack=stack,
                spilled=stored + loaded,
                cubin=len(compiled.cubin),
            )
            if name.startswith(workloads.CARTPOLE.name):
                report.check(f"seconds to the first kernel of {name}, sm_{architecture}", seconds, LIMIT)
    return report


def kernels() -> dict[str, Kernel]:
    found: dict[str, Kernel] = {}
    for workload in PROBLEMS:
        for dtype in (torch.float64, torch.float32):
            found[f"{workload.name}, {str(dtype).removeprefix('torch.')}"] = _of_problem(workload, dtype)
    for widths in NETS:
        found[f"net {'-'.join(map(str, widths))}"] = _of_net(widths)
    for name in SWING_UPS:
        found[f"Newton's method, {name}"] = _of_newton(name)
    return found


def _of_problem(workload: Workload, dtype: torch.dtype) -> Kernel:
    problem, grid = ours.problem(workload), TimeGrid.uniform(100)

    def kernel(architecture: int) -> Callable[[], str]:
        on: Any = _Sizes(architecture)
        return CudaSweep(problem, grid, control_kind="constant", dtype=dtype, device="cpu", on=on).text

    return kernel


def _of_net(widths: tuple[int, ...]) -> Kernel:
    mlp = MLP(widths, ("tanh", "identity"), (True, True), time=True)

    def kernel(architecture: int) -> Callable[[], str]:
        on: Any = _Sizes(architecture)
        sweeps = CudaMLP(mlp, RK4, torch.float32, device=torch.device("cpu"), on=on)
        return lambda: sweeps.text(sweeps.blocks(BATCH))

    return kernel


def _of_newton(name: str) -> Kernel:
    functions = NewtonFunctions.of(pmp.problems.get(name).problem())
    return lambda architecture: lambda: text_of(functions)


def _in_new_process(write: Callable[[], str], architecture: int) -> tuple[float, Compiled]:
    """Forked, so that torch is there and NVRTC is not."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(_first(write, architecture)))
    child.start()
    sender.close()
    found: tuple[float, Compiled] = receiver.recv()  # EOFError where the compiler ended the process
    child.join()
    return found


def _first(write: Callable[[], str], architecture: int) -> tuple[float, Compiled]:
    start = time.perf_counter()
    compiled = find_nvrtc().compile(write(), architecture, REPORT)
    return time.perf_counter() - start, compiled
