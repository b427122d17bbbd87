"""Files that many processes write to at the same time: they appear whole, and one process waits for another."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A file to write to, which takes its name when it is complete and on the disk."""
    descriptor, name = tempfile.mkstemp(prefix=f"{path.stem}.", suffix=f"{path.suffix}.tmp", dir=path.parent)
    os.close(descriptor)
    scratch = Path(name)
    try:
        yield scratch
        scratch.chmod(0o700 if path.suffix == ".so" else 0o600)  # the linker goes by the umask
        descriptor = os.open(scratch, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, patience: float) -> Iterator[None]:
    """Keeps other processes, and threads, from compiling the same text meanwhile: a saving, and nothing rests on it.

    Whoever waits longer than `patience`, in seconds, or has a file system without locks, goes on without.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    held = False
    try:
        deadline = time.monotonic() + patience
        while not held and time.monotonic() < deadline:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = True
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break
        yield
    finally:
        if held:
            path.unlink(missing_ok=True)
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing is not enough where a child was forked meanwhile
        os.close(descriptor)
