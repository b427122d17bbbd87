"""Recorded programs for kernels that were compiled ahead of time: words in the memory of a device, as arguments."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pontryagin.backend.cuda_launch import Job, Points

_SIZES = ("n", "m", "q", "nd")
_SWEEP_SLOTS = (
    "span", "h", "t", "omega_0", "cost", "objective", "lagrangian", "span_adjoint", "theta", "theta_adjoint", "nu",
    "rho", "e", "first_constant", "fixed_count", "x", "u", "d", "p", "u_adjoint", "x_cotangent", "record_count",
)  # fmt: skip
_POINT_SLOTS = (
    "theta", "first_constant", "fixed_count", "t", "x", "p", "u", "d", "h", "h_x", "h_u", "record_count",
)  # fmt: skip


def _numbers(*names: str) -> list[tuple[str, Any]]:
    return [(name, ctypes.c_longlong) for name in names]


def _addresses(*names: str) -> list[tuple[str, Any]]:
    return [(name, ctypes.c_void_p) for name in names]


class Program(ctypes.Structure):
    """DeviceProgram of csrc/include/pontryagin/device_program.hpp, field by field."""

    _fields_ = [
        *_addresses("prologue", "forward", "terminal", "backward", "constants"),
        *_numbers("constant_count", "with_backward", "extended", "uniform", "linear_control", "linear_data"),
        *_numbers(*_SIZES, "r", *_SWEEP_SLOTS),
    ]


class PointProgram(ctypes.Structure):
    """DevicePointProgram of the same header."""

    _fields_ = [*_addresses("code", "constants"), *_numbers("constant_count", *_SIZES, *_POINT_SLOTS)]


class InterpreterJob(ctypes.Structure):
    """DeviceInterpreterJob of csrc/include/pontryagin/device_interpreter.hpp."""

    _fields_ = [("job", Job), ("program", Program), ("workspace", ctypes.c_void_p), ("records", ctypes.c_longlong)]


class PointsJob(ctypes.Structure):
    """DevicePointsJob of the same header."""

    _fields_ = [("points", Points), ("program", PointProgram), ("workspace", ctypes.c_void_p)]


class Uploaded:
    """A recorded program in the memory of a device: `program` holds addresses of what is kept here.

    `recorded` is what the core says: code (K, 4) by name, constants, slots by name.
    """

    def __init__(
        self, kind: type[Program] | type[PointProgram], recorded: Mapping[str, Any], memory: Tensor, **flags: bool
    ) -> None:
        self._code = {
            name: torch.from_numpy(words.view(np.int32)).to(memory.device) for name, words in recorded["code"].items()
        }
        self._constants = torch.from_numpy(recorded["constants"]).to(memory)
        self.program = kind(
            constants=self._constants.data_ptr(),
            constant_count=self._constants.numel(),
            **{name: code.data_ptr() for name, code in self._code.items()},
            **recorded["slots"],
            **flags,
        )

    def slots(self, records: int) -> int:
        """Numbers that a thread needs: the fixed bank and so many records."""
        return int(self.program.fixed_count + records * self.program.record_count)
