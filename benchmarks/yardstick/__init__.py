"""The hand-written cart-pole gradient, built on demand by the system's compiler and called through ctypes.

A mark to measure by, with flags that nothing distributed may use: see cartpole.cpp.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import time
from functools import lru_cache
from pathlib import Path

import torch

from benchmarks.cartpole import STEPS, Answer, Batch

SOURCE = Path(__file__).with_name("cartpole.cpp")
BUILD = Path(__file__).resolve().parents[2] / "build" / "yardstick"
FLAGS = ["-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC"]


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The library, compiled for this machine when source, flags or compiler are new."""
    command = [os.environ.get("CXX", "c++"), *FLAGS, str(SOURCE)]
    banner = subprocess.run([command[0], "--version"], capture_output=True, check=True).stdout
    digest = hashlib.sha256(b"\0".join([SOURCE.read_bytes(), banner, *map(str.encode, FLAGS)])).hexdigest()
    target = BUILD / f"{digest[:16]}.so"
    if not target.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        scratch = target.with_suffix(f".{os.getpid()}")
        subprocess.run([*command, "-o", str(scratch)], check=True)
        scratch.replace(target)
    loaded = ctypes.CDLL(str(target))
    loaded.tape_size.restype = ctypes.c_long
    loaded.peak_f64.restype = loaded.peak_f32.restype = ctypes.c_double
    loaded.peak_f64.argtypes = loaded.peak_f32.argtypes = [ctypes.c_long]
    return loaded


class Yardstick:
    """One batch, laid out as the kernel likes it; the call is a foreign call and the kernel, nothing else."""

    def __init__(self, batch: Batch) -> None:
        size, dtype = batch.control.shape[0], batch.control.dtype
        # Rows a power of two apart would fall into the same sets of the cache.
        self._stride = size if size % 256 else size + 64
        self._size = size
        self._state = self._rows(batch.initial_state)
        self._control = self._rows(batch.control)
        self._gradient = torch.zeros_like(self._control)
        self._objective = torch.zeros(size, dtype=dtype)
        self._tape = torch.zeros(library().tape_size(STEPS), dtype=dtype)
        tensors = [self._state, self._control, self._objective, self._gradient]
        addresses = [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
        sizes = [ctypes.c_int(STEPS), ctypes.c_long(size), ctypes.c_long(self._stride)]
        self._arguments = (*addresses, *sizes, ctypes.c_void_p(self._tape.data_ptr()))
        self._function = library().cartpole_f64 if dtype == torch.float64 else library().cartpole_f32

    def _rows(self, values: torch.Tensor) -> torch.Tensor:
        rows = torch.zeros(values.shape[1], self._stride, dtype=values.dtype)
        rows[:, : self._size] = values.T
        return rows

    def __call__(self) -> None:
        self._function(*self._arguments)

    def answer(self) -> Answer:
        self()
        return Answer(self._objective, self._gradient[:, : self._size].T)


def multiply_add_peak(dtype: torch.dtype) -> float:
    """Operations a second of one thread in independent multiply-adds, an addition and a multiplication counted each."""
    peak = library().peak_f64 if dtype == torch.float64 else library().peak_f32
    best, rounds = 0.0, 2_000_000
    for _ in range(5):
        start = time.perf_counter()
        operations = peak(rounds)
        best = max(best, operations / (time.perf_counter() - start))
    return best
