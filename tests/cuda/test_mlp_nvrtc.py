"""NVRTC makes machine code of the golden kernels of perceptrons, within their budgets; no GPU is asked."""

from __future__ import annotations

import pytest
from mlp_golden import COMMAND, FOLDER, KERNELS, SHARED, sweeper, text_named
from test_nvrtc import Use, compiler, use_of

from pontryagin.backend.nvrtc import REPORT
from pontryagin.codegen.cuda_library import KERNEL

#: Registers, stack, spills: what NVRTC 13.0 takes for sm_80 and sm_90, and about a tenth more; bytes of shared memory.
#: A multiprocessor has 65536 registers and, on sm_80, 164 KiB of shared memory: of the first kernel four blocks of 128
#: threads run at a time, of the others one or two. The stack of 32 bytes is that of sine, for large angles.
BUDGET = {
    "narrow": (Use(126, 0, 0), 11_000),
    "middle": (Use(210, 0, 0), 126_000),
    "few_samples": (Use(185, 0, 0), 89_000),
    "deep_double": (Use(176, 0, 0), 20_000),
    "sums_in_memory": (Use(170, 0, 0), SHARED),
    "panels": (Use(255, 32, 0), SHARED),
}


@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("name", KERNELS)
def test_golden_kernel_becomes_machine_code_within_its_budget(name: str, architecture: int) -> None:
    compiled = compiler().compile((FOLDER / f"{name}.cu").read_text(encoding="utf-8"), architecture, REPORT)
    assert compiled.cubin.startswith(b"\x7fELF")
    assert KERNEL.encode() in compiled.cubin
    used, (budget, _) = use_of(compiled.log), BUDGET[name]
    assert used.registers <= budget.registers, compiled.log
    assert used.stack <= budget.stack, compiled.log
    assert used.spilled <= budget.spilled, compiled.log


@pytest.mark.parametrize("name", KERNELS)
def test_golden_kernel_keeps_to_its_shared_memory(name: str) -> None:
    sweeps = sweeper(name)
    blocks = sweeps.blocks(KERNELS[name].batch)
    assert sweeps._shared(blocks) <= BUDGET[name][1]
    assert 65536 // blocks.threads >= BUDGET[name][0].registers, "not even one block runs"


@pytest.mark.parametrize("name", KERNELS)
def test_generator_prints_the_golden_kernel(name: str) -> None:
    text = (FOLDER / f"{name}.cu").read_text(encoding="utf-8")
    assert text_named(name) == text, f"look at what changed, then: {COMMAND}"


def test_every_golden_kernel_has_its_net() -> None:
    assert {path.stem for path in FOLDER.glob("*.cu")} == set(KERNELS) == set(BUDGET)
