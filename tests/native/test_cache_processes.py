"""Many processes with one cache, and processes that cannot write to it."""

from __future__ import annotations

import errno
import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cache_cases import digest_now, forget, outputs, placed, started, text

from pontryagin.backend import cache, files
from pontryagin.backend.private import created
from pontryagin.backend.toolchain import CompileError, find_compiler
from pontryagin.errors import BackendError

pytestmark = pytest.mark.usefixtures("home")


# -- where nothing can be written --------------------------------------------------------------------------------------


def fails_once(monkeypatch, owner, name: str, error: Exception) -> None:
    real, failed = getattr(owner, name), []

    def call(*arguments, **options):
        if not failed:
            failed.append(True)
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, call)


NOWHERE = {
    "a read-only disk": lambda m: fails_once(m, Path, "mkdir", OSError(errno.EROFS, "Read-only file system")),
    "a directory without rights": lambda m: fails_once(m, files.tempfile, "mkstemp", PermissionError("not yours")),
    "a disk that is full": lambda m: fails_once(m, os, "fsync", OSError(errno.ENOSPC, "No space left on device")),
}


@pytest.mark.parametrize("kind", NOWHERE)
def test_a_temporary_directory_serves_this_process_where_there_is(kind, home, monkeypatch, compiles):
    NOWHERE[kind](monkeypatch)
    with pytest.warns(RuntimeWarning, match=r"cannot be kept in .* PONTRYAGIN_CACHE_DIR"):
        library = cache.library_for(text())
    assert library.handle.answer() == 42 and home not in library.path.parents
    assert library.path.parent.stat().st_mode & 0o777 == 0o700
    forget(monkeypatch)
    assert cache.is_cached(text()) and not cache.library_for(text()).compiled


def test_a_compiler_that_finds_the_disk_full_is_tried_elsewhere(monkeypatch):
    fails_once(monkeypatch, cache, "compile_library", CompileError("No space left on device"))

    class Usage:
        free = 0

    monkeypatch.setattr("shutil.disk_usage", lambda place: Usage)
    with pytest.warns(RuntimeWarning, match="No space left"):
        assert cache.library_for(text()).compiled


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a directory in which nobody can create anything")
def test_the_temporary_directory_is_announced_once_and_gone_when_the_process_has_ended():
    code = (
        "with warnings.catch_warnings(record=True) as seen:\n"
        "    warnings.simplefilter('always')\n"
        "    paths = [cache.library_for(text(n)).path for n in (1, 2)]\n"
        "assert [w.category for w in seen] == [RuntimeWarning], seen\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    sys.exit(cache.library_for(text(1)).handle.answer() - 1)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert all(path.exists() for path in paths)\n"
        "print(*paths)\n"
    )
    paths = outputs(started(code, PONTRYAGIN_CACHE_DIR="/proc/pontryagin"))[0].split()
    assert len(paths) == 2 and not any(Path(path).parent.exists() for path in paths)


def test_where_nothing_at_all_can_be_written_the_error_names_both_places(monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    monkeypatch.setattr(Path, "mkdir", full)
    with (
        pytest.warns(RuntimeWarning),
        pytest.raises(BackendError, match=r"neither in .* nor in the temporary directory"),
    ):
        cache.library_for(text())


def test_a_library_in_a_directory_that_cannot_be_written_to_is_used(home, monkeypatch):
    placed(home, text())
    fails_once(monkeypatch, os, "utime", OSError(errno.EROFS, "Read-only file system"))
    assert not cache.library_for(text()).compiled


# -- many processes ----------------------------------------------------------------------------------------------------


def test_eight_processes_compile_once_and_all_open_it(tmp_path):
    counted = tmp_path / "compiles"
    compiler = tmp_path / "slow"  # so that all of them come while one compiles
    compiler.write_text(
        f'#!/bin/sh\ncase "$*" in *" -o "*) echo one >> {counted}; sleep 0.5;; esac\n'
        f'exec {find_compiler().command[0]} "$@"\n'
    )
    compiler.chmod(0o700)
    code = "library = cache.library_for(text(42)); print(library.compiled, library.handle.answer())"
    answers = outputs(*[started(code, CXX=str(compiler)) for _ in range(8)])
    assert sorted(answers) == ["False 42\n"] * 7 + ["True 42\n"]
    assert counted.read_text() == "one\n"


def test_processes_that_evict_and_clear_do_not_disturb_those_that_use():
    """Whoever finds its library gone builds it again, and in the worst case for itself alone."""
    user = (
        "warnings.simplefilter('ignore')\ncache.RECENT = 0.05\n"
        "for round in range(4):\n"
        "    for n in (1, 2, 3):\n"
        "        cache._opened.clear()\n"
        "        assert cache.library_for(text(n)).handle.answer() == n\n"
    )
    clearer = "import time\nfor round in range(40):\n    cache.clear()\n    time.sleep(0.03)\n"
    outputs(*[started(code, PONTRYAGIN_CACHE_SIZE="0") for code in (user, user, user, clearer)])


def test_threads_compile_once_too(compiles):
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(cache.library_for, [text()] * 4))
    assert len(compiles) == 1 and [library.handle.answer() for library in found] == [42] * 4


def test_who_waits_too_long_for_another_compiles_himself(home, monkeypatch):
    monkeypatch.setattr(cache, "TIMEOUT", 0.05)
    created(home)
    with open(home / f"{digest_now(text())}.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert cache.library_for(text()).compiled


def test_a_file_system_without_locks_serves_too(monkeypatch):
    def no_locks(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert cache.library_for(text()).compiled


def test_a_forked_child_uses_and_builds():
    code = (
        "known = cache.library_for(text(1))\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    assert cache.library_for(text(1)).handle is known.handle\n"
        "    sys.exit(cache.library_for(text(2)).handle.answer())\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2\n"
        "assert not cache.library_for(text(2)).compiled\n"
    )
    outputs(started(code))
