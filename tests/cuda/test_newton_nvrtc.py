"""NVRTC makes machine code of Newton's method, within its budgets; no GPU is asked."""

from __future__ import annotations

import pytest
from newton_golden import COMMAND, FOLDER, NAMES, text_named
from test_nvrtc import Use, compiler, use_of

from pontryagin.backend.nvrtc import REPORT
from pontryagin.codegen.cuda_library import KERNEL

#: The matrices of a problem lie in memory; registers hold what is at hand. On the stack are the addresses of its arrays
#: and numbers that are handed to functions. What NVRTC 13.0 takes, and a tenth more; a few numbers may be spilled.
BUDGET = {"cartpole": Use(184, 7400, 64), "everything": Use(184, 7400, 64)}

#: Bytes of machine code, most of which does not depend on the problem: what takes NVRTC its seconds.
LARGEST = 750_000

slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("cartpole", 90),
        pytest.param("cartpole", 80, marks=slow),
        pytest.param("everything", 90, marks=slow),
        pytest.param("everything", 80, marks=slow),
    ],
)
def test_golden_text_becomes_machine_code_within_its_budget(name, architecture):
    compiled = compiler().compile((FOLDER / f"{name}.cu").read_text(encoding="utf-8"), architecture, REPORT)
    assert KERNEL.encode() in compiled.cubin
    assert len(compiled.cubin) <= LARGEST
    used, budget = use_of(compiled.log), BUDGET[name]
    assert used.registers <= budget.registers, compiled.log
    assert used.stack <= budget.stack, compiled.log
    assert used.spilled <= budget.spilled, compiled.log


@pytest.mark.parametrize("name", NAMES)
def test_generator_prints_the_golden_text(name):
    text = (FOLDER / f"{name}.cu").read_text(encoding="utf-8")
    assert text_named(name) == text, f"look at what changed, then: {COMMAND}"


def test_every_golden_text_has_its_problem():
    assert {path.stem for path in FOLDER.glob("*.cu")} == set(NAMES) == set(BUDGET)
