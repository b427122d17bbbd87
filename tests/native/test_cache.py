"""Libraries on disk: found again, never half a file, never another's, no larger than they may be, in many processes."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pontryagin.backend import cache, digest, files
from pontryagin.backend.private import created
from pontryagin.backend.toolchain import CompileError, find_compiler, include_directory
from pontryagin.errors import BackendError

PACKAGE = Path(cache.__file__).parents[1]
SOMEBODY = 65534
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


def text(answer: int = 42) -> str:
    return f'extern "C" __attribute__((visibility("default"))) int answer() {{ return {answer}; }}\n'


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A cache of its own for every test, in a process that has opened nothing."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("PONTRYAGIN_CACHE_DIR", str(folder))
    monkeypatch.delenv("PONTRYAGIN_CACHE_SIZE", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(cache, "_opened", {})
    monkeypatch.setattr(cache, "_temporary", None)
    return folder


@pytest.fixture
def compiles(monkeypatch):
    """What was compiled, in order."""
    done, real = [], cache.compile_library

    def compile_library(source, library, compiler):
        done.append(source)
        return real(source, library, compiler)

    monkeypatch.setattr(cache, "compile_library", compile_library)
    return done


def forget(monkeypatch) -> None:
    """As a new process would begin."""
    monkeypatch.setattr(cache, "_opened", {})


def digest_now(code: str) -> str:
    return digest.digest_of(code, find_compiler())


def placed(home: Path, code: str) -> Path:
    """A library on disk that this process has not opened."""
    name = digest_now(code)
    cache._build(created(home), name, code, find_compiler())
    return home / f"{name}.so"


def damage(path: Path, content: bytes) -> None:
    path.unlink()  # another file: this process may have mapped the old one
    path.write_bytes(content)


def started(code: str, **environment: str) -> subprocess.Popen[str]:
    """A process with the cache and without torch, which runs `code`."""
    head = (
        "import os, sys, types, warnings; package = sys.modules['pontryagin'] = types.ModuleType('pontryagin'); "
        f"package.__path__ = [{str(PACKAGE)!r}]; from pontryagin.backend import cache\n"
        f"def text(n): return {text(-1)!r}.replace('-1', str(n))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", head + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def outputs(*processes: subprocess.Popen[str]) -> list[str]:
    """What they print, after all of them have ended well."""
    said = [process.communicate(timeout=120) for process in processes]
    assert [err for process, (_, err) in zip(processes, said, strict=True) if process.returncode] == []
    return [out for out, _ in said]


# -- found again -------------------------------------------------------------------------------------------------------


def test_a_text_is_compiled_once_and_then_remembered(compiles):
    assert not cache.is_cached(text())
    first, again = cache.library_for(text()), cache.library_for(text())
    assert first.handle.answer() == 42 and first.compiled and first.seconds > 0
    assert again.handle is first.handle and not again.compiled and again.seconds == 0
    assert len(compiles) == 1 and cache.is_cached(text())


def test_another_process_finds_it_on_disk(compiles, monkeypatch):
    cache.library_for(text())
    forget(monkeypatch)
    assert cache.is_cached(text())
    found = cache.library_for(text())
    assert found.handle.answer() == 42 and not found.compiled and len(compiles) == 1


def test_the_text_lies_beside_its_library_and_nothing_else_does(home):
    library = cache.library_for(text()).path
    assert library.with_suffix(".cpp").read_text(encoding="utf-8") == text()
    assert {path.name for path in home.iterdir()} == {library.stem + end for end in (".so", ".cpp", ".sha256")}
    line = library.with_suffix(".sha256").read_text().split()
    assert re.fullmatch("[0-9a-f]{64}", line[0]) and line[1] == library.name


def changed_header(monkeypatch, tmp_path):
    copy = tmp_path / "include" / "pontryagin"
    copy.mkdir(parents=True)
    for path in include_directory().rglob("*.hpp"):
        (copy / path.name).write_bytes(path.read_bytes() + b"// changed\n" * (path.name == "step.hpp"))
    monkeypatch.setattr(digest, "include_directory", lambda: tmp_path / "include")


CHANGES = {
    "header": changed_header,
    "compiler": lambda monkeypatch, _: monkeypatch.setenv("CXX", f"{find_compiler().command[0]} -DNEW"),
    "flags": lambda monkeypatch, _: monkeypatch.setattr(digest, "FLAGS", ("-O2",)),
    "processor": lambda monkeypatch, _: monkeypatch.setattr(digest, "processor", lambda: "another"),
    "package": lambda monkeypatch, _: monkeypatch.setattr("importlib.metadata.version", lambda name: "99"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_digest_depends_on(change, monkeypatch, tmp_path):
    before = digest_now(text())
    assert digest_now(text()) == before != digest_now(text(43))
    digest._surroundings.cache_clear()
    CHANGES[change](monkeypatch, tmp_path)
    assert digest_now(text()) != before
    digest._surroundings.cache_clear()


def test_the_processor_is_described_by_what_does_not_change_from_moment_to_moment():
    described = digest.processor()
    assert described and "MHz" not in described and described == digest.processor.__wrapped__()


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("PONTRYAGIN_CACHE_DIR", "~/kept/../code", "HOME/code"),
        ("XDG_CACHE_HOME", "/caches", "/caches/pontryagin"),
        ("XDG_CACHE_HOME", "relative", "HOME/DEFAULT/pontryagin"),
        ("XDG_CACHE_HOME", "", "HOME/DEFAULT/pontryagin"),
    ],
)
def test_the_directory_is_what_the_environment_says(monkeypatch, tmp_path, variable, value, expected):
    for name in ("PONTRYAGIN_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, value)
    default = "Library/Caches" if sys.platform == "darwin" else ".cache"
    assert str(cache.directory()) == expected.replace("HOME", str(tmp_path)).replace("DEFAULT", default)


def test_without_a_home_the_error_names_the_variable(monkeypatch):
    def no_home():
        raise RuntimeError

    for name in ("PONTRYAGIN_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(BackendError, match="PONTRYAGIN_CACHE_DIR"):
        cache.directory()


# -- errors ------------------------------------------------------------------------------------------------------------


def test_a_text_that_does_not_compile_stays_for_people_to_read(home):
    with pytest.raises(CompileError, match=r"exit status 1.*"):
        cache.library_for("wrong\n")
    assert [path.read_text() for path in home.iterdir()] == ["wrong\n"]
    assert not cache.is_cached("wrong\n")


def test_without_a_compiler_nothing_is_cached_and_the_error_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert not cache.is_cached(text())
    with pytest.raises(BackendError, match=r"no C\+\+ compiler"):
        cache.library_for(text())


def test_a_library_that_was_built_and_does_not_open_says_what_the_loader_says():
    missing = 'extern "C" int elsewhere(); extern "C" int answer() { return elsewhere(); }\n'
    with pytest.raises(BackendError, match=r"(?s)does not open: .*elsewhere.*noexec"):
        cache.library_for(f"{missing}int (*kept)() = answer; __attribute__((constructor)) void start() {{ kept(); }}\n")


# -- damage ------------------------------------------------------------------------------------------------------------

DAMAGE = {
    "empty": lambda path: damage(path, b""),
    "cut off": lambda path: damage(path, path.read_bytes()[:-100]),
    "overwritten": lambda path: damage(path, b"garbage " * 1000),
    "without checksum": lambda path: path.with_suffix(".sha256").unlink(),
    "checksum damaged": lambda path: path.with_suffix(".sha256").write_bytes(b"\xff"),
    "without library": lambda path: path.unlink(),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_library_is_built_anew(home, kind):
    DAMAGE[kind](placed(home, text()))
    assert not cache.is_cached(text())
    library = cache.library_for(text())
    assert library.compiled and library.handle.answer() == 42 and cache.is_cached(text())


def test_a_library_that_the_loader_refuses_is_built_anew(home):
    path = placed(home, text())
    damage(path, b"garbage")
    path.with_suffix(".sha256").write_bytes(cache._checksum(path))
    assert cache.library_for(text()).handle.answer() == 42


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file.txt"

    def write(content: str, error: type[BaseException] | None = None) -> None:
        with files.appearing(path) as scratch:
            scratch.write_text(content)
            assert not path.exists()
            if error:
                raise error

    with pytest.raises(KeyboardInterrupt):
        write("half", KeyboardInterrupt)
    assert list(tmp_path.iterdir()) == []
    write("whole")
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]


# -- whose code is run -------------------------------------------------------------------------------------------------


def test_directory_and_files_are_private_under_any_umask(home):
    before = os.umask(0)
    try:
        library = cache.library_for(text()).path
    finally:
        os.umask(before)
    assert home.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in home.iterdir() if path != library} == {0o600}
    assert library.stat().st_mode & 0o777 == 0o700


def test_missing_directories_above_are_created_private_too(monkeypatch, tmp_path):
    monkeypatch.setenv("PONTRYAGIN_CACHE_DIR", str(tmp_path / "a" / "b"))
    before = os.umask(0)
    try:
        cache.library_for(text())
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


def refused(match: str) -> None:
    """Nothing is run, counted, or removed there."""
    assert not cache.is_cached(text())
    for action in (lambda: cache.library_for(text()), cache.contents, cache.clear):
        with pytest.raises(BackendError, match=match):
            action()


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_directory_that_others_can_write_to_is_refused(home, mode):
    placed(home, text())
    home.chmod(mode)
    refused(f"{home} can be written to by others .mode {mode:04o}.; chmod go-w")


def test_a_directory_below_one_that_others_can_write_to_is_refused_unless_it_is_sticky(home, tmp_path):
    placed(home, text())
    tmp_path.chmod(0o777)
    refused(f"no code is run from {home}: {tmp_path} can be written to by others")
    tmp_path.chmod(0o1777)
    assert cache.library_for(text()).handle.answer() == 42


def test_nothing_is_created_below_a_directory_that_others_can_write_to(home, tmp_path):
    tmp_path.chmod(0o777)
    refused("can be written to by others")
    assert not home.exists()


@only_root
def test_a_directory_of_somebody_else_is_refused(home):
    placed(home, text())
    os.chown(home, SOMEBODY, -1)
    refused(f"{home} belongs to user {SOMEBODY} .*name a directory of yours in PONTRYAGIN_CACHE_DIR")


@only_root
def test_a_directory_below_one_of_somebody_else_is_refused(home, tmp_path):
    placed(home, text())
    os.chown(tmp_path, SOMEBODY, -1)
    refused(f"{tmp_path} belongs to user {SOMEBODY}")


def test_a_symbolic_link_in_place_of_the_directory_is_refused(home, tmp_path):
    placed(home, text())
    home.rename(tmp_path / "elsewhere")
    home.symlink_to(tmp_path / "elsewhere")
    refused(f"{home} is a symbolic link")


def test_a_symbolic_link_further_up_is_followed_and_what_it_leads_to_is_looked_at(monkeypatch, tmp_path):
    (tmp_path / "open" / "own").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "open")
    monkeypatch.setenv("PONTRYAGIN_CACHE_DIR", str(tmp_path / "link" / "own"))
    assert cache.library_for(text()).path.parent == tmp_path / "open" / "own"
    forget(monkeypatch)
    (tmp_path / "open").chmod(0o777)
    refused(f"{tmp_path / 'open'} can be written to by others")


def test_a_file_in_place_of_the_directory_is_refused(home):
    home.write_text("")
    refused(f"{home} is no directory")


def test_a_library_that_others_can_write_to_is_refused(home):
    path = placed(home, text())
    path.chmod(0o722)
    with pytest.raises(BackendError, match=rf"{path}: it can be written to by others .mode 0722.; remove it"):
        cache.library_for(text())
    cache.clear()
    assert cache.library_for(text()).compiled


@only_root
def test_a_library_of_somebody_else_is_refused(home):
    path = placed(home, text())
    os.chown(path, SOMEBODY, -1)
    with pytest.raises(BackendError, match=rf"{path}: it belongs to user {SOMEBODY}"):
        cache.library_for(text())


def test_a_symbolic_link_in_place_of_a_library_is_refused(home, tmp_path):
    path = placed(home, text())
    path.rename(tmp_path / "elsewhere.so")
    path.symlink_to(tmp_path / "elsewhere.so")
    with pytest.raises(BackendError, match="it is no regular file; remove it"):
        cache.library_for(text())


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
        pytest.raises(BackendError, match="neither in .* nor in the temporary directory"),
    ):
        cache.library_for(text())


def test_a_library_in_a_directory_that_cannot_be_written_to_is_used(home, monkeypatch):
    placed(home, text())
    fails_once(monkeypatch, os, "utime", OSError(errno.EROFS, "Read-only file system"))
    assert not cache.library_for(text()).compiled


# -- size --------------------------------------------------------------------------------------------------------------


def old(path: Path, seconds: float) -> None:
    for part in path.parent.glob(f"{path.stem}.*"):
        os.utime(part, (time.time() - seconds,) * 2)


def test_what_was_used_longest_ago_goes_first(home, monkeypatch):
    oldest, newest, used = (placed(home, text(n)) for n in (1, 2, 3))
    for path, age in ((oldest, 5000), (newest, 3000), (used, 9000)):
        old(path, age)
    assert cache.library_for(text(3)).path == used  # a use, which makes it the newest
    size = cache.contents().size
    monkeypatch.setenv("PONTRYAGIN_CACHE_SIZE", str(size / cache.MIB))
    latest = cache.library_for(text(4)).path
    assert {path for path in home.iterdir() if path.suffix == ".so"} == {newest, used, latest}
    assert not list(home.glob(f"{oldest.stem}*")) and cache.contents().size <= size


def test_what_was_used_in_the_last_minutes_stays_however_small_the_limit(home, monkeypatch):
    placed(home, text(1))
    monkeypatch.setenv("PONTRYAGIN_CACHE_SIZE", "0")
    cache.library_for(text(2))
    assert cache.contents().libraries == 2


def test_files_of_others_are_neither_counted_nor_removed(home):
    placed(home, text())
    (home / "notes.txt").write_text("mine")
    assert cache.contents().libraries == 1
    assert cache.clear()[0] == 3 and [path.name for path in home.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("value", ["much", "-1", "nan", "inf"])
def test_a_size_that_is_no_size_is_refused_before_the_compiler_runs(monkeypatch, compiles, value):
    monkeypatch.setenv("PONTRYAGIN_CACHE_SIZE", value)
    with pytest.raises(BackendError, match=f"PONTRYAGIN_CACHE_SIZE is '{value}'; give a number of MiB"):
        cache.library_for(text())
    assert compiles == []


def test_clearing_says_what_it_removed_and_leaves_open_libraries_working(home):
    library = cache.library_for(text())
    size = sum(path.stat().st_size for path in home.iterdir())
    assert cache.contents().size == size
    assert cache.clear() == (3, size)
    assert cache.clear() == (0, 0) and library.handle.answer() == 42
    assert (cache.contents().libraries, cache.contents().size) == (0, 0)


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
