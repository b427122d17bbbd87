"""Sweeps on a GPU without a compiler: recorded programs, run by kernels that were compiled ahead of time.

The programs are those of the interpreter on the CPU, so that the recursion is the same; one thread runs a problem. What
the way back needs of the way forward lies in memory, for as many problems at a time as there is room.
"""

from __future__ import annotations

import ctypes
from typing import Any, Protocol

import torch
from torch import Tensor

from pontryagin import _core
from pontryagin.backend.cuda_ahead_device import AheadDevice
from pontryagin.backend.cuda_launch import Job, Points, grid_for
from pontryagin.backend.cuda_programs import InterpreterJob, PointProgram, PointsJob, Program, Uploaded
from pontryagin.backend.cuda_sweep import CudaSweep
from pontryagin.codegen.cuda_library import BLOCK


class Device(Protocol):
    """Where kernels run: a GPU, or what stands for one in tests."""

    memory: torch.device
    room: int  # bytes that the records of a sweep may fill

    def kernel(self, name: str) -> Any: ...

    def launch_blocks(
        self, kernel: Any, blocks: int, threads: int, shared: int, argument: ctypes.Structure
    ) -> None: ...


class InterpretedCudaSweep(CudaSweep):
    """The counterpart of `CudaSweep` where NVRTC is missing; also for formulas that are too long for it.

    Raises CaptureError when a function of the problem cannot become a graph, and BackendError where there is no GPU or
    the package was built without kernels.
    """

    def _opened(self, on: Device | None) -> Any:
        self._programs: dict[tuple[bool, bool], Uploaded] = {}
        self._points_program: Uploaded | None = None
        return on or AheadDevice(self.device, "interpreter")

    def _tape(self, batch: int) -> dict[str, Tensor]:
        return {}  # states are in the records

    def _run(self, job: Job, backward: bool, extended: bool) -> None:
        uploaded = self._program(backward, extended)
        records = self._steps + 1 if backward else 2
        slots, batch = uploaded.slots(records), job.problems
        fit = self._on.room // (slots * BLOCK * self.dtype.itemsize)
        blocks = max(1, min(grid_for(batch), fit))
        workspace = self._empty(slots, blocks * BLOCK)
        whole = InterpreterJob(job=job, program=uploaded.program, workspace=workspace.data_ptr(), records=records)
        self._launch("sweep", blocks, whole)

    def _run_points(self, points: Points) -> None:
        if self._points_program is None:
            recorded = _core.device_point_program(self.model.core)
            self._points_program = Uploaded(PointProgram, recorded, self._empty(0))
        uploaded = self._points_program
        blocks = grid_for(points.count)
        workspace = self._empty(uploaded.slots(1), blocks * BLOCK)
        self._launch(
            "points",
            blocks,
            PointsJob(points=points, program=uploaded.program, workspace=workspace.data_ptr()),
        )

    def _program(self, backward: bool, extended: bool) -> Uploaded:
        key = backward, extended
        if key not in self._programs:
            t = self._tableau
            kind = {
                "linear_control": self._linear_control,
                "linear_data": self._linear_data,
                "extended": extended,
                "uniform": self._uniform,
            }
            recorded = _core.device_sweep_program(
                self.model.core, t.a, t.b, t.c, t0=self._t0, backward=backward, **kind
            )
            self._programs[key] = Uploaded(Program, recorded, self._empty(0), with_backward=backward, **kind)
        return self._programs[key]

    def _launch(self, name: str, blocks: int, argument: ctypes.Structure) -> None:
        scalar = "float" if self._single else "double"
        self._on.launch_blocks(self._on.kernel(f"pontryagin_{name}_{scalar}"), blocks, BLOCK, 0, argument)
