"""The texts in csrc/tests/golden/cuda_newton: `python tests/cuda/newton_golden.py` writes them anew."""

from __future__ import annotations

from pathlib import Path

from newton_on_host import CASES

from pontryagin.backend.cuda_newton import text_of
from pontryagin.backend.newton_functions import NewtonFunctions

FOLDER = Path(__file__).resolve().parents[2] / "csrc" / "tests" / "golden" / "cuda_newton"
COMMAND = "python tests/cuda/newton_golden.py"

#: One with an end alone, and one with everything.
NAMES = ("cartpole", "everything")


def text_named(name: str) -> str:
    return text_of(NewtonFunctions(CASES[name]))


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in NAMES:
        path = FOLDER / f"{name}.cu"
        path.write_text(text_named(name), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
