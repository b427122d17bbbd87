"""CUDA text to machine code by NVRTC, the compiler that NVIDIA ships as a library: no GPU, no driver, no files needed.

NVRTC comes with CUDA builds of torch, or by itself (nvidia-cuda-nvrtc). The C++ headers of this package are handed over
in memory.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from pontryagin.backend.toolchain import LINES, CompileError, include_directory
from pontryagin.errors import BackendError

try:
    from cuda import pathfinder
except ImportError:  # the extra pontryagin[cuda]
    pathfinder = None

#: As for the C++ compiler: a fused multiply-add is always written out, division and root are exact, NaN stays visible.
OPTIONS = ("--std=c++17", "--fmad=false", "--device-as-default-execution-space")

#: Asks for registers, stack and spills of each kernel in the log.
REPORT = "--ptxas-options=-v"


@dataclass(frozen=True)
class Compiled:
    """Machine code for one architecture, what the compiler said, and the seconds that it took."""

    cubin: bytes
    log: str
    seconds: float


class Nvrtc:
    """One NVRTC library; `version` is (13, 0)."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._library = ctypes.CDLL(path)
        except OSError as error:
            raise BackendError(f"NVRTC does not open: {error}; reinstall nvidia-cuda-nvrtc") from None
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check(self._library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), "nvrtcVersion")
        self.version = (major.value, minor.value)

    def architectures(self) -> tuple[int, ...]:
        """What it can compile for: 80 is sm_80."""
        count = ctypes.c_int()
        self._check(self._library.nvrtcGetNumSupportedArchs(ctypes.byref(count)), "nvrtcGetNumSupportedArchs")
        known = (ctypes.c_int * count.value)()
        self._check(self._library.nvrtcGetSupportedArchs(known), "nvrtcGetSupportedArchs")
        return tuple(known)

    def compile(self, text: str, architecture: int, *options: str) -> Compiled:
        """A cubin for one architecture. Raises CompileError with the compiler's own lines."""
        start = time.perf_counter()
        included = headers()
        names, texts = (_strings(column) for column in zip(*included, strict=True))
        program = ctypes.c_void_p()
        create = self._library.nvrtcCreateProgram
        self._check(
            create(ctypes.byref(program), text.encode(), b"sweep.cu", len(included), texts, names),
            "nvrtcCreateProgram",
        )
        try:
            every = [*OPTIONS, f"--gpu-architecture=sm_{architecture}", *options]
            code = self._library.nvrtcCompileProgram(program, len(every), _strings([o.encode() for o in every]))
            log = self._text(program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
            if code:
                raise _failure(self._name(code), every, log)
            return Compiled(self._text(program, "CUBIN"), log, time.perf_counter() - start)
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _text(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(self._library[f"nvrtcGet{what}Size"](program, ctypes.byref(size)), f"nvrtcGet{what}Size")
        text = ctypes.create_string_buffer(size.value)
        self._check(self._library[f"nvrtcGet{what}"](program, text), f"nvrtcGet{what}")
        return text.raw

    def _name(self, code: int) -> str:
        name = self._library.nvrtcGetErrorString
        name.restype = ctypes.c_char_p
        return str(name(code).decode())

    def _check(self, code: int, call: str) -> None:
        if code:
            raise BackendError(f"{call} of {self.path} failed with {self._name(code)}")


@lru_cache(maxsize=1)
def find_nvrtc() -> Nvrtc:
    """The NVRTC of this installation. Raises BackendError with what to install."""
    if pathfinder is None:
        raise BackendError("NVRTC cannot be looked for: pip install cuda-pathfinder (or pontryagin[cuda])")
    try:
        found = pathfinder.load_nvidia_dynamic_lib("nvrtc")
    except RuntimeError:  # DynamicLibNotFoundError, and what this system does not have at all
        raise BackendError(
            "NVRTC is missing: it comes with CUDA builds of torch; else pip install nvidia-cuda-nvrtc for drivers of "
            "CUDA 13, nvidia-cuda-nvrtc-cu12 for those of CUDA 12"
        ) from None
    if found.abs_path is None:
        raise BackendError("NVRTC is loaded and its file is not known; pip install nvidia-cuda-nvrtc")
    return Nvrtc(found.abs_path)


@lru_cache(maxsize=1)
def headers() -> tuple[tuple[bytes, bytes], ...]:
    """Names and texts of the C++ headers: each under the name that texts use, and that which headers use."""
    folder = include_directory() / "pontryagin"
    files = [(path.name.encode(), path.read_bytes()) for path in sorted(folder.glob("*.hpp"))]
    return (*files, *((b"pontryagin/" + name, text) for name, text in files))


def _strings(values: Sequence[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * len(values))(*values)


def _failure(name: str, options: Sequence[str], log: str) -> CompileError:
    lines = log.strip().splitlines()
    more = [f"... and {len(lines) - LINES} more lines"] if len(lines) > LINES else []
    head = f"NVRTC failed with {name} ({' '.join(options)}):"
    return CompileError("\n".join([head, *lines[:LINES], *more, 'Use backend="torch" on this device.']))
