"""Kernels compiled ahead of time: when they are taken, how they are loaded, and what machine code they become."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ahead_emulator import FOLDER as AHEAD
from ahead_emulator import AheadBlockEmulator, AheadEmulator, kernel_names
from cuda_golden import KERNELS
from test_driver import CONTEXT, NO_CONTEXT, gpu  # noqa: F401 (a fixture)
from test_fused_mlp import make_case
from test_nvrtc import Use

from pontryagin import doctor, solve
from pontryagin.backend import cuda_ahead, cuda_ahead_device, cuda_ahead_mlp, cuda_interpreter, cuda_mlp, cuda_sweep
from pontryagin.backend.cuda_ahead import find_ahead
from pontryagin.backend.cuda_ahead_device import AheadDevice
from pontryagin.backend.cuda_ahead_mlp import AheadMLP
from pontryagin.backend.cuda_interpreter import InterpretedCudaSweep
from pontryagin.backend.cuda_launch import Job
from pontryagin.backend.cuda_programs import InterpreterJob
from pontryagin.backend.select import make_backend
from pontryagin.backend.toolchain import include_directory
from pontryagin.errors import BackendError
from pontryagin.neural.fused import _kernels
from pontryagin.problem import Problem
from pontryagin.tableau import RK4
from pontryagin.time_grid import TimeGrid


def refuses(*_: object) -> None:
    raise BackendError("NVRTC is missing")


def integrator() -> Problem:
    return KERNELS["integrator"][0]()


# ---- when they are taken --------------------------------------------------------------------------------------------


@pytest.fixture
def _no_nvrtc(monkeypatch):
    """NVRTC is missing, and what was compiled ahead of time runs on the host."""
    monkeypatch.setattr(cuda_sweep, "CudaDevice", refuses)
    monkeypatch.setattr(cuda_mlp, "CudaDevice", refuses)
    monkeypatch.setattr(cuda_interpreter, "AheadDevice", lambda *_: AheadEmulator())
    monkeypatch.setattr(cuda_ahead_mlp, "AheadDevice", lambda *_: AheadBlockEmulator())


@pytest.mark.usefixtures("_no_nvrtc")
def test_programs_are_interpreted_where_nvrtc_is_missing_and_the_reason_says_so():
    found = make_backend(integrator(), TimeGrid.uniform(3), control_kind="linear", backend="cuda")
    assert isinstance(found, InterpretedCudaSweep)
    assert found.reason == (
        "Kernels on a GPU were asked for. Kernels compiled ahead of time interpret them, because NVRTC is missing"
    )


@pytest.mark.usefixtures("_no_nvrtc")
def test_problem_is_solved_without_nvrtc():
    """From the public interface down, with the host in place of the GPU."""
    solution = solve(integrator(), backend="cuda", method="lbfgs", steps=20)
    assert solution.backend == "cuda"
    assert bool(solution.success)
    torch.testing.assert_close(solution.objective, torch.tensor(6.0).double(), rtol=1e-6, atol=0.0)


def test_formulas_too_long_for_nvrtc_are_interpreted(monkeypatch):
    monkeypatch.setattr(cuda_sweep, "LARGEST", 1)
    monkeypatch.setattr(cuda_interpreter, "AheadDevice", lambda *_: AheadEmulator())
    found = make_backend(integrator(), TimeGrid.uniform(3), control_kind="linear", backend="cuda")
    assert isinstance(found, InterpretedCudaSweep)
    assert "NVRTC takes minutes over more than 1" in found.reason


def test_refusal_is_that_of_nvrtc_where_nothing_was_compiled_ahead_of_time(monkeypatch):
    def none(*_: object) -> None:
        raise BackendError("nothing was compiled")

    monkeypatch.setattr(cuda_sweep, "CudaDevice", refuses)
    monkeypatch.setattr(cuda_mlp, "CudaDevice", refuses)
    monkeypatch.setattr(cuda_interpreter, "AheadDevice", none)
    monkeypatch.setattr(cuda_ahead_mlp, "AheadDevice", none)
    with pytest.raises(BackendError, match=r"^NVRTC is missing$"):
        make_backend(integrator(), TimeGrid.uniform(3), control_kind="linear", backend="cuda")
    with pytest.raises(BackendError, match=r"^NVRTC is missing$"):
        _kernels.__wrapped__(make_case().mlp, RK4, torch.float64, torch.device("cuda"), 0.0, 0.0)


@pytest.mark.usefixtures("_no_nvrtc")
def test_nets_are_swept_where_nvrtc_is_missing():
    found = _kernels.__wrapped__(make_case().mlp, RK4, torch.float64, torch.device("cuda"), 0.0, 0.0)
    assert isinstance(found, AheadMLP)


# ---- how they are loaded --------------------------------------------------------------------------------------------


@pytest.fixture
def ahead(gpu, monkeypatch):  # noqa: F811
    """A package that was built with kernels, on the driver of Python."""
    module = SimpleNamespace(toolkit=(13, 0), architectures=(80, 90), image=lambda name: f"image of {name}".encode())
    monkeypatch.setattr(cuda_ahead_device, "_modules", {})
    monkeypatch.setattr(cuda_ahead_device, "_kernels", {})
    monkeypatch.setattr(cuda_ahead.importlib, "import_module", lambda name: module)
    monkeypatch.setattr(cuda_ahead_device, "find_ahead", find_ahead.__wrapped__)
    monkeypatch.setattr(gpu, "named", [], raising=False)
    monkeypatch.setattr(
        gpu, "_cuModuleGetFunction", lambda function, module, name: gpu.named.append(name), raising=False
    )
    return SimpleNamespace(driver=gpu, module=module)


def test_image_is_loaded_once_for_each_device_and_kernels_by_name(ahead):
    for index in (0, 1, 0, 1):
        AheadDevice(torch.device("cuda", index), "interpreter").kernel("pontryagin_sweep_double")
    AheadDevice(torch.device("cuda", 0), "mlp").kernel("pontryagin_mlp_float")
    assert ahead.driver.calls.count("cuModuleLoadData") == 3
    assert ahead.driver.named == [b"pontryagin_sweep_double"] * 2 + [b"pontryagin_mlp_float"]


def test_kernel_is_launched_on_torchs_current_stream_with_its_whole_argument(ahead):
    device = AheadDevice(torch.device("cuda", 0), "interpreter")
    kernel = device.kernel("pontryagin_sweep_double")
    ahead.driver.calls.clear()
    device.launch_blocks(kernel, 3, 64, 0, InterpreterJob(job=Job(problems=130)))
    assert ahead.driver.launched == [(None, (3, 1, 1, 64, 1, 1), 0, 0xABC, 130, None)]
    assert ahead.driver.calls == [*CONTEXT, "cuLaunchKernel", *NO_CONTEXT]


def test_kernels_newer_than_the_driver_are_a_sentence(ahead):
    ahead.module.toolkit = (14, 1)
    with pytest.raises(BackendError, match=r"for CUDA 14\.1, the driver for CUDA 13\.0"):
        AheadDevice(torch.device("cuda", 0), "mlp")


def test_package_without_kernels_says_how_they_are_built(monkeypatch):
    monkeypatch.setattr(cuda_ahead, "MODULE", "pontryagin._cuda_of_nobody")
    with pytest.raises(BackendError, match=r"PONTRYAGIN_CUDA=ON"):
        find_ahead.__wrapped__()
    monkeypatch.setattr(doctor, "find_ahead", find_ahead.__wrapped__)
    assert doctor._kernels().startswith("none: the package was built without kernels for GPUs")


def test_doctor_names_the_architectures_that_kernels_are_for(monkeypatch):
    monkeypatch.setattr(doctor, "find_ahead", lambda: cuda_ahead.Ahead((13, 0), (80, 90), lambda name: b""))
    assert doctor._kernels().startswith("by nvcc 13.0, for sm_80, sm_90 and newer ones")


#: As csrc/cuda/CMakeLists.txt.
FLAGS = ("-std=c++17", "--fmad=false")

# ---- what they become -----------------------------------------------------------------------------------------------

#: What nvcc 13.0 takes for sm_80 and sm_90, and about a tenth more. The stack holds what functions are called with and
#: the terms of a stage; what is spilled is what the way into the machine saves.
BUDGET = {
    "sweep_float": Use(62, 116, 16),
    "sweep_double": Use(72, 140, 128),
    "points_float": Use(36, 80, 48),
    "points_double": Use(54, 72, 16),
    "mlp_float": Use(160, 316, 0),
    "mlp_double": Use(184, 456, 0),
}


def nvcc_report(file: str, architecture: int, folder: Path) -> str:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not on the path; NVRTC is for texts that are compiled at run time")
    command = [nvcc, *FLAGS, f"-arch=sm_{architecture}", "-Xptxas=-v", f"-I{include_directory()}", "-cubin"]
    run = subprocess.run([*command, AHEAD / f"{file}.cu", "-o", folder / "kernels"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stderr


@pytest.mark.slow  # CI runs it beside the wheel that has these kernels
@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("file", ["interpreter", "mlp"])
def test_kernels_become_machine_code_within_their_budgets(file, architecture, tmp_path):
    report = nvcc_report(file, architecture, tmp_path)
    for kernel in kernel_names(file):
        found = re.search(
            rf"entry function '{kernel}'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
            r".*?Used (\d+) registers",
            report,
            re.DOTALL,
        )
        assert found, report
        stack, stored, loaded, registers = map(int, found.groups())
        used, budget = Use(registers, stack, stored + loaded), BUDGET[kernel.removeprefix("pontryagin_")]
        within = used.registers <= budget.registers and used.stack <= budget.stack and used.spilled <= budget.spilled
        assert within, f"{kernel}: {used}, and the budget is {budget}"


def test_every_kernel_has_its_budget():
    assert {f"pontryagin_{name}" for name in BUDGET} == {*kernel_names("interpreter"), *kernel_names("mlp")}


def test_module_holds_every_kernel_for_every_architecture():
    try:
        found = find_ahead.__wrapped__()
    except BackendError as error:
        pytest.skip(str(error))
    assert {80, 90} <= set(found.architectures)
    for file in ("interpreter", "mlp"):
        image = found.image(file)
        assert image[:4] == b"\x50\xed\x55\xba"  # a fat binary
    with pytest.raises(ValueError, match="expected one of"):
        found.image("nothing")
