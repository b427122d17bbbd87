"""What the tests of the cache share: a text, its library on disk, and processes that ask for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pontryagin.backend import cache, digest
from pontryagin.backend.private import created
from pontryagin.backend.toolchain import find_compiler

PACKAGE = Path(cache.__file__).parents[1]


def text(answer: int = 42) -> str:
    return f'extern "C" __attribute__((visibility("default"))) int answer() {{ return {answer}; }}\n'


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
