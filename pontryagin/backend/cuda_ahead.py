"""Kernels that nvcc compiled when the package was built, for GPUs that NVRTC makes no kernels for.

`pontryagin._cuda` is there where the package was built with PONTRYAGIN_CUDA=ON. It holds machine code for several
architectures, and code that the driver finishes for newer ones; it is loaded at first use and needs no compiler.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch

from pontryagin.backend.cuda_driver import Gpu
from pontryagin.errors import BackendError

MODULE = "pontryagin._cuda"


@dataclass(frozen=True)
class Ahead:
    """Kernels, in images for all architectures; `toolkit` is (13, 0), `architectures` holds 80 for sm_80."""

    toolkit: tuple[int, ...]
    architectures: tuple[int, ...]
    image: Callable[[str], bytes]


@lru_cache(maxsize=1)
def find_ahead() -> Ahead:
    """The kernels of this installation. Raises BackendError where it was built without them."""
    try:
        module = importlib.import_module(MODULE)
    except ImportError:
        raise BackendError(
            "the package was built without kernels for GPUs; with nvcc on the path, install it from source with "
            "-C cmake.define.PONTRYAGIN_CUDA=ON"
        ) from None
    return Ahead(module.toolkit, module.architectures, module.image)


class AheadDevice(Gpu):
    """One GPU, with kernels that came with the package: those of csrc/cuda/NAME.cu.

    Raises BackendError where they do not run on it.
    """

    def __init__(self, device: torch.device, name: str) -> None:
        super().__init__(device)
        ahead = find_ahead()
        if ahead.toolkit[0] > self.driver.version[0]:
            made, knows = (".".join(map(str, version)) for version in (ahead.toolkit, self.driver.version))
            raise BackendError(
                f"the kernels of this package are for CUDA {made}, the driver for CUDA {knows}; update it"
            )
        self._key = self.memory.index, name
        if self._key not in _modules:
            with self.driver.context(self.memory.index):
                _modules[self._key] = self.driver.module(ahead.image(name))

    def kernel(self, name: str) -> ctypes.c_void_p:
        """One kernel by name."""
        key = *self._key, name
        if key not in _kernels:
            with self.driver.context(self.memory.index):
                _kernels[key] = self.driver.function(_modules[self._key], name)
        return _kernels[key]


_modules: dict[tuple[int, str], ctypes.c_void_p] = {}
_kernels: dict[tuple[int, str, str], ctypes.c_void_p] = {}
