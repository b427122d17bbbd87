"""Libraries on disk: found again, never half a file, no larger than they may be."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import pytest
from cache_cases import digest_now, forget, placed, text

from pontryagin.backend import cache, digest, files
from pontryagin.backend.toolchain import CompileError, find_compiler, include_directory
from pontryagin.errors import BackendError

pytestmark = pytest.mark.usefixtures("home")


def damage(path: Path, content: bytes) -> None:
    path.unlink()  # another file: this process may have mapped the old one
    path.write_bytes(content)


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
