"""A GPU made of the system's C++ compiler for kernels whose threads work together.

The threads of a block are fibers: each runs up to the place where it meets the others. They take turns in either order,
so that a thread which reads too early what another writes does not give the same numbers in both. Shared memory holds
NaN before, and a mark behind its end.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import torch

from pontryagin.backend.cache import library_for
from pontryagin.codegen.cuda_library import KERNEL

BEFORE = """
#define __global__
#define __launch_bounds__(...)
#define __grid_constant__
struct Index { unsigned x; };
static Index blockIdx, gridDim;
"""

SCHEDULER = """
#include <ucontext.h>
#include <cstring>
#include <vector>

namespace {

constexpr std::size_t stack_bytes = 1 << 17, mark = 64;

struct Fiber {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(stack_bytes);
  bool done = false;
};

ucontext_t scheduler;
Fiber* current;
const void* argument;
long meetings;

void meet() { swapcontext(&current->context, &scheduler); }

template <class Job>
void call(void (*kernel)(Job)) { kernel(*static_cast<const Job*>(argument)); }
void (*entry)();
void run() {
  entry();
  current->done = true;
  meet();
}

template <class Job>
long long bytes_of(void (*)(Job)) { return sizeof(Job); }

// 0; 1 where threads met while others had ended; 2 where the mark behind the shared memory is gone.
int run_blocks(unsigned blocks, int threads, std::size_t shared, int backwards, const void* job) {
  argument = job, gridDim.x = blocks, meetings = 0;
  std::vector<Fiber> fibers(threads);
  std::vector<double> memory((shared + mark) / sizeof(double) + 2);
  void* const at = reinterpret_cast<void*>((reinterpret_cast<std::size_t>(memory.data()) + 15) / 16 * 16);
  host_thread.memory = at, host_thread.meet = meet;
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
    std::memset(at, 0xff, shared);
    std::memset(static_cast<char*>(at) + shared, 0x5a, mark);
    for (Fiber& fiber : fibers) {
      fiber.done = false;
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack.data();
      fiber.context.uc_stack.ss_size = stack_bytes;
      fiber.context.uc_link = nullptr;
      makecontext(&fiber.context, run, 0);
    }
    for (int done = 0; done == 0; ++meetings) {
      for (int turn = 0; turn < threads; ++turn) {
        host_thread.number = backwards ? threads - 1 - turn : turn;
        current = &fibers[host_thread.number];
        swapcontext(&scheduler, &current->context);
        done += current->done;
      }
      if (done != 0 && done != threads) return 1;
    }
    for (std::size_t i = 0; i < mark; ++i)
      if (static_cast<char*>(at)[shared + i] != 0x5a) return 2;
  }
  return 0;
}

}  // namespace

#define PMP_EXPORT extern "C" __attribute__((visibility("default")))
"""

EACH = """
PMP_EXPORT int launch{suffix}(unsigned blocks, int threads, std::size_t shared, int backwards, const void* job) {{
  entry = [] {{ call({kernel}); }};
  return run_blocks(blocks, threads, shared, backwards, job);
}}
PMP_EXPORT long long job_bytes{suffix}() {{ return bytes_of({kernel}); }}
"""

SHARED = """
PMP_EXPORT long long shared_bytes(const pontryagin::Tableau* tableau) {
  return pontryagin::block_bytes<Request, Threads>(*tableau);
}
"""

AFTER = SCHEDULER + EACH.format(kernel=KERNEL, suffix="") + SHARED

WRONG = {1: "some threads met while others had ended", 2: "the kernel wrote beyond its shared memory"}


class BlockEmulator:
    """A `Device` of pontryagin/backend/cuda_mlp.py; `launches` is what was launched, in order."""

    def __init__(
        self, processors: int = 3, shared_limit: int = 227 << 10, room: int = 2**30, *, backwards: bool = False
    ) -> None:
        self.memory = torch.device("cpu")
        self.processors, self.shared_limit, self.room, self.backwards = processors, shared_limit, room, backwards
        self.launches: list[tuple[int, int, int, ctypes.Structure]] = []

    def kernel(self, key: str, write: Callable[[], str]) -> ctypes.CDLL:
        return library_for(BEFORE + write() + AFTER).handle

    def resident(self, kernel: ctypes.CDLL, threads: int, shared: int) -> int:
        return self.processors

    def launch_blocks(
        self, kernel: ctypes.CDLL, blocks: int, threads: int, shared: int, argument: ctypes.Structure
    ) -> None:
        self.launches.append((blocks, threads, shared, argument))
        wrong = kernel.launch(blocks, threads, ctypes.c_size_t(shared), int(self.backwards), ctypes.byref(argument))
        assert not wrong, WRONG[wrong]
