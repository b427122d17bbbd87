"""A GPU made of the system's C++ compiler for kernels that nvcc compiles ahead of time: their own files, on the host."""

from __future__ import annotations

import ctypes
import re
from functools import cache
from pathlib import Path

import torch
from emulator import BEFORE

from pontryagin.backend.cache import library_for

FOLDER = Path(__file__).resolve().parents[2] / "csrc" / "cuda"

#: Threads know nothing of each other: the last one comes first.
AFTER = """
template <class Job>
static void every_thread(void (*kernel)(Job), unsigned blocks, unsigned threads, const void* job) {
  gridDim.x = blocks, blockDim.x = threads;
  for (blockIdx.x = blocks; blockIdx.x-- > 0;)
    for (threadIdx.x = threads; threadIdx.x-- > 0;) kernel(*static_cast<const Job*>(job));
}
template <class Job>
static long long bytes_of(void (*)(Job)) { return sizeof(Job); }
"""

EACH = """
extern "C" __attribute__((visibility("default"))) void launch_{name}(unsigned blocks, unsigned threads, const void* job) {{
  every_thread({name}, blocks, threads, job);
}}
extern "C" __attribute__((visibility("default"))) long long bytes_of_{name}() {{ return bytes_of({name}); }}
"""


def kernel_names(file: str) -> list[str]:
    text = (FOLDER / file).read_text(encoding="utf-8")
    stems = re.findall(r"\b(pontryagin_\w+_)##scalar", text)
    return [stem + scalar for stem in stems for scalar in ("float", "double")]


@cache
def library(file: str) -> ctypes.CDLL:
    text = (FOLDER / file).read_text(encoding="utf-8")
    grid = "static thread_local Index gridDim;\n"
    return library_for(BEFORE + grid + text + AFTER + "".join(EACH.format(name=n) for n in kernel_names(file))).handle


class AheadEmulator:
    """A `Device` of pontryagin/backend/cuda_interpreter.py; `launches` is what was launched, in order."""

    def __init__(self, room: int = 2**30) -> None:
        self.memory = torch.device("cpu")
        self.room = room
        self.launches: list[tuple[str, int, int, int, ctypes.Structure]] = []

    def kernel(self, name: str) -> str:
        assert name in kernel_names("interpreter.cu")
        return name

    def launch_blocks(self, kernel: str, blocks: int, threads: int, shared: int, argument: ctypes.Structure) -> None:
        self.launches.append((kernel, blocks, threads, shared, argument))
        library("interpreter.cu")[f"launch_{kernel}"](blocks, threads, ctypes.byref(argument))
