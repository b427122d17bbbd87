"""Who may import whom: lower layers never import higher ones. Reads the source; imports none of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "pontryagin"

#: The layer of every module or folder of the package. A module may import its own layer and those below.
LAYER = {
    # words that all use
    **dict.fromkeys(["errors", "status", "records", "figures"], 0),
    # the problem as data, and formulas as graphs
    **dict.fromkeys(["values", "time_grid", "tableau", "control_set", "control", "functions", "trial"], 1),
    **dict.fromkeys(["data", "parameters", "horizon", "problem", "graph", "mlp"], 1),
    # the principle, and the sweep as others see it
    **dict.fromkeys(["hamiltonian", "second_order", "step_equations", "pointwise", "codegen"], 2),
    **dict.fromkeys(["sweep", "shooting", "sweep_arguments", "instances", "branches", "minimum"], 2),
    # where sweeps run, and the methods that ask for them
    **dict.fromkeys(["backend", "diagnose", "optim"], 3),
    # networks as vector fields
    "neural": 4,
    # what is made of an answer
    **dict.fromkeys(["answer", "feedback", "guess", "plot", "progress", "reintegrate", "show", "store", "verify"], 4),
    # composition
    **dict.fromkeys(["compiled_newton", "evaluate", "found", "mesh", "newton", "newton_answer"], 5),
    **dict.fromkeys(["on_grid", "apart", "refine", "shown", "solution", "solve"], 5),
    # for people
    **dict.fromkeys(["problems", "doctor", "cli_solve", "cli", "__main__"], 6),
}

#: Folders that may import less than their layer allows.
ALLOWED = {
    "graph": {"errors"},
    "codegen": {"errors", "graph", "tableau", "mlp"},
    "optim": {"errors", "status", "control_set", "sweep", "shooting"},
    "problems": {"errors", "problem"},
    "neural": {"errors", "figures", "tableau", "time_grid", "mlp", "backend"},
}
FORBIDDEN = {"backend": {"optim"}, "diagnose": {"optim"}}

#: Imports inside functions: optional packages, and what only one command needs. (importer, imported)
LATE = {("figures", "matplotlib"), ("cli", "pontryagin.cli_solve")}

#: Standard modules that reach out of the process, and the only places that may.
OUTSIDE = {"subprocess": {"backend", "doctor"}, "ctypes": {"backend"}, "tempfile": {"backend"}, "shutil": {"backend"}}


@dataclass(frozen=True)
class Import:
    importer: str  # "optim.gradient"
    imported: str  # "pontryagin.sweep", "torch"
    line: int
    late: bool  # inside a function

    @property
    def home(self) -> str:
        return self.importer.split(".")[0]

    @property
    def target(self) -> str | None:
        """The module or folder of the package that is imported, "" for the package itself, None for other packages."""
        head, *rest = self.imported.split(".")
        return None if head != "pontryagin" else rest[0] if rest else ""

    def __str__(self) -> str:
        return f"pontryagin.{self.importer}, line {self.line}, imports {self.imported}"


def module_names() -> dict[str, Path]:
    files = sorted(PACKAGE.rglob("*.py"))
    names = {}
    for path in files:
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = module_names()


def exists(dotted: str) -> bool:
    return dotted in MODULES or dotted.startswith(("_core", "_cuda"))


def imports_of(name: str, path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {
        id(child)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, alias.name, node.lineno, id(node) in late)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}, line {node.lineno}: write imports in full, not relative"
            base = node.module or ""
            for alias in node.names:
                inner = f"{base}.{alias.name}".removeprefix("pontryagin.")
                whole = base.startswith("pontryagin") and exists(inner)
                yield Import(name, f"{base}.{alias.name}" if whole else base, node.lineno, id(node) in late)


IMPORTS = [i for name, path in MODULES.items() if name for i in imports_of(name, path)]
INTERNAL = [i for i in IMPORTS if i.target is not None]


def listed(problems: list[str]) -> str:
    return "\n".join(["", *problems])


def test_every_module_has_a_layer() -> None:
    homes = {name.split(".")[0] for name in MODULES if name}
    assert homes - LAYER.keys() == set(), "give each new module a layer in tests/test_layering.py"


def test_no_layer_imports_a_higher_one() -> None:
    wrong = [str(i) for i in INTERNAL if i.target in LAYER and LAYER[i.target] > LAYER.get(i.home, 9)]
    assert not wrong, listed(wrong)


def test_modules_never_import_the_package_itself() -> None:
    wrong = [str(i) for i in INTERNAL if i.target == "" and not i.late]
    assert not wrong, listed(wrong)


@pytest.mark.parametrize("home", ALLOWED)
def test_folder_imports_only_what_it_may_know(home: str) -> None:
    wrong = [str(i) for i in INTERNAL if i.home == home and i.target not in {home, *ALLOWED[home]}]
    assert not wrong, listed(wrong)


def test_backends_know_no_methods() -> None:
    wrong = [str(i) for i in INTERNAL if i.target in FORBIDDEN.get(i.home, set())]
    assert not wrong, listed(wrong)


def test_only_backends_touch_the_compiled_core() -> None:
    wrong = [str(i) for i in INTERNAL if i.target in ("_core", "_cuda") and i.home != "backend"]
    assert not wrong, listed(wrong)


def test_only_backends_reach_out_of_the_process() -> None:
    wrong = [str(i) for i in IMPORTS if i.home not in OUTSIDE.get(i.imported.split(".")[0], {i.home})]
    assert not wrong, listed(wrong)


def test_imports_stand_at_the_top_of_the_file() -> None:
    wrong = [str(i) for i in IMPORTS if i.late and (i.home, i.imported) not in LATE]
    assert not wrong, listed(wrong)


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    edges = {name: {i.imported.removeprefix("pontryagin.") for i in INTERNAL if i.importer == name} for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        for target in sorted(edges.get(name, set()) & MODULES.keys()):
            # A package's __init__ lists its members, which may use their siblings.
            if target != name and not (name and target.startswith(f"{name}.")):
                visit(target, (*path, name))
        done.add(name)

    for name in MODULES:
        if name:
            visit(name, ())


# ---- the files themselves -------------------------------------------------------------------------------------------

FOLDERS = ["pontryagin", "csrc", "tests", "examples", "benchmarks", ".ci"]
SOURCE = {".py", ".pyi", ".hpp", ".cpp", ".cu", ".cuh"}


def source_files() -> list[Path]:
    return [p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("*")) if p.suffix in SOURCE]


def text_files() -> list[Path]:
    top = [p for p in sorted(ROOT.iterdir()) if p.suffix in {".md", ".toml", ".txt", ".json", ".yaml"}]
    return [*top, *source_files(), ROOT / ".ci" / "run"]


def test_no_file_is_longer_than_500_lines() -> None:
    long = [f"{p.relative_to(ROOT)}: {n}" for p in source_files() if (n := len(p.read_text().splitlines())) > 500]
    assert not long, "which two ideas are in there?" + listed(long)


def test_no_file_names_what_stands_outside_the_project() -> None:
    outside = re.compile(r"(?:^|[^\w.$}/])/(?:w[o]rk|t[m]p|r[o]ot|h[o]me|opt)/|\.\./sh[a]red|\bissue #?\d")
    wrong = [
        f"{path.relative_to(ROOT)}, line {number}: {line.strip()}"
        for path in text_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if outside.search(line)
    ]
    assert not wrong, listed(wrong)
