"""Machine code for GPUs on disk: found again, made again where it is damaged, never where others can write."""

from __future__ import annotations

import pytest

from pontryagin.backend import cache, cubins
from pontryagin.backend.nvrtc import Compiled
from pontryagin.errors import BackendError


class Compiler:
    """Stands for NVRTC, and counts."""

    version = (13, 0)

    def __init__(self) -> None:
        self.compiled: list[tuple[str, int]] = []

    def compile(self, text: str, architecture: int) -> Compiled:
        self.compiled.append((text, architecture))
        return Compiled(f"code of {text} for {architecture}".encode(), "", 0.0)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("PONTRYAGIN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cubins, "_held", {})
    return tmp_path / "cache"


def found(compiler: Compiler, architecture: int = 80, key: str = "text") -> bytes:
    return cubins.cubin_for(compiler, architecture, key, lambda: key)  # type: ignore[arg-type]


def test_code_is_compiled_once_for_each_process(folder):
    compiler = Compiler()
    assert found(compiler) == found(compiler) == b"code of text for 80"
    assert compiler.compiled == [("text", 80)]


def test_code_is_found_on_disk(folder, monkeypatch):
    compiler = Compiler()
    found(compiler)
    monkeypatch.setattr(cubins, "_held", {})  # another process
    assert found(compiler) == b"code of text for 80"
    assert len(compiler.compiled) == 1
    assert [path.suffix for path in folder.iterdir()] == [".cubin"]


def test_architecture_version_and_key_each_have_code_of_their_own(folder):
    compiler, other = Compiler(), Compiler()
    other.version = (13, 1)
    assert found(compiler, 90) != found(compiler, 80)
    found(compiler, key="another")
    found(other)
    assert len(compiler.compiled) == 3
    assert len(other.compiled) == 1


@pytest.mark.parametrize("damage", [b"", b"x" * 40], ids=["empty", "other bytes"])
def test_damaged_code_is_made_again(folder, monkeypatch, damage):
    compiler = Compiler()
    found(compiler)
    (path,) = folder.iterdir()
    path.write_bytes(damage)
    monkeypatch.setattr(cubins, "_held", {})
    assert found(compiler) == b"code of text for 80"
    assert len(compiler.compiled) == 2
    assert path.read_bytes().endswith(b"code of text for 80")


def test_code_of_others_is_refused(folder, monkeypatch):
    compiler = Compiler()
    found(compiler)
    folder.chmod(0o777)
    monkeypatch.setattr(cubins, "_held", {})
    with pytest.raises(BackendError, match="written to by others"):
        found(compiler)


def test_file_that_others_may_change_is_refused(folder, monkeypatch):
    compiler = Compiler()
    found(compiler)
    (path,) = folder.iterdir()
    path.chmod(0o666)
    monkeypatch.setattr(cubins, "_held", {})
    with pytest.raises(BackendError, match="written to by others"):
        found(compiler)


def test_where_nothing_can_be_kept_code_is_made_all_the_same(monkeypatch, tmp_path):
    monkeypatch.setenv("PONTRYAGIN_CACHE_DIR", "/proc/pontryagin")
    monkeypatch.setattr(cubins, "_held", {})
    assert found(Compiler()) == b"code of text for 80"


def test_cache_counts_and_clears_code_for_gpus(folder):
    found(Compiler())
    assert cache.contents().libraries == 1
    assert cache.clear()[0] == 1
    assert list(folder.iterdir()) == []
