"""The package's sweeps on the device: with a clock on their kernels, and with memory full of NaN for checks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Set

import torch
from torch import Tensor

import pontryagin as pmp
from benchmarks.device.timing import KernelClock
from pontryagin.backend.cuda_driver import CudaDevice
from pontryagin.backend.cuda_mlp import CudaMLP
from pontryagin.backend.cuda_sweep import CudaSweep
from pontryagin.sweep import Arguments, SweepResult
from pontryagin.time_grid import TimeGrid

DEVICE = torch.device("cuda")
KERNEL = "kernel alone"


@contextlib.contextmanager
def poisoned_nets() -> Iterator[None]:
    """What sweeps of nets allocate meanwhile holds NaN until it is written to."""
    empty = CudaMLP._empty
    setattr(CudaMLP, "_empty", lambda self, *shape: empty(self, *shape).fill_(torch.nan))  # noqa: B010
    try:
        yield
    finally:
        setattr(CudaMLP, "_empty", empty)  # noqa: B010


class _Poisoned(CudaSweep):
    """What it allocates holds NaN until it is written to."""

    def _empty(self, *shape: int) -> Tensor:
        return super()._empty(*shape).fill_(torch.nan)


class Kernels:
    """Sweeps of one problem on equal steps, control constant in each."""

    def __init__(self, problem: pmp.Problem, steps: int, dtype: torch.dtype) -> None:
        device = CudaDevice(DEVICE)
        self.clock = KernelClock(device)
        grid = TimeGrid.uniform(steps)
        self._sweeps, self._checked = (
            kind(problem, grid, control_kind="constant", dtype=dtype, device=DEVICE, on=on)
            for kind, on in ((CudaSweep, self.clock), (_Poisoned, device))
        )

    def __call__(self, arguments: Arguments, outputs: Set[str]) -> SweepResult:
        """As methods call it."""
        return self._sweeps.evaluate(arguments, outputs)

    def poisoned(self, arguments: Arguments, outputs: Set[str]) -> SweepResult:
        return self._checked.evaluate(arguments, outputs)

    def seconds(self, arguments: Arguments, outputs: Set[str]) -> float:
        """Of the kernel alone, arrays in its own layout."""
        return self.clock.median(lambda: self(arguments, outputs))

    def tape_rows(self, problems: int) -> float:
        """States written and read again on the way back, for each step and problem: more where there are segments."""
        tape = self._sweeps._tape(problems)
        if "starts" not in tape:
            return 1.0
        return 1.0 + len(tape["starts"]) / self._sweeps._steps
