"""Sweeps by kernels on a GPU: the formulas of a problem as CUDA text, compiled once by NVRTC, one thread a problem.

Kernels want neighbouring problems beside each other, [node][component][problem]; torch turns arguments and results
around, on the device. Nothing waits for the device here, and nothing is copied from it.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any, Protocol

import torch
from torch import Tensor

from pontryagin.backend.compiled import CompiledSweep, direction
from pontryagin.backend.cuda_driver import CudaDevice
from pontryagin.backend.cuda_launch import Job, segment_for
from pontryagin.backend.native import LARGEST, formulas_of, key_of, operations
from pontryagin.codegen.cuda_library import cuda_library_text
from pontryagin.codegen.library import SweepRequest
from pontryagin.codegen.model import LARGEST_INLINE
from pontryagin.errors import BackendError
from pontryagin.sweep import Arguments, SweepResult


class Device(Protocol):
    """Where kernels run: a GPU, or what stands for one in tests."""

    memory: torch.device
    room: int  # bytes that the states kept by a sweep may fill

    def kernel(self, key: str, write: Callable[[], str]) -> Any: ...

    def launch(self, kernel: Any, job: Job) -> None: ...


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
        count = operations(self.model)
        if count > LARGEST:
            raise BackendError(
                f"the formulas of a stage hold {count} operations; NVRTC takes minutes over more than {LARGEST}. "
                'Use backend="torch"'
            )
        self.device = torch.device(device)
        self._on = on or CudaDevice(self.device)
        self.memory = self._on.memory
        self._nodes = self._tau.to(self.memory, self.dtype)
        self._lengths = self._tau.diff().to(self.memory, self.dtype)

    def text(self, backward: bool = True, extended: bool = False) -> str:
        """The CUDA text for this grid, scheme and type."""
        request = self._request(backward, extended)
        return cuda_text(self, request)

    def evaluate(self, arguments: Arguments, outputs: Set[str]) -> SweepResult:
        """One sweep over the batch; `outputs` names the fields of the result to fill."""
        inputs, batch = self._inputs(arguments), arguments.batch
        backward, extended = direction(arguments, outputs)
        request = self._request(backward, extended)
        key = "cuda " + key_of(self.model, self.title, self._tableau, request)
        kernel = self._on.kernel(key, lambda: cuda_text(self, request))

        shared = {name for name in ("control", "data") if (x := getattr(inputs, name)) is not None and x.dim() == 2}
        given = {name: x if x is None or name in shared else turned(x) for name, x in vars(inputs).items()}
        shapes = self._shapes(arguments)
        if "control" in shared:
            shapes["control_derivative"] = (batch, *arguments.control.shape)
        results = {name: self._empty(*shape[1:], batch) for name, shape in shapes.items() if name in outputs}
        given |= {"tau": self._nodes, "lengths": self._lengths, **results}

        row = self._n * batch * self.dtype.itemsize
        keeps = backward and "state" not in results  # else that path is the tape
        segment = segment_for(self._steps, row, self._on.room) if keeps else self._steps
        if keeps:
            given["tape"] = self._empty(segment, self._n, batch)
            if segment < self._steps:
                given["starts"] = self._empty(-(-self._steps // segment), self._n, batch)
        job = Job(
            problems=batch,
            steps=self._steps,
            segment=segment,
            t0=self._t0,
            control_shared="control" in shared,
            data_shared="data" in shared,
            **{name: tensor.data_ptr() for name, tensor in given.items() if tensor is not None},
        )
        self._on.launch(kernel, job)

        back = {name: returned(tensor) for name, tensor in results.items()}
        if "control" in shared and "control_derivative" in results:
            back["control_derivative"] = results["control_derivative"].sum(-1)  # in the same order every time
        return SweepResult(**{name: tensor.to(self.device) for name, tensor in back.items()})

    def hamiltonian(
        self, time: Tensor, state: Tensor, costate: Tensor, control: Tensor, parameters: Tensor, data: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """H, H_x and H_u at points, by the interpreter: on the CPU."""
        H, H_x, H_u = super().hamiltonian(time, state, costate, control, parameters, data)
        return H.to(self.device), H_x.to(self.device), H_u.to(self.device)

    def _empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=self.dtype, device=self.memory)


def cuda_text(sweep: CudaSweep, request: SweepRequest) -> str:
    """The CUDA text of a request."""
    formulas = formulas_of(sweep.model, sweep.title, request)
    unrolled = operations(sweep.model) <= LARGEST_INLINE
    return cuda_library_text(formulas, request, sweep._tableau, unrolled=unrolled)


def turned(values: Tensor) -> Tensor:
    """(B, ...) as (..., B)."""
    return values.movedim(0, -1).contiguous()


def returned(values: Tensor) -> Tensor:
    """(..., B) as (B, ...)."""
    return values.movedim(-1, 0).contiguous()
