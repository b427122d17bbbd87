"""Newton's method on a GPU, a thread a problem: the kernel of a problem, and multiple shooting that solves by it.

Unknowns and multipliers are numpy arrays before and after; a batch is sent, solved by launches
(cuda_newton_launches.py), and comes back. Values and derivatives at single points remain the core's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pontryagin.backend.compiled_shooting import CompiledShooting, statement_of
from pontryagin.backend.cuda_driver import CudaDevice
from pontryagin.backend.cuda_newton_job import (
    CHOOSE_START,
    FIND_SLOPE,
    DeviceStatement,
    NewtonBatch,
    NewtonSettings,
    resting,
    settings_of,
)
from pontryagin.backend.cuda_newton_launches import Launches, Told
from pontryagin.backend.cuda_sweep import Device
from pontryagin.backend.linearise import ReferenceShooting
from pontryagin.backend.native import LARGEST
from pontryagin.backend.newton_functions import NewtonFunctions
from pontryagin.backend.newton_native import key_of
from pontryagin.codegen.cuda_newton import cuda_newton_text
from pontryagin.errors import BackendError
from pontryagin.problem import Problem
from pontryagin.shooting import Array, Dual, Mask, Primal

#: What is known of a problem that has been solved before.
MULTIPLIERS = ("costate", "end", "sigma", "multiplier")


class NewtonKernel:
    """Newton's method for one problem on one device. Raises BackendError where it cannot be."""

    def __init__(self, functions: NewtonFunctions, on: Device) -> None:
        if functions.operations > LARGEST:
            raise BackendError(
                f"the formulas hold {functions.operations} operations; NVRTC takes minutes over more than {LARGEST}"
            )
        self.on = on
        self.kernel = on.kernel(f"cuda newton {key_of(functions)}", lambda: text_of(functions))

    @classmethod
    def of(cls, problem: Problem, device: torch.device) -> NewtonKernel:
        """That of a problem on the GPU of these tensors, or the current one for tensors on the CPU; made once."""
        kept: dict[torch.device, NewtonKernel] = problem._cache.setdefault("newton_kernels", {})
        if device not in kept:
            kept[device] = cls(NewtonFunctions.of(problem), CudaDevice(device))
        return kept[device]


def text_of(functions: NewtonFunctions) -> str:
    """The CUDA text."""
    equations = functions.equations
    return cuda_newton_text(
        functions.title,
        functions.texts,
        functions.row,
        components=equations.size,
        equalities=equations.equality_count,
    )


@dataclass(frozen=True)
class CudaShooting(CompiledShooting):
    """Multiple shooting in the core whose solver runs on a GPU."""

    kernel: NewtonKernel
    on_device: DeviceStatement

    def better_start(self, guess: Primal, favour: float) -> Primal:
        """The guess, or what its controls lead to; that may violate `favour` times as much."""
        state = guess.state.copy()
        batch = DeviceBatch(self, {"state": state, "control": guess.control})
        self._launches(batch, resting()).each(CHOOSE_START, favour=favour)
        batch.take_back("state")
        return Primal(state, guess.control)

    def slope(self, point: Primal, dual: Dual) -> Array:
        """As ReferenceShooting."""
        given = {"state": point.state, "control": point.control, "costate": dual.costate, "end": dual.end}
        batch = DeviceBatch(self, given)
        mu, found = _sent(dual.path, self.kernel.on.memory), batch.empty(len(self.statement.nodes))
        self._launches(batch, resting()).each(FIND_SLOPE, mu=mu.data_ptr(), slope=found.data_ptr())
        return found.cpu().numpy()

    def solve(
        self, unknowns: list[Array], known: Mask, settings: Mapping[str, Any], told: Told | None
    ) -> dict[str, Any]:
        """As CompiledShooting."""
        names = ("state", "control", *MULTIPLIERS)
        batch = DeviceBatch(self, dict(zip(names, unknowns, strict=True)), known)
        launches = self._launches(batch, settings_of(settings))
        interrupted = not launches.solve(told)
        batch.take_back(*names)
        return {**batch.found(), "history": launches.history.rows(), "interrupted": interrupted}

    def _launches(self, batch: DeviceBatch, settings: NewtonSettings) -> Launches:
        return Launches(self.kernel.on, self.kernel.kernel, self.on_device.problem, batch.batch, settings)


def device_statement(
    reference: ReferenceShooting,
    layout: NewtonFunctions,
    bounds: tuple[Array, Array],
    half_width: Array,
    as_control: Mask,
    memory: torch.device,
) -> DeviceStatement:
    """What core_of gives to the core, in the memory of a device."""
    sizes, arrays = statement_of(reference, bounds, half_width, as_control)
    rows = [*layout.rows.starts, layout.rows.count]
    optimised = list(reference.equations.optimised)
    return DeviceStatement(sizes, arrays, reference.tableau, optimised, layout.entries, rows, memory)


class DeviceBatch:
    """The numbers of B problems on the device, in Python's order, and what will be found of them."""

    def __init__(self, shooting: CudaShooting, unknowns: Mapping[str, Array], known: Mask | None = None) -> None:
        memory, problem = shooting.kernel.on.memory, shooting.on_device.problem
        self.size, self._nz = len(shooting.initial), int(problem.nz)
        data = np.ascontiguousarray(shooting.data)
        given = {"initial": shooting.initial, "theta": shooting.theta, "data": data}
        shapes = {"measures": 4, "scale_z": problem.nz, "scale_weight": 1, "scale_end": problem.equalities,
                  "scale_path": problem.rows}  # fmt: skip
        self._unknowns = unknowns
        blank = MULTIPLIERS if known is not None and not known.any() else ()  # nothing to send: they are zero
        self.arrays = {
            name: torch.zeros(array.shape, dtype=torch.float64, device=memory)
            if name in blank
            else _sent(array, memory)
            for name, array in {**given, **unknowns}.items()
        }
        if known is not None:
            self.arrays["known"] = _sent(known, memory)
        for name, width in shapes.items():
            value = torch.nan if name == "measures" else 1.0
            self.arrays[name] = torch.full((self.size, width), value, dtype=torch.float64, device=memory)
        for name in ("status", "iterations"):
            self.arrays[name] = torch.zeros(self.size, dtype=torch.int32, device=memory)
        self.batch = NewtonBatch(
            batch=self.size,
            data_stride=0 if len(data) == 1 else data[0].size,
            **{name: tensor.data_ptr() for name, tensor in self.arrays.items()},
        )

    def empty(self, rows: int) -> Tensor:
        """(B, rows, nz)"""
        return torch.empty(self.size, rows, self._nz, dtype=torch.float64, device=self.arrays["state"].device)

    def take_back(self, *names: str) -> None:
        """Unknowns, into the arrays that they came from."""
        for name in names:
            torch.from_numpy(self._unknowns[name]).copy_(self.arrays[name])

    def found(self) -> dict[str, Array]:
        names = ("measures", "scale_z", "scale_weight", "scale_end", "scale_path", "status", "iterations")
        found = {name: self.arrays[name].cpu().numpy() for name in names}
        return {**found, "scale_weight": found["scale_weight"][:, 0]}


def _sent(array: np.ndarray, memory: torch.device) -> Tensor:
    """A copy, there; numbers are float64."""
    if array.dtype != np.bool_:
        array = np.asarray(array, np.float64)
    if memory.type == "cpu" or not array.flags.writeable:
        array = array.copy()
    return torch.from_numpy(np.ascontiguousarray(array)).to(memory)
