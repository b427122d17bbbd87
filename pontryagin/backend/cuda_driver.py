"""The driver of NVIDIA GPUs, opened at run time: modules are loaded and kernels are launched, and that is all.

Memory and streams are torch's.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from typing import Any

import torch

from pontryagin.backend.cubins import cubin_for
from pontryagin.backend.cuda_launch import grid_for
from pontryagin.backend.nvrtc import Nvrtc, find_nvrtc
from pontryagin.codegen.cuda_library import BLOCK, KERNEL
from pontryagin.errors import BackendError

LIBRARY = "libcuda.so.1"

#: Attributes as cuda.h numbers them: multiprocessors of a device, shared memory that a block may have when asked for,
#: and the shared memory that a kernel may ask for at its launch.
PROCESSORS, SHARED_OF_BLOCK, SHARED_OF_KERNEL = 16, 97, 8

#: Of the memory of a device, what a sweep may fill with the states that it keeps.
SHARE = 0.25


class Driver:
    """libcuda: every answer but success is a BackendError with its name."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.call("cuInit", 0)
        version = ctypes.c_int()
        self.call("cuDriverGetVersion", ctypes.byref(version))
        self.version = (version.value // 1000, version.value % 1000 // 10)

    def call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise BackendError(f"{name} of the CUDA driver failed with {self._name(code)}")

    def _name(self, code: int) -> str:
        name, text = ctypes.c_char_p(), ctypes.c_char_p()
        if self._library.cuGetErrorName(code, ctypes.byref(name)) or not name.value:
            return f"error {code}"
        self._library.cuGetErrorString(code, ctypes.byref(text))
        return f"{name.value.decode()} ({(text.value or b'').decode()})"

    @contextlib.contextmanager
    def context(self, index: int) -> Iterator[None]:
        """The primary context of a device, which is torch's, current in this thread."""
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuDeviceGet", ctypes.byref(device), index)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        try:
            self.call("cuCtxPushCurrent_v2", context)
            try:
                yield
            finally:
                self.call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))
        finally:
            self.call("cuDevicePrimaryCtxRelease_v2", device)

    def load(self, cubin: bytes) -> ctypes.c_void_p:
        """The kernel of a cubin, for the current context."""
        return self.function(self.module(cubin), KERNEL)

    def module(self, image: bytes) -> ctypes.c_void_p:
        """The code of a cubin or a fat binary, for the current context."""
        module = ctypes.c_void_p()
        self.call("cuModuleLoadData", ctypes.byref(module), image)
        return module

    def function(self, module: ctypes.c_void_p, name: str) -> ctypes.c_void_p:
        """One of its kernels."""
        function = ctypes.c_void_p()
        self.call("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
        return function

    def attribute(self, index: int, code: int) -> int:
        device, value = ctypes.c_int(), ctypes.c_int()
        self.call("cuDeviceGet", ctypes.byref(device), index)
        self.call("cuDeviceGetAttribute", ctypes.byref(value), code, device)
        return value.value

    def resident(self, function: ctypes.c_void_p, threads: int, shared: int, limit: int) -> int:
        """Blocks that run on a multiprocessor at a time; allows the kernel shared memory up to the limit."""
        self.call("cuFuncSetAttribute", function, SHARED_OF_KERNEL, limit)
        count = ctypes.c_int()
        self.call(
            "cuOccupancyMaxActiveBlocksPerMultiprocessor",
            ctypes.byref(count), function, threads, ctypes.c_size_t(shared),
        )  # fmt: skip
        return count.value

    def launch(
        self,
        function: ctypes.c_void_p,
        blocks: int,
        threads: int,
        shared: int,
        stream: int,
        argument: ctypes.Structure,
    ) -> None:
        parameters = (ctypes.c_void_p * 1)(ctypes.addressof(argument))
        size = (blocks, 1, 1, threads, 1, 1)
        self.call("cuLaunchKernel", function, *size, shared, ctypes.c_void_p(stream), parameters, None)


@lru_cache(maxsize=1)
def find_driver() -> Driver:
    """Raises BackendError where this machine has no NVIDIA driver, or the driver no GPU."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        raise BackendError(f"this machine has no NVIDIA driver ({LIBRARY} is missing)") from None
    return Driver(library)


def matched(nvrtc: Nvrtc, driver: Driver) -> Nvrtc:
    """The compiler, if its code is for this driver; raises BackendError where the driver is too old for it."""
    if nvrtc.version[0] > driver.version[0]:
        made, knows = (".".join(map(str, version)) for version in (nvrtc.version, driver.version))
        raise BackendError(
            f"NVRTC {made} makes code that the driver, for CUDA {knows}, cannot load; update the driver, or replace "
            f"nvidia-cuda-nvrtc by nvidia-cuda-nvrtc-cu{driver.version[0]}"
        )
    return nvrtc


class Gpu:
    """One GPU under torch: kernels are launched on torch's current stream.

    Raises BackendError where torch or the driver cannot serve it.
    """

    def __init__(self, device: torch.device) -> None:
        if not torch.cuda.is_available():
            why = "was built without CUDA" if torch.version.cuda is None else "finds no NVIDIA GPU"
            raise BackendError(f'torch {why}, so that backend="cuda" cannot run; use "auto", which picks what can')
        index = torch.cuda.current_device() if device.index is None else device.index
        self.memory = torch.device("cuda", index)
        self.driver = find_driver()
        major, minor = torch.cuda.get_device_capability(index)
        self.architecture = 10 * major + minor
        self.room = int(SHARE * torch.cuda.get_device_properties(index).total_memory)

    def launch(self, kernel: ctypes.c_void_p, threads: int, argument: ctypes.Structure) -> None:
        """Returns at once; what follows on torch's current stream sees the results."""
        self.launch_blocks(kernel, grid_for(threads), BLOCK, 0, argument)

    def launch_blocks(
        self, kernel: ctypes.c_void_p, blocks: int, threads: int, shared: int, argument: ctypes.Structure
    ) -> None:
        """The same for blocks of threads with so many bytes of shared memory each."""
        stream = torch.cuda.current_stream(self.memory).cuda_stream
        with self.driver.context(self.memory.index):
            self.driver.launch(kernel, blocks, threads, shared, stream, argument)

    @cached_property
    def processors(self) -> int:
        """Multiprocessors."""
        return self.driver.attribute(self.memory.index, PROCESSORS)

    @cached_property
    def shared_limit(self) -> int:
        """Bytes of shared memory that a block may have."""
        return self.driver.attribute(self.memory.index, SHARED_OF_BLOCK)

    def resident(self, kernel: ctypes.c_void_p, threads: int, shared: int) -> int:
        """Blocks that run at a time; a kernel with shared memory is asked once before it is launched."""
        limit = self.shared_limit
        with self.driver.context(self.memory.index):
            return self.processors * self.driver.resident(kernel, threads, shared, limit)


class CudaDevice(Gpu):
    """One GPU, with kernels that NVRTC makes for it. Raises BackendError where it cannot."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.nvrtc = matched(find_nvrtc(), self.driver)
        if self.architecture not in self.nvrtc.architectures():
            made = ".".join(map(str, self.nvrtc.version))
            raise BackendError(f"NVRTC {made} makes no code for sm_{self.architecture}; install one that does")

    def kernel(self, key: str, write: Callable[[], str]) -> ctypes.c_void_p:
        """The kernel of the text that `write` returns, and `key` determines."""
        known = _kernels.get((self.memory.index, key))
        if known is None:
            cubin = cubin_for(self.nvrtc, self.architecture, key, write)
            with self.driver.context(self.memory.index):
                known = _kernels[self.memory.index, key] = self.driver.load(cubin)
        return known


_kernels: dict[tuple[int, str], ctypes.c_void_p] = {}
