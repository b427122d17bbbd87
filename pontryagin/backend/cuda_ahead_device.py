"""A GPU with the kernels that came with the package (cuda_ahead.py), apart from them because they need no torch."""

from __future__ import annotations

import ctypes

import torch

from pontryagin.backend.cuda_ahead import find_ahead
from pontryagin.backend.cuda_driver import Gpu
from pontryagin.errors import BackendError


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
