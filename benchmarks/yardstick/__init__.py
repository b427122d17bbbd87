"""The hand-written cart-pole gradient, built on demand by the system's compiler and called through ctypes.

A mark to measure by, with flags that nothing distributed may use: see cartpole.cpp.
"""

from __future__ import annotations

import ctypes
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import torch

from benchmarks.build import shared_library
from benchmarks.contender import Contender
from benchmarks.workloads.workload import Answer, Batch

HERE = Path(__file__).parent
FLAGS = ["-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math"]
NAME = "hand-written C++"


@lru_cache(maxsize=2)
def _library(name: str) -> ctypes.CDLL:
    command = [os.environ.get("CXX", "c++"), *FLAGS]
    return ctypes.CDLL(str(shared_library("yardstick", HERE / name, command, also=(HERE / "cartpole.cpp",))))


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    loaded = _library("cartpole.cpp")
    loaded.tape_size.restype = ctypes.c_long
    loaded.peak_f64.restype = loaded.peak_f32.restype = ctypes.c_double
    loaded.peak_f64.argtypes = loaded.peak_f32.argtypes = [ctypes.c_long]
    return loaded


class _Part:
    """Problems of a batch, laid out as the kernel likes it; the call is a foreign call and the kernel, nothing else."""

    def __init__(self, initial_state: torch.Tensor, control: torch.Tensor) -> None:
        size, steps, _ = control.shape
        dtype = control.dtype
        # Rows a power of two apart would fall into the same sets of the cache.
        self._stride = size if size % 256 else size + 64
        self._size = size
        self._state = self._rows(initial_state)
        self._control = self._rows(control[..., 0])
        self._gradient = torch.zeros_like(self._control)
        self._objective = torch.zeros(size, dtype=dtype)
        self._tape = torch.zeros(library().tape_size(steps), dtype=dtype)
        tensors = [self._state, self._control, self._objective, self._gradient]
        addresses = [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
        sizes = [ctypes.c_int(steps), ctypes.c_long(size), ctypes.c_long(self._stride)]
        self._arguments = (*addresses, *sizes, ctypes.c_void_p(self._tape.data_ptr()))
        self._function = library().cartpole_f64 if dtype == torch.float64 else library().cartpole_f32

    def _rows(self, values: torch.Tensor) -> torch.Tensor:
        rows = torch.zeros(values.shape[1], self._stride, dtype=values.dtype)
        rows[:, : self._size] = values.T
        return rows

    def __call__(self) -> None:
        self._function(*self._arguments)

    def answer(self) -> Answer:
        return Answer(self._objective, self._gradient[:, : self._size].T[..., None])


def yardstick(batch: Batch, threads: int = 1) -> Contender:
    """Several threads take equal parts of the batch; they are threads of Python, woken for every call."""
    count = min(threads, batch.size)
    parts = [
        _Part(*part)
        for part in zip(batch.initial_state.tensor_split(count), batch.control.tensor_split(count), strict=True)
    ]
    if count == 1:
        call = parts[0].__call__
    else:
        pool = ThreadPoolExecutor(count)

        def call() -> None:
            list(pool.map(_Part.__call__, parts))

    def answer() -> Answer:
        call()
        answers = [part.answer() for part in parts]
        return Answer(torch.cat([a.objective for a in answers]), torch.cat([a.gradient for a in answers]))

    return Contender(NAME, call, answer)


def operations_per_step() -> int:
    """Additions, multiplications and divisions of one problem in one step, forward and backward: see count.cpp."""
    return int(_library("count.cpp").operations_per_step())


def multiply_add_peak(dtype: torch.dtype, threads: int = 1) -> float:
    """Operations a second in independent multiply-adds, an addition and a multiplication counted each.

    Of so many threads at work at the same time.
    """
    peak = library().peak_f64 if dtype == torch.float64 else library().peak_f32
    best, rounds = 0.0, 2_000_000
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(5):
            start = time.perf_counter()
            operations = sum(pool.map(peak, [rounds] * threads))
            best = max(best, operations / (time.perf_counter() - start))
    return best
