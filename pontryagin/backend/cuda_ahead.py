"""Kernels that nvcc compiled when the package was built, for GPUs that NVRTC makes no kernels for.

`pontryagin._cuda` is there where the package was built with PONTRYAGIN_CUDA=ON. It holds machine code for several
architectures, and code that the driver finishes for newer ones; it is loaded at first use and needs no compiler.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

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
