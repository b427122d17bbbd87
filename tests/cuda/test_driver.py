"""What is asked of the driver, and what its refusals become: on a driver of Python, since there is no GPU."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cuda_golden import KERNELS

from pontryagin.backend import cubins, cuda_driver, select
from pontryagin.backend.cuda_driver import CudaDevice, Driver, matched
from pontryagin.backend.cuda_launch import Job
from pontryagin.backend.cuda_newton import NewtonKernel, text_of
from pontryagin.backend.cuda_newton_job import NewtonJob
from pontryagin.backend.newton_functions import NewtonFunctions
from pontryagin.backend.nvrtc import Compiled
from pontryagin.backend.select import make_backend
from pontryagin.errors import BackendError
from pontryagin.time_grid import TimeGrid

NO_DEVICE, OUT_OF_MEMORY = 100, 2
NAMES = {NO_DEVICE: b"CUDA_ERROR_NO_DEVICE", OUT_OF_MEMORY: b"CUDA_ERROR_OUT_OF_MEMORY"}


class Libcuda:
    """The functions of libcuda that are called; `fails` maps names to codes, `calls` holds names in order."""

    def __init__(self, version: int = 13000, **fails: int) -> None:
        self.version, self.fails = version, fails
        self.calls: list[str] = []
        self.launched: list[tuple[Any, ...]] = []
        self.allowed: list[tuple[Any, ...]] = []
        self.arguments: list[tuple[int, ...]] = []

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cu"):
            raise AttributeError(name)

        def call(*arguments: Any) -> int:
            self.calls.append(name)
            if name in self.fails:
                return self.fails[name]
            getattr(self, f"_{name}", lambda *_: None)(*arguments)
            return 0

        return call

    def _cuDriverGetVersion(self, version: Any) -> None:
        version._obj.value = self.version

    def _cuGetErrorName(self, code: int, name: Any) -> None:
        name._obj.value = NAMES.get(code)

    def _cuGetErrorString(self, code: int, text: Any) -> None:
        text._obj.value = b"as the driver puts it"

    def _cuModuleGetFunction(self, function: Any, module: Any, name: bytes) -> None:
        assert name == b"pontryagin_kernel"
        function._obj.value = 7

    def _cuDeviceGetAttribute(self, value: Any, code: int, device: Any) -> None:
        value._obj.value = {16: 132, 97: 232448}[code]

    def _cuFuncSetAttribute(self, function: Any, code: int, value: int) -> None:
        self.allowed.append((function.value, code, value))

    def _cuOccupancyMaxActiveBlocksPerMultiprocessor(self, count: Any, *_: Any) -> None:
        count._obj.value = 3

    def _cuLaunchKernel(self, function: Any, *rest: Any) -> None:
        *size, shared, stream, parameters, extra = rest
        self.arguments.append(tuple(parameters))
        problems = ctypes.cast(parameters[0], ctypes.POINTER(Job)).contents.problems
        self.launched.append((function.value, tuple(size), shared, stream.value, problems, extra))


CONTEXT = ["cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuCtxPushCurrent_v2"]
NO_CONTEXT = ["cuCtxPopCurrent_v2", "cuDevicePrimaryCtxRelease_v2"]


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """torch says that there is a GPU, and its driver is the one here."""
    library = Libcuda()
    compiler = SimpleNamespace(
        version=(13, 0),
        architectures=lambda: (80, 90),
        compile=lambda text, architecture: Compiled(f"{text}{architecture}".encode(), "", 0.0),
    )
    monkeypatch.setenv("PONTRYAGIN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cubins, "_held", {})
    monkeypatch.setattr(cuda_driver, "_kernels", {})
    monkeypatch.setattr(cuda_driver, "find_driver", lambda: Driver(library))
    monkeypatch.setattr(cuda_driver, "find_nvrtc", lambda: compiler)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(total_memory=1000))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=0xABC))
    return library


def test_kernel_is_launched_on_torchs_current_stream_in_torchs_context(gpu):
    device = CudaDevice(torch.device("cuda"))
    assert (device.memory, device.architecture, device.room) == (torch.device("cuda", 1), 90, 250)
    kernel = device.kernel("key", lambda: "text")
    gpu.calls.clear()
    device.launch(kernel, 130, Job(problems=130))
    assert gpu.launched == [(7, (3, 1, 1, 64, 1, 1), 0, 0xABC, 130, None)]
    assert gpu.calls == [*CONTEXT, "cuLaunchKernel", *NO_CONTEXT]


def test_kernel_is_loaded_once_for_each_device(gpu):
    for index in (0, 1, 0, 1):
        CudaDevice(torch.device("cuda", index)).kernel("key", lambda: "text")
    assert gpu.calls.count("cuModuleLoadData") == 2


def test_newton_is_a_kernel_like_others(gpu):
    """Made once for a problem and a device, of a text of its own, and launched with its own argument."""
    texts = []
    device = CudaDevice(torch.device("cuda", 0))
    device.nvrtc.compile = lambda text, architecture: texts.append(text) or Compiled(b"code", "", 0.0)
    functions = NewtonFunctions(KERNELS["pendulum"][0]())
    one, other = (NewtonKernel(functions, device).kernel for _ in range(2))
    assert one is other
    assert texts == [text_of(functions)]
    job = NewtonJob(threads=130)
    device.launch(one, 130, job)
    (function, size, *_), (address,) = gpu.launched[-1], gpu.arguments[-1]
    assert (function, size, address) == (7, (3, 1, 1, 64, 1, 1), ctypes.addressof(job))


def test_refusal_carries_the_name_of_its_code_and_leaves_no_context(gpu):
    gpu.fails["cuLaunchKernel"] = OUT_OF_MEMORY
    device = CudaDevice(torch.device("cuda", 0))
    kernel = device.kernel("key", lambda: "text")
    gpu.calls.clear()
    with pytest.raises(BackendError, match=r"cuLaunchKernel .* CUDA_ERROR_OUT_OF_MEMORY \(as the driver puts it\)"):
        device.launch(kernel, 1, Job(problems=1))
    assert gpu.calls[-2:] == NO_CONTEXT


def test_device_that_the_compiler_does_not_know_is_a_sentence(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (7, 0))
    with pytest.raises(BackendError, match=r"NVRTC 13\.0 makes no code for sm_70"):
        CudaDevice(torch.device("cuda", 0))


def test_code_without_a_name_is_a_number():
    with pytest.raises(BackendError, match="cuInit of the CUDA driver failed with error 999"):
        Driver(Libcuda(cuInit=999))


def test_driver_without_a_gpu_is_a_sentence():
    with pytest.raises(BackendError, match="CUDA_ERROR_NO_DEVICE"):
        Driver(Libcuda(cuInit=NO_DEVICE))


def test_machine_without_a_driver_is_a_sentence(monkeypatch):
    monkeypatch.setattr(cuda_driver, "LIBRARY", "libcuda-of-nobody.so")
    with pytest.raises(BackendError, match="no NVIDIA driver"):
        cuda_driver.find_driver.__wrapped__()


@pytest.mark.parametrize(("nvrtc", "version", "fits"), [(13, 13000, True), (12, 13000, True), (13, 12080, False)])
def test_compiler_must_not_be_newer_than_the_driver(nvrtc, version, fits):
    compiler, driver = SimpleNamespace(version=(nvrtc, 0)), Driver(Libcuda(version))
    if fits:
        assert matched(compiler, driver) is compiler  # type: ignore[arg-type]
    else:
        with pytest.raises(BackendError, match=r"CUDA 12\.8.*nvidia-cuda-nvrtc-cu12"):
            matched(compiler, driver)  # type: ignore[arg-type]


def test_backend_cuda_without_a_gpu_is_a_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match=r'torch .* backend="cuda" cannot run; use "auto"'):
        make_backend(KERNELS["integrator"][0](), TimeGrid.uniform(2), control_kind="linear", backend="cuda")


def test_auto_takes_torch_where_kernels_cannot_be_made_and_says_why(monkeypatch):
    """The tensors are on a GPU and NVRTC is missing."""

    def missing() -> None:
        raise BackendError("NVRTC is missing")

    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(cuda_driver, "find_driver", missing)
    monkeypatch.setattr(select, "TorchSweep", lambda *_, **keywords: chosen.append(keywords["reason"]))
    make_backend(KERNELS["integrator"][0](), TimeGrid.uniform(3), control_kind="linear", device="cuda")
    assert chosen == ["Kernels cannot be made for cuda: NVRTC is missing"]
