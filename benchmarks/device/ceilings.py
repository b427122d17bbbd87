"""What the device can do: bytes a second copied, and operations a second in independent multiply-adds."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import lru_cache

import torch

from benchmarks.device.timing import median
from benchmarks.report import Report
from pontryagin.backend.cuda_driver import CudaDevice
from pontryagin.codegen.cuda_library import BLOCK, KERNEL

COPIED = 2**30  # bytes
THREADS = 4 * 2048  # a multiprocessor
CHAINS, UNROLLED, ROUNDS = 8, 32, 128  # independent sums a thread; multiply-adds in each, without a loop, and times
GROUP = "ceilings"

TEXT = """
struct Peak {{ {real}* to; long long rounds; }};
extern "C" __global__ void __launch_bounds__({block}) {kernel}(const __grid_constant__ Peak peak) {{
  const long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  {real} x[{chains}];
  for (int j = 0; j < {chains}; ++j) x[j] = static_cast<{real}>(i % 7 + j);
  const {real} a = static_cast<{real}>(0.999), b = static_cast<{real}>(1e-3);
  for (long long k = 0; k < peak.rounds; ++k) {{
#pragma unroll
    for (int r = 0; r < {unrolled}; ++r) {{
#pragma unroll
      for (int j = 0; j < {chains}; ++j) x[j] = {fma}(x[j], a, b);
    }}
  }}
  {real} sum = 0;
  for (int j = 0; j < {chains}; ++j) sum += x[j];
  peak.to[i] = sum;
}}
"""


class Peak(ctypes.Structure):
    _fields_ = [("to", ctypes.c_void_p), ("rounds", ctypes.c_longlong)]


@dataclass(frozen=True)
class Work:
    """What a kernel does: operations, and bytes of device memory read and written, each as often as it is."""

    operations: float
    bytes: float


def peak_text(dtype: torch.dtype) -> str:
    real, fma = ("float", "fmaf") if dtype == torch.float32 else ("double", "fma")
    return TEXT.format(real=real, fma=fma, block=BLOCK, kernel=KERNEL, chains=CHAINS, unrolled=UNROLLED)


@lru_cache
def multiply_add_peak(dtype: torch.dtype) -> float:
    """Operations a second; an addition and a multiplication are one each."""
    device = CudaDevice(torch.device("cuda"))
    text = peak_text(dtype)
    kernel = device.kernel(f"peak {text}", lambda: text)
    threads = torch.cuda.get_device_properties(device.memory).multi_processor_count * THREADS
    to = torch.empty(threads, dtype=dtype, device=device.memory)
    job = Peak(to.data_ptr(), ROUNDS)
    seconds = median(lambda: device.launch(kernel, threads, job))
    assert bool(to.isfinite().all()), "the kernel of the peak did not write its sums"
    return 2.0 * CHAINS * UNROLLED * ROUNDS * threads / seconds


@lru_cache
def copy_bandwidth() -> float:
    """Bytes a second, read and written both counted."""
    source = torch.rand(COPIED // 4, device="cuda")
    to = torch.empty_like(source)
    return 2.0 * COPIED / median(lambda: to.copy_(source))


def measure(report: Report, quick: bool) -> None:
    report.row("copy, read and written", copy_bandwidth() / 1e9, "GB/s", group=GROUP)
    for dtype in (torch.float32, torch.float64):
        name = str(dtype).removeprefix("torch.")
        report.row(f"multiply-adds, {name}", multiply_add_peak(dtype) / 1e9, "GFLOP/s", group=GROUP)


def shares(
    report: Report, what: str, work: Work, seconds: float, dtype: torch.dtype, size: int, limit: str | None
) -> None:
    """Rows of what was achieved, and a check of its share of the nearer ceiling."""
    bandwidth, rate = work.bytes / seconds, work.operations / seconds
    of_copy, of_peak = bandwidth / copy_bandwidth() * 100, rate / multiply_add_peak(dtype) * 100
    group = f"{what}: kernel against the ceilings"
    report.row("bytes a second", bandwidth / 1e9, "GB/s", size, group=group)
    report.row("share of the copy", of_copy, "%", size, group=group)
    report.row("operations a second", rate / 1e9, "GFLOP/s", size, group=group)
    report.row("share of the multiply-adds", of_peak, "%", size, group=group)
    if limit:
        report.check(f"{what}, share of the nearer ceiling, %", max(of_copy, of_peak), limit, size)
