"""What a kernel of Newton's method is launched with: the statement of a problem on the device, and its one argument."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pontryagin.backend.cuda_launch import TableauData
from pontryagin.tableau import Tableau

#: NewtonVerb of csrc/include/pontryagin/device_newton.hpp.
MEASURE, CHOOSE_START, ITERATE, GIVE_UP, FIND_SLOPE = range(5)

#: Numbers of a NewtonRow.
ROW = 8

_INTEGERS = ("steps", "n", "m", "q", "nd", "optimised_count")
_FLAGS = ("free_time", "linear_control", "linear_data")
_SIZES = ("ns", "nv", "nz", "paths", "ends", "equalities", "rows")
_ARRAYS = (
    "nodes",
    "weights",
    "bound_weights",
    "path_weights",
    "free",
    "active",
    "half_width",
    "control",
    "low",
    "high",
)
_LISTS = ("inequality", "first_inequality")
_MATRICES = ("stage_jacobian", "stage_hessian", "path_jacobian", "path_hessian", "end_jacobian", "end_hessian",
             "start_jacobian", "start_hessian")  # fmt: skip
_ROWS = ("tau", "x", "u", "theta", "t1", "d", "weights", "output", "hessian", "count")


class Entries(ctypes.Structure):
    """Places of the entries of a matrix."""

    _fields_ = [("count", ctypes.c_int), ("row", ctypes.c_void_p), ("column", ctypes.c_void_p)]


class PointRows(ctypes.Structure):
    """Rows of the arguments, and where results begin."""

    _fields_ = [(name, ctypes.c_int) for name in _ROWS]


class NewtonProblem(ctypes.Structure):
    """NewtonProblem of csrc/include/pontryagin/newton_problem.hpp, field by field, as are the next two."""

    _fields_ = [
        *((name, ctypes.c_int) for name in _INTEGERS),
        ("optimised", ctypes.c_void_p),
        *((name, ctypes.c_bool) for name in _FLAGS),
        *((name, ctypes.c_int) for name in _SIZES),
        ("tableau", TableauData),
        *((name, ctypes.c_void_p) for name in (*_ARRAYS, *_LISTS)),
        *((name, Entries) for name in _MATRICES),
        ("rows_of_points", PointRows),
    ]


class NewtonSettings(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_double) for name in (
            "tolerance", "barrier", "warm_barrier", "barrier_factor", "barrier_power", "barrier_solved",
            "first_regularisation", "largest_regularisation", "penalty")),
        *((name, ctypes.c_int) for name in ("max_iterations", "trials", "patience")),
        *((name, ctypes.c_bool) for name in ("exact", "warm", "inside")),
    ]  # fmt: skip


class NewtonBatch(ctypes.Structure):
    _fields_ = [
        ("batch", ctypes.c_long),
        *((name, ctypes.c_void_p) for name in ("initial", "theta", "data")),
        ("data_stride", ctypes.c_long),
        *((name, ctypes.c_void_p) for name in (
            "state", "control", "costate", "end", "sigma", "multiplier", "known", "measures", "scale_z", "scale_weight",
            "scale_end", "scale_path", "status", "iterations")),
    ]  # fmt: skip


class NewtonJob(ctypes.Structure):
    """NewtonJob of csrc/include/pontryagin/device_newton.hpp."""

    _fields_ = [
        ("problem", NewtonProblem),
        ("settings", NewtonSettings),
        ("batch", NewtonBatch),
        ("verb", ctypes.c_int),
        ("iterations", ctypes.c_int),
        ("favour", ctypes.c_double),
        ("threads", ctypes.c_longlong),
        ("place", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("group_rows", ctypes.c_longlong),
        ("own_bytes", ctypes.c_longlong),
        *((name, ctypes.c_void_p) for name in ("rows", "own", "mu", "sizes", "told", "history", "slope")),
    ]


class DeviceStatement:
    """A problem on one grid, in the memory of a device; `problem` points into it."""

    def __init__(
        self,
        sizes: Mapping[str, int],
        arrays: Mapping[str, np.ndarray],
        tableau: Tableau,
        optimised: Sequence[int],
        entries: Sequence[Sequence[tuple[int, int]]],
        rows: Sequence[int],
        memory: torch.device,
    ) -> None:
        """The arguments are those of `_core.Newton`; rows: of arguments and results, and how many there are."""
        self._memory, self._kept = memory, list[Tensor]()
        ns = len(arrays["free"])
        all_sizes = dict(sizes, optimised_count=len(optimised), ns=ns, nv=sizes["m"], nz=ns + sizes["m"])
        matrices = {name: self._places(given) for name, given in zip(_MATRICES, entries, strict=True)}
        inequality, first = inequalities(arrays)
        self.problem = NewtonProblem(
            **{name: all_sizes[name] for name in (*_INTEGERS, *_FLAGS, *_SIZES)},
            optimised=self._sent(np.array(optimised, np.int32)),
            tableau=TableauData.of(tableau),
            **{name: self._sent(np.asarray(arrays[name], _type_of(name))) for name in _ARRAYS},
            inequality=self._sent(inequality.view(np.uint8)),
            first_inequality=self._sent(first),
            **matrices,
            rows_of_points=PointRows(*rows),
        )

    def _sent(self, array: np.ndarray) -> int:
        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self._memory)
        self._kept.append(tensor)
        return tensor.data_ptr()

    def _places(self, entries: Sequence[tuple[int, int]]) -> Entries:
        places = np.array(entries, np.int32).reshape(-1, 2)
        return Entries(len(places), self._sent(places[:, 0]), self._sent(places[:, 1]))


def _type_of(name: str) -> type:
    return np.bool_ if name in ("free", "active", "control") else np.float64


#: Inequality of newton_problem.hpp.
INEQUALITY = np.dtype([("index", np.int32), ("bound", np.float64), ("weight", np.float64)], align=True)


def inequalities(arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """All that there are, sorted by nodes, and (N+2,) where those of a node begin: as in csrc/bind/register_newton.cpp.

    At a node those of low come first, then those of high, then rows of c; the last node has no v.
    """
    low, high, active = arrays["low"], arrays["high"], arrays["active"]
    ns = len(arrays["free"])
    there = [np.isfinite(low), np.isfinite(high), active.astype(bool)]
    for bounds in there[:2]:
        bounds[-1, ns:] = False
    node, index = np.nonzero(np.concatenate(there, 1))
    found = np.zeros(len(node), INEQUALITY)
    bound = np.concatenate((low, high, np.zeros(active.shape)), 1)
    weight = np.concatenate((arrays["bound_weights"], arrays["bound_weights"], arrays["path_weights"]), 1)
    found["index"], found["bound"], found["weight"] = index, bound[node, index], weight[node, index]
    return found, np.searchsorted(node, np.arange(len(low) + 1)).astype(np.int32)


def settings_of(options: Mapping[str, Any]) -> NewtonSettings:
    """From those of a solve (optim/newton/result.py) and `warm`."""
    names = [field[0] for field in NewtonSettings._fields_ if field[0] != "inside"]
    return NewtonSettings(**{name: options[name] for name in names}, inside=True)


def resting() -> NewtonSettings:
    """Of a kernel that does not solve."""
    return NewtonSettings(tolerance=1e-8, barrier=1.0, exact=True)
