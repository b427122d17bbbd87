"""What a kernel is launched with: its one argument, its grid, and how much of the way forward it keeps."""

from __future__ import annotations

import ctypes
import math
from functools import lru_cache

from pontryagin.codegen.cuda_library import BLOCK
from pontryagin.tableau import Tableau

#: Blocks of one launch, as CUDA limits them.
LARGEST_GRID = 2**31 - 1


class Job(ctypes.Structure):
    """DeviceJob of csrc/include/pontryagin/device_job.hpp, field by field; addresses of 0 are "not given"."""

    _fields_ = [
        ("problems", ctypes.c_longlong),
        ("steps", ctypes.c_longlong),
        ("segment", ctypes.c_longlong),
        ("t0", ctypes.c_double),
        ("tau", ctypes.c_void_p),
        ("lengths", ctypes.c_void_p),
        ("control", ctypes.c_void_p),
        ("control_shared", ctypes.c_longlong),
        ("initial_state", ctypes.c_void_p),
        ("final_time", ctypes.c_void_p),
        ("parameters", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("data_shared", ctypes.c_longlong),
        ("multipliers", ctypes.c_void_p),
        ("penalties", ctypes.c_void_p),
        ("objective_cotangent", ctypes.c_void_p),
        ("state_cotangent", ctypes.c_void_p),
        ("tape", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("objective", ctypes.c_void_p),
        ("lagrangian", ctypes.c_void_p),
        ("terminal", ctypes.c_void_p),
        ("state", ctypes.c_void_p),
        ("costate", ctypes.c_void_p),
        ("control_derivative", ctypes.c_void_p),
        ("initial_state_derivative", ctypes.c_void_p),
        ("parameter_derivative", ctypes.c_void_p),
        ("final_time_derivative", ctypes.c_void_p),
    ]


class Points(ctypes.Structure):
    """DevicePoints of csrc/include/pontryagin/device_points.hpp, field by field."""

    _fields_ = [
        ("count", ctypes.c_longlong),
        ("time", ctypes.c_void_p),
        ("state", ctypes.c_void_p),
        ("costate", ctypes.c_void_p),
        ("control", ctypes.c_void_p),
        ("parameters", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("hamiltonian", ctypes.c_void_p),
        ("state_derivative", ctypes.c_void_p),
        ("control_derivative", ctypes.c_void_p),
    ]


class TableauData(ctypes.Structure):
    """Tableau of csrc/include/pontryagin/tableau.hpp."""

    _fields_ = [
        ("stages", ctypes.c_int),
        ("a", ctypes.c_double * 49),
        ("b", ctypes.c_double * 7),
        ("c", ctypes.c_double * 7),
    ]

    @classmethod
    def of(cls, tableau: Tableau) -> TableauData:
        data = cls(stages=tableau.stages)
        for i, row in enumerate(tableau.a):
            for j, value in enumerate(row):
                data.a[7 * i + j] = value
            data.b[i], data.c[i] = tableau.b[i], tableau.c[i]
        return data


@lru_cache(maxsize=32)
def mlp_job(layers: int) -> type[ctypes.Structure]:
    """DeviceMlpJob of csrc/include/pontryagin/device_mlp.hpp, for a net of so many layers."""
    counts = ["batch", "steps", "segment", "weight_rows", "backward", "kept", "replay"]
    factors = ["state_cost", "velocity_cost", "scale", "cost_scale"]
    arrays = [
        "start", "length", "rows", "initial_state", "final_costate", "target", "cost_cotangent",
        "tape", "starts", "sums", "value", "final_state", "cost", "initial_gradient",
    ]  # fmt: skip

    class MlpJob(ctypes.Structure):
        _fields_ = [
            *((name, ctypes.c_longlong) for name in counts),
            *((name, ctypes.c_double) for name in factors),
            *((name, ctypes.c_void_p) for name in arrays),
            ("weights", ctypes.c_void_p * layers),
            ("bias", ctypes.c_void_p * layers),
            ("tableau", TableauData),
        ]

    return MlpJob


def grid_for(threads: int) -> int:
    """Blocks of BLOCK threads; 0 for none. Raises ValueError past the limit."""
    blocks = -(-threads // BLOCK)
    if not 0 <= blocks <= LARGEST_GRID:
        raise ValueError(f"{threads} problems are too many for one launch; the most is {LARGEST_GRID * BLOCK}")
    return blocks


def segment_for(steps: int, row_bytes: int, room: int) -> int:
    """Steps whose states are kept at a time, S: all N where [N][n][B] fits into `room` bytes, rows of `row_bytes`.

    Else as many as fit beside the states at the start of each segment; at the least about the root of N, where the sum
    of both is smallest, whatever the room.
    """
    fit = room // max(row_bytes, 1)
    if fit >= steps:
        return steps
    least = math.isqrt(steps - 1) + 1  # the root, rounded up
    longest = next((s for s in range(min(fit, steps), least, -1) if s + -(-steps // s) <= fit), least)
    segments = -(-steps // longest)
    return -(-steps // segments)
