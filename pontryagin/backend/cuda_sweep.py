"""Sweeps by kernels on a GPU: the formulas of a problem as CUDA text, compiled once by NVRTC, one thread a problem.

Kernels want neighbouring problems beside each other, [node][component][problem]; torch turns arguments and results
around, on the device. Nothing waits for the device here, and nothing is copied from it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Set
from typing import Any, Protocol

import torch
from torch import Tensor

from pontryagin.backend.compiled import CompiledSweep, direction
from pontryagin.backend.cuda_driver import CudaDevice
from pontryagin.backend.cuda_launch import Job, Points, segment_for
from pontryagin.backend.native import LARGEST, formulas_of, key_of, operations
from pontryagin.codegen.cuda_library import cuda_points_text, cuda_sweep_text
from pontryagin.codegen.library import SweepRequest
from pontryagin.codegen.model import LARGEST_INLINE
from pontryagin.errors import BackendError
from pontryagin.sweep import Arguments, SweepResult


class Device(Protocol):
    """Where kernels run: a GPU, or what stands for one in tests."""

    memory: torch.device
    room: int  # bytes that the states kept by a sweep may fill

    def kernel(self, key: str, write: Callable[[], str]) -> Any: ...

    def launch(self, kernel: Any, threads: int, argument: ctypes.Structure) -> None: ...


class CudaSweep(CompiledSweep):
    """Sweeps of one problem on one grid by kernels on a GPU. A SweepBackend.

    Raises CaptureError when a function of the problem cannot become a graph, and BackendError where there is no GPU, no
    NVRTC, or the formulas are too long for it. `device`: where the tensors lie; those on the CPU are sent to the
    current GPU, and results come back.

    Beside arguments and results, both of which exist twice while they are turned around, a sweep with a way back needs
    memory for the states of a segment. The derivative in a control that the batch shares is made for each problem
    first: [K][m][B].
    """

    name = "cuda"

    def __init__(self, *arguments: Any, device: torch.device | str, on: Device | None = None, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.device = torch.device(device)
        self._on = self._opened(on)
        self.memory = self._on.memory
        self._nodes = self._tau.to(self.memory, self.dtype)
        self._lengths = self._tau.diff().to(self.memory, self.dtype)
        self._kernels: dict[str, Any] = {}

    def _opened(self, on: Any) -> Any:
        count = operations(self.model)
        if count > LARGEST:
            raise BackendError(
                f"the formulas of a stage hold {count} operations; NVRTC takes minutes over more than {LARGEST}. "
                'Use backend="torch"'
            )
        return on or CudaDevice(self.device)

    def text(self, backward: bool = True, extended: bool = False) -> str:
        """The CUDA text for this grid, scheme and type."""
        model, request = self.model, self._request(backward, extended)
        formulas = formulas_of(model, self.title, request)
        unrolled = operations(model) <= LARGEST_INLINE
        return cuda_sweep_text(formulas, request, self._tableau, unrolled=unrolled)

    def points_text(self) -> str:
        """The CUDA text of H at points."""
        return cuda_points_text(formulas_of(self.model, self.title, self._request(True, False)), single=self._single)

    def evaluate(self, arguments: Arguments, outputs: Set[str]) -> SweepResult:
        """One sweep over the batch; `outputs` names the fields of the result to fill."""
        inputs, batch = self._inputs(arguments)._asdict(), arguments.batch
        shared = {name for name in ("control", "data") if inputs[name] is not None and inputs[name].dim() == 2}
        shapes = self._shapes(arguments)
        if "control" in shared:
            shapes["control_derivative"] = (batch, *arguments.control.shape)
        backward, extended = direction(arguments, outputs)
        results = {name: self._empty(*shape[1:], batch) for name, shape in shapes.items() if name in outputs}
        tape = self._tape(batch) if backward and "state" not in results else {}  # else the path of the state is it
        arrays = {"tau": self._nodes, "lengths": self._lengths, **tape, **results}
        arrays |= {name: x if name in shared else turned(x) for name, x in inputs.items() if x is not None}
        job = Job(
            problems=batch,
            steps=self._steps,
            segment=len(tape["tape"]) if tape else self._steps,
            t0=self._t0,
            control_shared="control" in shared,
            data_shared="data" in shared,
            **{name: array.data_ptr() for name, array in arrays.items()},
        )
        self._run(job, backward, extended)

        summed = {"control_derivative"} & results.keys() if "control" in shared else set()
        # torch sums in the same order every time
        back = {name: x.sum(-1) if name in summed else returned(x) for name, x in results.items()}
        return SweepResult(**{name: x.to(self.device) for name, x in back.items()})

    def hamiltonian(
        self, time: Tensor, state: Tensor, costate: Tensor, control: Tensor, parameters: Tensor, data: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """H = L + p.f (P,), H_x (P, n) and H_u (P, m) at P points, one row a point."""
        inputs, count = self._points(time, state, costate, control, parameters, data)._asdict(), time.shape[0]
        results = {
            "hamiltonian": self._empty(count),
            "state_derivative": self._empty(self._n, count),
            "control_derivative": self._empty(self._m, count),
        }
        arrays = results | {name: turned(x) for name, x in inputs.items() if x is not None}
        points = Points(count=count, **{name: array.data_ptr() for name, array in arrays.items()})
        self._run_points(points)
        H, H_x, H_u = (returned(x).to(self.device) for x in results.values())
        return H, H_x, H_u

    def _run(self, job: Job, backward: bool, extended: bool) -> None:
        request = self._request(backward, extended)
        kernel = self._kernel(f"sweep {request}", request, lambda: self.text(backward, extended))
        self._on.launch(kernel, job.problems, job)

    def _run_points(self, points: Points) -> None:
        self._on.launch(self._kernel("points", self._request(True, False), self.points_text), points.count, points)

    def _kernel(self, name: str, request: SweepRequest, write: Callable[[], str]) -> Any:
        if name not in self._kernels:
            key = f"cuda {name} {key_of(self.model, self.title, self._tableau, request)}"
            self._kernels[name] = self._on.kernel(key, write)
        return self._kernels[name]

    def _tape(self, batch: int) -> dict[str, Tensor]:
        """Room for the states of a segment, and for those at the start of each where there is more than one."""
        steps = self._steps
        segment = segment_for(steps, self._n * batch * self.dtype.itemsize, self._on.room)
        tape = {"tape": self._empty(segment, self._n, batch)}
        if segment < steps:
            tape["starts"] = self._empty(-(-steps // segment), self._n, batch)
        return tape

    def _empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=self.dtype, device=self.memory)


def turned(values: Tensor) -> Tensor:
    """(B, ...) as (..., B)."""
    return values.movedim(0, -1).contiguous()


def returned(values: Tensor) -> Tensor:
    """(..., B) as (B, ...)."""
    return values.movedim(-1, 0).contiguous()
