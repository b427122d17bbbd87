"""Machine code for GPUs on disk, found by digest, in the directory of the compiled libraries (backend/cache.py).

DIGEST.cubin    SHA-256 of the rest in 32 bytes, then the code
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable

from pontryagin.backend.cache import directory, evict
from pontryagin.backend.digest import headers, package
from pontryagin.backend.files import appearing
from pontryagin.backend.nvrtc import OPTIONS, Nvrtc
from pontryagin.backend.private import check_file, checked, created
from pontryagin.backend.toolchain import include_directory

_held: dict[str, bytes] = {}


def cubin_for(nvrtc: Nvrtc, architecture: int, key: str, write: Callable[[], str]) -> bytes:
    """The code of the text that `write` returns: what this process has, else what is on disk, else compiled now.

    The key is whatever determines that text. Where the directory cannot be written to, nothing is kept. Raises
    CompileError, and BackendError where others could have put code into the directory.
    """
    digest = digest_of(nvrtc, architecture, key)
    if digest not in _held:
        cubin = _read(digest)
        if cubin is None:
            cubin = nvrtc.compile(write(), architecture).cubin
            _keep(digest, cubin)
        _held[digest] = cubin
    return _held[digest]


def digest_of(nvrtc: Nvrtc, architecture: int, key: str) -> str:
    """SHA-256 over all that decides what the code is."""
    parts = (package(), headers(include_directory()), OPTIONS, nvrtc.version, architecture, key)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _read(digest: str) -> bytes | None:
    path = checked(directory()) / f"{digest}.cubin"
    try:
        check_file(path)
        content = path.read_bytes()
    except OSError:
        return None
    checksum, cubin = content[:32], content[32:]
    if hashlib.sha256(cubin).digest() != checksum:  # damaged: it is made again
        return None
    with contextlib.suppress(OSError):
        path.touch()  # what was used last stays longest
    return cubin


def _keep(digest: str, cubin: bytes) -> None:
    with contextlib.suppress(OSError):
        place = created(directory())
        with appearing(place / f"{digest}.cubin") as scratch:
            scratch.write_bytes(hashlib.sha256(cubin).digest() + cubin)
        evict(place)
