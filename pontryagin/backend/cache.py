"""Compiled libraries on disk, found by digest, for one user alone.

    DIGEST.so        the library
    DIGEST.sha256    of the library, so that half a file is never opened (`sha256sum -c` reads it)
    DIGEST.cpp       the text, for people
    DIGEST.cubin     code for a GPU (backend/cubins.py)
    DIGEST.lock      held by the process that compiles, while the others wait

In the environment, PONTRYAGIN_CACHE_DIR names the directory and PONTRYAGIN_CACHE_SIZE its largest size in MiB; what was
used last stays. Any number of processes may read, build and remove at the same time: files appear whole or not at all,
and whoever finds a file gone builds it again.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import errno
import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pontryagin.backend.digest import digest_of
from pontryagin.backend.files import appearing, locked
from pontryagin.backend.private import VARIABLE, check_file, checked, created
from pontryagin.backend.toolchain import TIMEOUT, CompileError, Compiler, compile_library, find_compiler
from pontryagin.errors import BackendError

SIZE_VARIABLE = "PONTRYAGIN_CACHE_SIZE"
SIZE = 512  # MiB
MIB = 2**20

RECENT = 600.0  # seconds since its last use in which a library is not evicted: somebody may be about to open it
ATTEMPTS = 3  # at building, where others clear the directory at the same time
FULL = 16 * MIB  # a compiler that fails with less space than this on the disk failed for want of space

OURS = re.compile(r"([0-9a-f]{64})\.[\w.]+")

_opened: dict[str, Library] = {}
_temporary: Path | None = None


@dataclass(frozen=True)
class Library:
    """An opened library; `compiled` and `seconds` say whether, and how long, this call compiled it."""

    path: Path
    handle: ctypes.CDLL
    compiled: bool
    seconds: float


@dataclass(frozen=True)
class Contents:
    """What the cache holds. As text: a line for people."""

    directory: Path
    libraries: int
    size: int  # bytes
    limit: int  # bytes
    writable: bool

    def __str__(self) -> str:
        libraries = "1 library" if self.libraries == 1 else f"{self.libraries} libraries"
        held = f"{libraries}, {self.size / MIB:.1f} of {self.limit / MIB:g} MiB"
        lost = "" if self.writable else "; it cannot be written to: each process compiles into a temporary directory"
        return f"{self.directory}: {held}{lost}"


def directory() -> Path:
    """Where libraries are kept: what PONTRYAGIN_CACHE_DIR says, else the user's directory of caches."""
    if named := os.environ.get(VARIABLE):
        return Path(os.path.abspath(Path(named).expanduser()))
    caches = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(caches):  # others are to be ignored, says its standard
        return Path(caches) / "pontryagin"
    try:
        home = Path.home()
    except RuntimeError:
        raise BackendError(f"the home directory of this user is not known; name a directory in {VARIABLE}") from None
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "pontryagin"


def is_cached(key: str) -> bool:
    """Whether `library_for` would answer without compiling."""
    try:
        digest = digest_of(key, find_compiler())
        return digest in _opened or any(_whole(place, digest) for place in _places())
    except (BackendError, OSError):
        return False


def library_for(key: str, write: Callable[[], str] | None = None) -> Library:
    """The library made of a C++ text, opened: the one this process has, else the one on disk, else compiled now.

    The key is the text, or whatever determines the text that `write` returns: it is asked only where it is compiled.

    Where the directory cannot be written to or the disk is full, it is built in a temporary directory of this process,
    with a warning. Raises CompileError, and BackendError where there is no compiler or others could have put code into
    the directory.
    """
    compiler = find_compiler()
    digest = digest_of(key, compiler)
    if digest in _opened:
        return _opened[digest]
    library = _kept(digest) or _built(digest, write() if write else key, compiler)
    _opened[digest] = replace(library, compiled=False, seconds=0.0)
    return library


def clear() -> tuple[int, int]:
    """Removes what is kept; returns the number of files and of bytes. Libraries that are open go on to work."""
    place = checked(directory())
    return _remove([path for path, _ in _files(place)])


def contents() -> Contents:
    """Where the cache is and what it holds. Raises BackendError where it cannot be used."""
    place = checked(directory())
    files = list(_files(place))
    nearest = next(folder for folder in (place, *place.parents) if folder.exists())
    return Contents(
        directory=place,
        libraries=sum(path.suffix in (".so", ".cubin") for path, _ in files),
        size=sum(found.st_size for _, found in files),
        limit=_limit(),
        writable=os.access(nearest, os.W_OK | os.X_OK),
    )


# -- opening ---------------------------------------------------------------------------------------------------------


def _places() -> list[Path]:
    return [checked(directory()), *([checked(_temporary)] if _temporary else [])]


def _kept(digest: str) -> Library | None:
    with contextlib.suppress(OSError):  # what cannot be read is built
        for place in _places():
            if library := _open(place, digest):
                return library
    return None


def _open(place: Path, digest: str) -> Library | None:
    """The library of this digest, None where there is none or it is damaged."""
    path = _whole(place, digest)
    if path is None:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    try:
        return Library(path, ctypes.CDLL(str(path)), compiled=False, seconds=0.0)
    except OSError:  # gone in this moment, or the loader refuses it: a new one will do better, or say why not
        return None


