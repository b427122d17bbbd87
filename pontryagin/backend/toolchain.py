"""The system's C++ compiler: which one there is, the flags it takes, and a library out of a text."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from pontryagin.errors import BackendError

#: Commands that are tried, in this order, where CXX names none.
COMPILERS = ("c++", "g++", "clang++")

#: Results are those of the compiled core because nothing is contracted or reassociated behind our back: a fused
#: multiply-add is always written out, NaN and infinity stay visible. Hence never -ffast-math.
FLAGS = (
    "-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden", "-fPIC",
    "-shared",
)  # fmt: skip

TIMEOUT = 300.0  # seconds for one library
LINES = 60  # of the compiler, in an error


class CompileError(BackendError):
    """The compiler was found and failed: the message holds its command, its own lines, and what to do."""


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler that answered."""

    command: tuple[str, ...]  # an absolute path, then what else CXX holds
    version: str  # first line of --version
    target: str  # x86_64-linux-gnu


def find_compiler() -> Compiler:
    """The compiler that CXX names, else the first of `COMPILERS` on PATH; remembered for each value of the two.

    Raises BackendError, with what was tried and what to install. A CXX that does not run is an error too: whoever sets
    it does not want another compiler.
    """
    return _find(os.environ.get("CXX", "").strip(), os.environ.get("PATH", ""))


@cache
def _find(named: str, path: str) -> Compiler:
    if named:
        try:
            return _examined(shlex.split(named))
        except (ValueError, OSError, subprocess.SubprocessError) as error:
            remedy = f"correct it, or unset it for one of {', '.join(COMPILERS)}"
            raise BackendError(f"CXX is {named!r}, which is no C++ compiler ({error}); {remedy}") from None
    tried = []
    for name in COMPILERS:
        try:
            return _examined([name])
        except (OSError, subprocess.SubprocessError) as error:
            tried.append(str(error))
    raise BackendError(
        f"no C++ compiler ({'; '.join(tried)}). Install one (Debian, Ubuntu: apt install g++; Fedora: dnf install "
        "gcc-c++; macOS: xcode-select --install; conda: conda install gxx), or name it in CXX"
    )


def _examined(command: list[str]) -> Compiler:
    path = shutil.which(command[0])
    if path is None:
        raise FileNotFoundError(f"{command[0]} is not on PATH")
    command = [os.path.abspath(path), *command[1:]]
    version, target = (_answer([*command, question]) for question in ("--version", "-dumpmachine"))
    return Compiler(tuple(command), version, target)


def _answer(command: list[str]) -> str:
    """The first line on standard output."""
    plain = {**os.environ, "LC_ALL": "C"}
    run = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", env=plain, timeout=30
    )
    if run.returncode or not run.stdout.strip():
        raise OSError(f"{shlex.join(command)} gives no answer (exit status {run.returncode})")
    return run.stdout.strip().splitlines()[0]


@cache
def flags(compiler: Compiler) -> tuple[str, ...]:
    """`FLAGS`, and the flag that means this very processor where the compiler takes one; tried by compiling nothing.

    Raises CompileError where it cannot compile nothing.
    """
    arm = compiler.target.startswith(("aarch64", "arm"))  # there -march leaves out the tuning
    for native in ("-mcpu=native", "-march=native") if arm else ("-march=native", "-mcpu=native"):
        with contextlib.suppress(CompileError):
            _run([*compiler.command, *FLAGS, native, "-fsyntax-only", "-x", "c++", os.devnull], TIMEOUT)
            return (*FLAGS, native)
    _run([*compiler.command, *FLAGS, "-fsyntax-only", "-x", "c++", os.devnull], TIMEOUT)
    return FLAGS


@lru_cache(maxsize=1)
def include_directory() -> Path:
    """The C++ headers that came with the package: beside the compiled core, or in the source tree that it lies in.

    Raises BackendError where there are none.
    """
    core = importlib.util.find_spec("pontryagin._core")
    if core is None or core.origin is None:
        raise BackendError("the compiled module pontryagin._core is missing, and the C++ headers with it; reinstall")
    package = Path(core.origin).parent
    for folder in (package / "include", package.parent / "csrc" / "include"):
        if (folder / "pontryagin" / "step.hpp").is_file():
            return folder
    raise BackendError(f"the C++ headers are missing from {package / 'include'}; reinstall the package")


def compile_library(source: Path, library: Path, compiler: Compiler, *, timeout: float = TIMEOUT) -> float:
    """Compiles one text into one shared library; returns the seconds that it took. Raises CompileError."""
    start = time.perf_counter()
    include = f"-I{include_directory()}"
    _run([*compiler.command, *flags(compiler), include, str(source), "-o", str(library)], timeout)
    return time.perf_counter() - start


def try_out(compiler: Compiler) -> None:
    """Compiles and links a function into a library that is thrown away. Raises CompileError."""
    with tempfile.TemporaryDirectory(prefix="pontryagin-") as scratch:
        source = Path(scratch) / "answer.cpp"
        source.write_text('extern "C" int answer() { return 42; }\n', encoding="utf-8")
        compile_library(source, Path(scratch) / "answer.so", compiler)


def _run(command: Sequence[str], timeout: float) -> None:
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise _failure(command, "cannot be started", str(error)) from None
    with process:
        try:
            output, _ = process.communicate(timeout=timeout)
        except BaseException as error:  # a compiler is a driver and its children: all of them end with us
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise _failure(command, f"took longer than {timeout:g} seconds", "") from None
            raise
    if process.returncode:
        raise _failure(command, f"failed with exit status {process.returncode}", output)


def _failure(command: Sequence[str], how: str, output: str) -> CompileError:
    lines = output.strip().splitlines()
    more = [f"... and {len(lines) - LINES} more lines"] if len(lines) > LINES else []
    remedy = 'Use backend="interpreter", or name another compiler in CXX.'
    return CompileError("\n".join([f"the C++ compiler {how}:", shlex.join(command), *lines[:LINES], *more, remedy]))
