"""A GPU made of the system's C++ compiler for kernels that are compiled ahead of time: the files of csrc/cuda."""

from __future__ import annotations

import ctypes
import re
import sys
from functools import cache
from pathlib import Path

import block_emulator
import torch
from block_emulator import WRONG, BlockEmulator
from emulator import BEFORE

from pontryagin.backend.cache import library_for

sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("native", "sweep", "neural")]

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
#define PMP_EXPORT extern "C" __attribute__((visibility("default")))
"""

EACH = """
PMP_EXPORT void launch_{kernel}(unsigned blocks, unsigned threads, const void* job) {{
  every_thread({kernel}, blocks, threads, job);
}}
PMP_EXPORT long long job_bytes_{kernel}() {{ return bytes_of({kernel}); }}
"""

SHARED = """
PMP_EXPORT long long shared_bytes_{scalar}(const void* job) {{
  return any_block_bytes<16, ThreadBlock<128>>(*static_cast<const DeviceAnyMlpJob<{scalar}>*>(job));
}}
"""


def source(file: str) -> str:
    return (FOLDER / f"{file}.cu").read_text(encoding="utf-8")


def kernel_names(file: str) -> list[str]:
    """As the macros of the file put them together."""
    text = source(file)
    stems = re.findall(r"\b(pontryagin_\w+_)##scalar", text)
    return [stem + scalar for scalar in re.findall(r"^PMP_KERNELS\((\w+)\)$", text, re.M) for stem in stems]


@cache
def library(file: str) -> ctypes.CDLL:
    if file == "interpreter":
        each = "".join(EACH.format(kernel=name) for name in kernel_names(file))
        return library_for(f"{BEFORE}static thread_local Index gridDim;\n{source(file)}{AFTER}{each}").handle
    each = "".join(block_emulator.EACH.format(kernel=name, suffix=f"_{name}") for name in kernel_names(file))
    each += "".join(SHARED.format(scalar=scalar) for scalar in ("float", "double"))
    return library_for(f"{block_emulator.BEFORE}{source(file)}{block_emulator.SCHEDULER}{each}").handle


class AheadEmulator:
    """A `Device` of pontryagin/backend/cuda_interpreter.py; `launches` is what was launched, in order."""

    def __init__(self, room: int = 2**30) -> None:
        self.memory = torch.device("cpu")
        self.room = room
        self.launches: list[tuple[str, int, int, int, ctypes.Structure]] = []

    def kernel(self, name: str) -> str:
        assert name in kernel_names("interpreter")
        return name

    def launch_blocks(self, kernel: str, blocks: int, threads: int, shared: int, argument: ctypes.Structure) -> None:
        self.launches.append((kernel, blocks, threads, shared, argument))
        library("interpreter")[f"launch_{kernel}"](blocks, threads, ctypes.byref(argument))


class AheadBlockEmulator(BlockEmulator):
    """The same for perceptrons, pontryagin/backend/cuda_ahead_mlp.py."""

    def kernel(self, name: str) -> str:  # type: ignore[override]
        assert name in kernel_names("mlp")
        return name

    def launch_blocks(self, kernel: str, blocks: int, threads: int, shared: int, argument: ctypes.Structure) -> None:  # type: ignore[override]
        self.launches.append((blocks, threads, shared, argument))
        size, order = ctypes.c_size_t(shared), int(self.backwards)
        wrong = library("mlp")[f"launch_{kernel}"](blocks, threads, size, order, ctypes.byref(argument))
        assert not wrong, WRONG[wrong]
