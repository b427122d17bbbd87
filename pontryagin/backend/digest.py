"""What a compiled library depends on, in one number: equal digests, equal machine code."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import subprocess
import sys
from functools import cache, lru_cache
from pathlib import Path

from pontryagin.backend.toolchain import FLAGS, Compiler, include_directory

#: Lines of /proc/cpuinfo that say what a processor is and can do; the others count, or change from moment to moment.
CPU_LINES = {
    "vendor_id", "cpu family", "model", "model name", "stepping", "flags",
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features",
    "cpu", "isa",
}  # fmt: skip


def digest_of(text: str, compiler: Compiler) -> str:
    """SHA-256 over the text and all else that decides what the compiler makes of it, as 64 hexadecimal digits."""
    return hashlib.sha256(f"{_surroundings(compiler, include_directory())}\n{text}".encode()).hexdigest()


@cache
def _surroundings(compiler: Compiler, include: Path) -> str:
    # Which flag means "this processor" follows from compiler and processor: a cached library opens without that trial.
    parts = (package(), compiler, FLAGS, processor(), headers(include))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def package() -> str:
    try:
        return importlib.metadata.version("pontryagin")
    except importlib.metadata.PackageNotFoundError:  # run from its source tree, without being installed
        return "source"


def headers(include: Path) -> str:
    """SHA-256 over names and contents of the headers; they are read once a process."""
    files = [(path.relative_to(include).as_posix(), path.read_bytes()) for path in sorted(include.rglob("*.hpp"))]
    return hashlib.sha256(repr(files).encode()).hexdigest()


@lru_cache(maxsize=1)
def processor() -> str:
    """Model and feature flags of the processor, as the system states them."""
    try:
        if sys.platform == "darwin":
            command = ["/usr/sbin/sysctl", "machdep.cpu", "hw.optional"]
            return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            first: list[str] = []
            for line in lines:  # of the first processor: the system asks all of them for their frequency, slowly
                if not line.strip() and first:
                    break
                if line.split(":")[0].strip() in CPU_LINES:
                    first.append(line)
            return "".join(first)
    except (OSError, subprocess.SubprocessError):
        return f"{platform.machine()} {platform.processor()}"
