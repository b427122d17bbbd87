"""Newton's method on a GPU, a thread a problem: the loop of the core as a kernel, a few iterations in each launch.

The memory of a problem on its way is a place. There are as many places as there is room for; between launches, problems
that have ended give theirs to those that wait, and then the list of places that still run becomes shorter, so that
threads side by side all have something to do. The length of that list is all that the host waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    GIVE_UP,
    ITERATE,
    MEASURE,
    ROW,
    DeviceStatement,
    NewtonBatch,
    NewtonJob,
    NewtonSettings,
    resting,
    settings_of,
)
from pontryagin.backend.cuda_sweep import Device
from pontryagin.backend.linearise import ReferenceShooting
from pontryagin.backend.native import LARGEST
from pontryagin.backend.newton_functions import NewtonFunctions
from pontryagin.backend.newton_native import key_of
from pontryagin.codegen.cuda_newton import cuda_newton_text
from pontryagin.errors import BackendError
from pontryagin.problem import Problem
from pontryagin.shooting import Array, Dual, Mask, Primal

#: Iterations of one launch. Short, so that warps are full of problems that still run and Ctrl-C is heard.
ITERATIONS = 4

#: What is known of a problem that has been solved before.
MULTIPLIERS = ("costate", "end", "sigma", "multiplier")

#: Neighbouring threads, whose numbers lie side by side: group_threads of csrc/include/pontryagin/device_columns.hpp.
GROUP = 32

Told = Callable[[tuple[float, ...]], bool]


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
        Launches(self, batch, resting()).each(CHOOSE_START, favour=favour)
        batch.take_back("state")
        return Primal(state, guess.control)

    def slope(self, point: Primal, dual: Dual) -> Array:
        """As ReferenceShooting."""
        given = {"state": point.state, "control": point.control, "costate": dual.costate, "end": dual.end}
        batch = DeviceBatch(self, given)
        mu, found = _sent(dual.path, self.kernel.on.memory), batch.empty(len(self.statement.nodes))
        Launches(self, batch, resting()).each(FIND_SLOPE, mu=mu.data_ptr(), slope=found.data_ptr())
        return found.cpu().numpy()

    def solve(
        self, unknowns: list[Array], known: Mask, settings: Mapping[str, Any], told: Told | None
    ) -> dict[str, Any]:
        """As CompiledShooting."""
        names = ("state", "control", *MULTIPLIERS)
        batch = DeviceBatch(self, dict(zip(names, unknowns, strict=True)), known)
        launches = Launches(self, batch, settings_of(settings))
        interrupted = not launches.solve(told)
        batch.take_back(*names)
        return {**batch.found(), "history": launches.history.rows(), "interrupted": interrupted}


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


class Launches:
    """A batch on its way."""

    compact = True  # whether the list of places becomes shorter

    def __init__(self, shooting: CudaShooting, batch: DeviceBatch, settings: NewtonSettings) -> None:
        self._kernel, self._on, self._batch = shooting.kernel.kernel, shooting.kernel.on, batch
        self._job = NewtonJob(problem=shooting.on_device.problem, settings=settings, batch=batch.batch)
        self._group_rows, self._own_bytes = self._measured()
        self.places = places_for(batch.size, self.bytes_each, self._on.room)
        groups = -(-self.places // GROUP)
        self._rows = self._empty(groups * GROUP * self._group_rows, torch.float64)
        self._own = self._empty(self.places * self._own_bytes, torch.uint8)
        self._starts = torch.full((self.places,), -1, dtype=torch.int64, device=self._on.memory)
        self._told = self._starts.clone()
        self._next = 0  # the first problem that has no place yet
        self.history = History(settings.max_iterations, self._on.memory)

    @property
    def bytes_each(self) -> int:
        """Memory of one problem on its way."""
        return 8 * self._group_rows + self._own_bytes

    def each(self, verb: int, **given: float) -> None:
        """A verb that is done with a problem at once."""
        for name, value in given.items():
            setattr(self._job, name, value)
        while self._next < self._batch.size:
            place = torch.arange(min(self.places, self._batch.size - self._next), device=self._on.memory)
            self._seat(place)
            self._launch(verb, place)

    def solve(self, told: Told | None) -> bool:
        """False if it was interrupted; what still ran has been written as it stood."""
        place = torch.arange(self.places, device=self._on.memory)
        self._seat(place)
        known = 0
        iterations = ITERATIONS if told is None else 1
        try:
            while len(place):
                self._iterate(place, iterations)
                running = self._told[place] >= 0
                if self._next < self._batch.size:
                    free = place[~running][: self._batch.size - self._next]
                    self._seat(free)
                    running = running | (self._starts[place] >= 0)
                place = place[running] if self.compact or not bool(running.any()) else place
                for row in self.history.rows()[known : self._complete(place)] if told is not None else ():
                    known += 1
                    if told is not None and told(row):
                        self._launch(GIVE_UP, place)
                        return False
        except KeyboardInterrupt:
            self._launch(GIVE_UP, place)
            return False
        return True

    def _seat(self, place: Tensor) -> None:
        """Gives these places to the next problems."""
        self._starts[place] = torch.arange(self._next, self._next + len(place), device=self._on.memory)
        self._next += len(place)

    def _complete(self, place: Tensor) -> int:
        """Rows of the history that no problem will add to."""
        if self._next < self._batch.size:
            return 0
        return int(self._told[place].clamp(min=0).min()) if len(place) else self._job.settings.max_iterations

    def _iterate(self, place: Tensor, iterations: int) -> None:
        first = self._told[place].clamp(min=0)
        rows = self._empty(len(place) * iterations * ROW, torch.float64)
        self._job.iterations, self._job.history = iterations, rows.data_ptr()
        self._launch(ITERATE, place)
        self.history.add(first, rows.view(len(place), iterations, ROW))

    def _launch(self, verb: int, place: Tensor) -> None:
        job = self._job
        job.verb, job.threads, job.place = verb, len(place), place.data_ptr()
        job.rows, job.own = self._rows.data_ptr(), self._own.data_ptr()
        job.starts, job.told = self._starts.data_ptr(), self._told.data_ptr()
        self._on.launch(self._kernel, len(place), job)

    def _measured(self) -> tuple[int, int]:
        """Rows of columns, and bytes beside them, of a thread."""
        sizes = torch.zeros(2, dtype=torch.int64, device=self._on.memory)
        self._job.verb, self._job.sizes = MEASURE, sizes.data_ptr()
        self._on.launch(self._kernel, 1, self._job)
        self._job.group_rows, self._job.own_bytes = sizes.tolist()
        return self._job.group_rows, self._job.own_bytes

    def _empty(self, count: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(count, dtype=dtype, device=self._on.memory)


def places_for(problems: int, bytes_each: int, room: int) -> int:
    """Problems on their way at a time: all that fit into the room, whole groups where that is not all of them."""
    fit = room // max(bytes_each, 1) // GROUP * GROUP
    return min(problems, max(fit, GROUP))


class History:
    """The table of iterations over all problems: NewtonRow of csrc/include/pontryagin/newton_problem.hpp."""

    def __init__(self, most: int, memory: torch.device) -> None:
        self._table = torch.zeros(max(most, 1), ROW, dtype=torch.float64, device=memory)
        self._table[:, 6] = 1.0  # the shortest step

    def add(self, first: Tensor, rows: Tensor) -> None:
        """Rows (T, K, 8) of threads; those of a thread begin at iteration first (T,)."""
        index = (first[:, None] + torch.arange(rows.shape[1], device=rows.device)).reshape(-1)
        rows = rows.reshape(-1, ROW)
        there = rows[:, 0] > 0
        index, rows = index[there], rows[there]
        sums = self._table[:, :2].contiguous()
        self._table[:, :2] = sums.index_put_((index,), rows[:, :2], accumulate=True)  # in one order on any device
        for column, how in ((2, "amax"), (3, "amax"), (4, "amax"), (5, "amax"), (6, "amin"), (7, "amax")):
            self._table[:, column] = self._table[:, column].scatter_reduce(0, index, rows[:, column], how)

    def rows(self) -> list[tuple[float, ...]]:
        """Those that some problem has come to."""
        table = self._table.cpu()
        count = int((table[:, 0] > 0).sum())
        return [tuple(row) for row in table[:count].tolist()]
