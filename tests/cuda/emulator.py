"""A GPU made of the system's C++ compiler: kernels run on the host, one thread after the other."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import torch

from pontryagin.backend.cache import library_for
from pontryagin.backend.cuda_launch import grid_for
from pontryagin.codegen.cuda_library import BLOCK, KERNEL

#: What nvcc and NVRTC know and a C++ compiler does not.
BEFORE = """
#define __global__
#define __launch_bounds__(threads)
#define __grid_constant__
struct Index { unsigned x; };
static thread_local Index blockIdx, blockDim, threadIdx;
"""

#: Threads know nothing of each other: the last one comes first.
AFTER = f"""
template <class Job>
static void every_thread(void (*kernel)(Job), unsigned blocks, unsigned threads, const void* job) {{
  blockDim.x = threads;
  for (blockIdx.x = blocks; blockIdx.x-- > 0;)
    for (threadIdx.x = threads; threadIdx.x-- > 0;) kernel(*static_cast<const Job*>(job));
}}
extern "C" __attribute__((visibility("default"))) void launch(unsigned blocks, unsigned threads, const void* job) {{
  every_thread({KERNEL}, blocks, threads, job);
}}
template <class Job>
static long long bytes_of(void (*)(Job)) {{
  return sizeof(Job);
}}
extern "C" __attribute__((visibility("default"))) long long job_bytes() {{ return bytes_of({KERNEL}); }}
"""


class Emulator:
    """A `Device` of pontryagin/backend/cuda_sweep.py; `launches` is what was launched, in order."""

    def __init__(self, room: int = 2**30) -> None:
        self.memory = torch.device("cpu")
        self.room = room
        self.launches: list[ctypes.Structure] = []

    def kernel(self, key: str, write: Callable[[], str]) -> ctypes.CDLL:
        return library_for(BEFORE + write() + AFTER).handle

    def launch(self, kernel: ctypes.CDLL, threads: int, argument: ctypes.Structure) -> None:
        self.launches.append(argument)
        kernel.launch(grid_for(threads), BLOCK, ctypes.byref(argument))
