"""The system's compiler: how it is found, what it is asked, and what its failures say."""

from __future__ import annotations

import ctypes
import os
import shlex
import stat
import time
from pathlib import Path

import pytest

from pontryagin.backend import toolchain
from pontryagin.backend.toolchain import CompileError, Compiler, compile_library, find_compiler, flags
from pontryagin.errors import BackendError

SEEN = 'extern "C" __attribute__((visibility("default")))'
ANSWER = f"{SEEN} int answer() {{ return 42; }}\n"


@pytest.fixture(autouse=True)
def _no_compiler_is_named(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)


def script(path: Path, lines: str) -> str:
    """A compiler that does something before, or in place of, what the real one does."""
    real = shlex.join(find_compiler().command)
    path.write_text(f'#!/bin/sh\n{lines}\nexec {real} "$@"\n', encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def compiled(tmp_path: Path, text: str, compiler: Compiler, **options: float) -> ctypes.CDLL:
    source, library = tmp_path / "text.cpp", tmp_path / "text.so"
    source.write_text(text, encoding="utf-8")
    assert compile_library(source, library, compiler, **options) > 0
    return ctypes.CDLL(str(library))


# -- finding -----------------------------------------------------------------------------------------------------------


def test_the_compiler_of_the_path_answers():
    found = find_compiler()
    assert Path(found.command[0]).is_absolute() and found.version and "-" in found.target


def test_a_compiler_is_examined_once_for_each_value_of_CXX_and_PATH(monkeypatch):
    found = find_compiler()
    monkeypatch.setattr(toolchain, "_answer", lambda command: pytest.fail("asked again"))
    assert find_compiler() is found


def test_CXX_may_hold_arguments(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", f"{find_compiler().command[0]} '-DTHE_ANSWER=40 + 3'")
    compiler = find_compiler()
    assert compiler.command[1:] == ("-DTHE_ANSWER=40 + 3",)
    assert compiled(tmp_path, f"{SEEN} int answer() {{ return THE_ANSWER; }}\n", compiler).answer() == 43


@pytest.mark.parametrize("named", ["no-such-compiler", "'c++", "true"], ids=["missing", "half quoted", "no compiler"])
def test_a_CXX_that_does_not_run_is_an_error_and_no_other_compiler_is_taken(monkeypatch, named):
    monkeypatch.setenv("CXX", named)
    with pytest.raises(BackendError, match=r"CXX is .* which is no C\+\+ compiler .*correct it, or unset it"):
        find_compiler()


def test_without_a_compiler_the_error_says_what_was_tried_and_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendError, match=r"c\+\+ is not on PATH; g\+\+ .*; clang\+\+ .*apt install g\+\+.* CXX"):
        find_compiler()


def test_the_first_command_that_answers_is_taken(monkeypatch, tmp_path):
    script(tmp_path / "g++", "")
    (tmp_path / "c++").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "c++").chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_compiler().command == (str(tmp_path / "g++"),)


# -- flags -------------------------------------------------------------------------------------------------------------


def test_flags_keep_results_equal_to_those_of_the_core():
    chosen = flags(find_compiler())
    assert {"-ffp-contract=off", "-std=c++17", "-fvisibility=hidden"} <= set(chosen)
    assert not {"-ffast-math", "-Ofast", "-ffinite-math-only"} & set(chosen)


@pytest.mark.parametrize("refused", ["-march=native", "-mcpu=native", "-m*=native"])
def test_the_flag_for_this_processor_is_one_that_the_compiler_takes(tmp_path, refused):
    real = find_compiler()
    command = script(tmp_path / "c++", f'for word in "$@"; do case $word in {refused}) exit 1;; esac; done; exit 0')
    chosen = flags(Compiler((command,), "version", real.target))
    natives = [flag for flag in chosen if flag.endswith("=native")]
    assert refused not in chosen and len(natives) == (0 if "*" in refused else 1)


def test_a_compiler_that_cannot_compile_nothing_says_why(tmp_path):
    command = script(tmp_path / "c++", "echo cannot execute cc1plus; exit 1")
    with pytest.raises(CompileError, match="cannot execute cc1plus"):
        flags(Compiler((command,), "version", "target"))


# -- compiling ---------------------------------------------------------------------------------------------------------


def test_a_text_becomes_a_library_that_includes_the_headers_of_the_package(tmp_path):
    library = compiled(tmp_path, f'#include "pontryagin/pack.hpp"\n{ANSWER}', find_compiler())
    assert library.answer() == 42


def test_nothing_but_what_is_marked_is_seen_from_outside(tmp_path):
    text = f'{SEEN} int seen() {{ return 1; }}\nextern "C" int hidden() {{ return 2; }}\n'
    library = compiled(tmp_path, text, find_compiler())
    assert library.seen() == 1
    with pytest.raises(AttributeError):
        library.hidden  # noqa: B018


def test_an_error_holds_the_command_the_lines_of_the_compiler_and_what_to_do(tmp_path):
    with pytest.raises(
        CompileError, match=r"(?s)exit status 1.*-O3.*text\.cpp.*missing_name.*interpreter.*CXX"
    ) as caught:
        compiled(tmp_path, "int answer() { return missing_name; }\n", find_compiler())
    assert isinstance(caught.value, BackendError)


def test_an_error_holds_no_more_than_sixty_lines_of_the_compiler(tmp_path):
    with pytest.raises(CompileError, match=r"\.\.\. and \d+ more lines") as caught:
        compiled(tmp_path, "#error no\n" * 200, find_compiler())
    assert len(str(caught.value).splitlines()) == toolchain.LINES + 4


def test_a_compiler_that_takes_too_long_is_ended_with_its_children(tmp_path):
    command = script(tmp_path / "c++", f'case "$*" in *" -o "*) sleep 60 & echo $! > {tmp_path}/child; wait;; esac')
    compiler = Compiler((command,), "version", find_compiler().target)
    flags(compiler)
    with pytest.raises(CompileError, match=r"took longer than 0\.5 seconds"):
        compiled(tmp_path, ANSWER, compiler, timeout=0.5)
    child = int((tmp_path / "child").read_text())
    ended = time.monotonic() + 30  # a killed process goes when the system finds time for it
    while runs(child) and time.monotonic() < ended:
        time.sleep(0.01)
    assert not runs(child)


def runs(process: int) -> bool:
    """Whether the process is there and not a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_command_that_cannot_be_started_is_a_compile_error(tmp_path):
    with pytest.raises(CompileError, match="cannot be started"):
        compiled(tmp_path, ANSWER, Compiler((str(tmp_path / "gone"),), "version", "target"))


def test_missing_headers_are_an_error_that_says_where_they_belong(monkeypatch, tmp_path):
    class Spec:
        origin = str(tmp_path / "_core.so")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: Spec)
    with pytest.raises(BackendError, match=r"headers are missing from .*include; reinstall"):
        toolchain.include_directory.__wrapped__()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendError, match="_core is missing"):
        toolchain.include_directory.__wrapped__()


def test_trying_out_leaves_nothing_behind(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    toolchain.try_out(find_compiler())
    assert os.listdir(tmp_path) == []
