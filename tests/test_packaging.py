"""What is built and shipped: flags, dependencies, the contents of the source archive, the commands of the README."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pontryagin.backend.toolchain import include_directory

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def name_of(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match, requirement
    return match[0].lower()


def build_settings() -> str:
    """CMakeLists.txt and the presets, without comments."""
    lines = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8").splitlines()
    code = [line.split("#")[0] for line in lines]
    return "\n".join(code) + (ROOT / "CMakePresets.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("flag", ["-march=native", "-mtune=native", "-ffast-math", "-Ofast", "-ffinite-math-only"])
def test_build_never_uses_flag(flag: str) -> None:
    assert flag not in build_settings()


def test_build_does_not_need_torch() -> None:
    assert "torch" not in {name_of(r) for r in PROJECT["build-system"]["requires"]}
    assert "torch" not in build_settings().lower()


def test_core_links_neither_torch_nor_cuda() -> None:
    core = importlib.import_module("pontryagin._core")
    assert core.__file__ is not None
    content = Path(core.__file__).read_bytes()
    for library in (b"libtorch", b"libc10", b"libcuda", b"libcudart"):
        assert library not in content


def test_every_dependency_has_a_tested_version() -> None:
    project = PROJECT["project"]
    groups = [project["dependencies"], PROJECT["build-system"]["requires"], *project["optional-dependencies"].values()]
    wanted = {name_of(r) for group in groups for r in group} - {"pontryagin"}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {name_of(line) for line in lines if line and not line.startswith("#")}
    assert wanted == pinned


def test_constraints_name_exact_versions() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        assert line.startswith("#") or re.fullmatch(r'[\w.-]+==[\w.]+(; python_version (>=|<) "3\.\d+")?', line), line


@pytest.mark.parametrize("heading", ["## Try it", "## Test it"])
def test_readme_command_is_one_line(heading: str) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = text.split(f"\n{heading}\n", 1)[1].split("```sh\n", 1)[1].split("\n```", 1)[0]
    assert block.startswith("python3 -m venv .venv && ")
    assert "\n" not in block


def test_the_headers_are_installed_with_the_core() -> None:
    """A wheel is these files: what is missing here was not installed, or came after the last installation."""
    held = {path.name for path in include_directory().glob("pontryagin/*.hpp")}
    assert held == {path.name for path in (ROOT / "csrc" / "include" / "pontryagin").iterdir()}


def test_source_archive_holds_all_that_a_build_needs(tmp_path: Path) -> None:
    make = "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    subprocess.run(
        [sys.executable, "-c", make, str(tmp_path)], cwd=ROOT, env=environment, check=True, capture_output=True
    )
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        held = {name.split("/", 1)[1] for name in opened.getnames() if "/" in name}
    needed = {"pyproject.toml", "CMakeLists.txt", "LICENSE", "README.md", "pontryagin/py.typed", "pontryagin/_core.pyi"}
    for folder, pattern in (("csrc", "*.?pp"), ("csrc/cuda", "*"), ("pontryagin", "*.py")):
        needed |= {p.relative_to(ROOT).as_posix() for p in (ROOT / folder).rglob(pattern)}
    assert needed - held == set()
    assert not [name for name in held if name.endswith((".so", ".o", ".pyc"))]
