"""Libraries for benchmarks, compiled for this machine on demand and kept in build/ by the digest of what made them."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import time
from pathlib import Path

BUILD = Path(__file__).resolve().parents[1] / "build"


def shared_library(folder: str, source: Path, command: list[str], also: tuple[Path, ...] = ()) -> Path:
    """The library of `source` by this compiler and these flags; `also` names files that it includes."""
    banner = subprocess.run([command[0], "--version"], capture_output=True, check=True).stdout
    parts = [*(path.read_bytes() for path in (source, *also)), banner, *map(str.encode, command)]
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()
    target = BUILD / folder / f"{digest[:16]}.so"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_suffix(f".{os.getpid()}")
        start = time.perf_counter()
        subprocess.run([*command, "-shared", "-fPIC", str(source), "-o", str(scratch)], check=True)
        target.with_suffix(".seconds").write_text(f"{time.perf_counter() - start:.2f}\n")
        scratch.replace(target)
    return target


def compile_seconds(library: Path) -> float:
    """What the compiler took when it made this library."""
    return float(library.with_suffix(".seconds").read_text())


def load(library: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(library))
