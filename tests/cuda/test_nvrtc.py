"""NVRTC makes machine code of the golden texts, within their budgets of registers; no GPU is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from cuda_golden import COMMAND, FOLDER, KERNELS, sweep_named, text_named

from pontryagin.backend import nvrtc
from pontryagin.backend.nvrtc import REPORT, find_nvrtc
from pontryagin.backend.toolchain import CompileError
from pontryagin.codegen.cuda_library import KERNEL
from pontryagin.errors import BackendError


def compiler() -> nvrtc.Nvrtc:
    try:
        return find_nvrtc()
    except BackendError as error:
        pytest.skip(f"{error} (the test extra brings it on Linux)")


@dataclass(frozen=True)
class Use:
    """What a thread uses: registers of 32 bits, bytes of stack, and bytes of registers that went to memory."""

    registers: int
    stack: int
    spilled: int


REPORTED = re.compile(
    rf"Compiling entry function '{KERNEL}'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers",
    re.DOTALL,
)


def use_of(log: str) -> Use:
    found = REPORTED.search(log)
    assert found, log
    stack, stored, loaded, registers = map(int, found.groups())
    return Use(registers, stack, stored + loaded)


#: A multiprocessor has 65536 registers: 128 a thread are 8 blocks of 64 threads at a time. What NVRTC 13.0 takes for
#: sm_80 and sm_90, and about a tenth more. A stack of 40 bytes is that of sine and cosine, for large angles.
BUDGET = {
    "cartpole": Use(132, 48, 0),
    "integrator": Use(42, 0, 0),
    "pendulum": Use(102, 48, 0),
    "slider": Use(44, 0, 0),
    "van_der_pol": Use(136, 48, 0),
    "quadrotor": Use(141, 48, 0),
    "lorenz": Use(77, 0, 0),
    "tanks": Use(255, 0, 0),
}


@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("name", KERNELS)
def test_golden_text_becomes_machine_code_within_its_budget(name, architecture):
    compiled = compiler().compile((FOLDER / f"{name}.cu").read_text(encoding="utf-8"), architecture, REPORT)
    assert compiled.cubin.startswith(b"\x7fELF")
    assert KERNEL.encode() in compiled.cubin
    used, budget = use_of(compiled.log), BUDGET[name]
    assert used.registers <= budget.registers, compiled.log
    assert used.stack <= budget.stack, compiled.log
    assert used.spilled <= budget.spilled, compiled.log


@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("name", ["cartpole", "pendulum", "slider", "van_der_pol"])
def test_points_become_machine_code_of_few_registers(name, architecture):
    used = use_of(compiler().compile(sweep_named(name).points_text(), architecture, REPORT).log)
    assert used.registers <= 64
    assert used.stack <= 48
    assert used.spilled == 0


@pytest.mark.parametrize("name", KERNELS)
def test_generator_prints_the_golden_text(name):
    text = (FOLDER / f"{name}.cu").read_text(encoding="utf-8")
    assert text_named(name) == text, f"look at what changed, then: {COMMAND}"


def test_every_golden_text_has_its_problem():
    assert {path.stem for path in FOLDER.glob("*.cu")} == set(KERNELS) == set(BUDGET)


def test_error_shows_the_compilers_own_lines():
    with pytest.raises(CompileError) as error:
        compiler().compile("__global__ void kernel() { wrong; }", 80)
    assert 'identifier "wrong" is undefined' in str(error.value)
    assert "--gpu-architecture=sm_80" in str(error.value)
    assert 'backend="torch"' in str(error.value)


def test_architecture_that_does_not_exist_is_an_error():
    with pytest.raises(CompileError, match="sm_33"):
        compiler().compile("", 33)


def test_compiler_knows_what_it_compiles_for():
    found = compiler()
    assert found.version >= (12, 0)
    assert {80, 90} <= set(found.architectures())


@pytest.fixture
def _looks_again(monkeypatch):
    monkeypatch.setattr(nvrtc, "find_nvrtc", nvrtc.find_nvrtc.__wrapped__)


@pytest.mark.usefixtures("_looks_again")
def test_missing_compiler_is_a_sentence(monkeypatch):
    monkeypatch.setattr(nvrtc, "pathfinder", None)
    with pytest.raises(BackendError, match="pip install cuda-pathfinder"):
        nvrtc.find_nvrtc()


@pytest.mark.usefixtures("_looks_again")
def test_library_that_is_not_found_is_a_sentence(monkeypatch):
    class Pathfinder:
        @staticmethod
        def load_nvidia_dynamic_lib(name):
            raise RuntimeError("nowhere")

    monkeypatch.setattr(nvrtc, "pathfinder", Pathfinder)
    with pytest.raises(BackendError, match="nvidia-cuda-nvrtc-cu12"):
        nvrtc.find_nvrtc()


def test_file_that_is_no_library_is_a_sentence(tmp_path):
    with pytest.raises(BackendError, match="does not open"):
        nvrtc.Nvrtc(str(tmp_path / "libnvrtc.so.13"))