def _whole(place: Path, digest: str) -> Path | None:
    path = place / f"{digest}.so"
    try:
        check_file(path)
        # The loader itself ends the process (SIGBUS) where the end of a file is missing.
        whole = path.with_suffix(".sha256").read_bytes()[:64] == _checksum(path)
    except FileNotFoundError:
        return None
    return path if whole else None


def _checksum(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).hexdigest().encode()


# -- building --------------------------------------------------------------------------------------------------------


def _built(digest: str, text: str, compiler: Compiler) -> Library:
    _limit()  # a wrong value is told before the compiler runs
    try:
        return _built_in(directory(), digest, text, compiler)
    except OSError as error:
        reason = error
    try:
        return _built_in(_temporary_directory(reason), digest, text, compiler)
    except OSError as error:
        raise BackendError(
            f"a library can be built neither in {directory()} ({reason}) nor in the temporary directory ({error}); "
            f"name a directory that can be written to in {VARIABLE}, or free some space"
        ) from error


def _built_in(folder: Path, digest: str, text: str, compiler: Compiler) -> Library:
    for _ in range(ATTEMPTS):
        place = created(folder)
        with contextlib.suppress(FileNotFoundError), locked(place / f"{digest}.lock", TIMEOUT):
            if library := _open(place, digest):  # another process was first
                return library
            seconds = _build(place, digest, text, compiler)
            if library := _open(place, digest):
                return replace(library, compiled=True, seconds=seconds)
            if path := _whole(place, digest):
                _refused(path)
    raise OSError(errno.EBUSY, "other processes remove files as fast as they are written", str(folder))


def _build(place: Path, digest: str, text: str, compiler: Compiler) -> float:
    source, library, checksum = (place / f"{digest}{suffix}" for suffix in (".cpp", ".so", ".sha256"))
    library.unlink(missing_ok=True)  # damaged, or it would have been opened
    with appearing(source) as scratch:
        scratch.write_text(text, encoding="utf-8")
    written = _identity(source)
    with appearing(library) as scratch:
        try:
            seconds = compile_library(source, scratch, compiler)
        except CompileError:
            if shutil.disk_usage(place).free < FULL:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place)) from None
            if _identity(source) != written:
                raise FileNotFoundError(errno.ENOENT, "replaced while it was compiled", str(source)) from None
            raise
        expected = _checksum(scratch)
    with appearing(checksum) as scratch:
        scratch.write_bytes(expected + f"  {library.name}\n".encode())
    evict(place)
    return seconds


def _identity(path: Path) -> tuple[int, int]:
    """Tells a file from another one of the same name. Raises FileNotFoundError."""
    found = path.stat()
    return found.st_ino, found.st_ctime_ns


def _refused(path: Path) -> None:
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        raise BackendError(
            f"{path} was compiled and does not open: {error}. Where programs may not run from that file system "
            f'(noexec), name another directory in {VARIABLE}; backend="interpreter" needs none'
        ) from None


def _temporary_directory(reason: OSError) -> Path:
    """A directory of this process and of those that it forks, removed when this process ends."""
    global _temporary
    if _temporary is None:
        warnings.warn(
            f"compiled code cannot be kept in {directory()} ({reason}): this process builds it in a temporary "
            f"directory. Name a directory that can be written to in {VARIABLE}.",
            RuntimeWarning,
            stacklevel=2,
        )
    if _temporary is None or not _temporary.exists():  # a forked child may outlive the process that removes it
        _temporary = Path(tempfile.mkdtemp(prefix="pontryagin-"))
        atexit.register(_remove_temporary, _temporary, os.getpid())
    return _temporary


def _remove_temporary(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


# -- size ------------------------------------------------------------------------------------------------------------


def _limit() -> int:
    """The largest size, in bytes."""
    given = os.environ.get(SIZE_VARIABLE) or str(SIZE)
    try:
        limit = int(float(given) * MIB)
    except (ValueError, OverflowError):  # no number, NaN, infinity
        limit = -1
    if limit < 0:
        raise BackendError(f"{SIZE_VARIABLE} is {given!r}; give a number of MiB from 0, or unset it")
    return limit


def _files(place: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every file in the directory that is ours by its name."""
    with contextlib.suppress(FileNotFoundError), os.scandir(place) as found:
        for entry in found:
            if OURS.fullmatch(entry.name):
                with contextlib.suppress(FileNotFoundError):
                    yield Path(entry.path), entry.stat(follow_symlinks=False)


def evict(place: Path) -> None:
    """Removes what was used longest ago until the rest is no larger than the limit."""
    groups: dict[str, list[tuple[Path, os.stat_result]]] = {}
    for path, found in _files(place):
        groups.setdefault(path.name[:64], []).append((path, found))
    last_use = {digest: max(found.st_mtime for _, found in files) for digest, files in groups.items()}
    excess = sum(found.st_size for files in groups.values() for _, found in files) - _limit()
    for digest in sorted(groups, key=last_use.__getitem__):
        if excess <= 0 or last_use[digest] > time.time() - RECENT:
            return
        with contextlib.suppress(OSError):
            excess -= _remove([path for path, _ in groups[digest]])[1]


def _remove(paths: list[Path]) -> tuple[int, int]:
    files = size = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            held = path.lstat().st_size
            path.unlink()
            files, size = files + 1, size + held
    return files, size
