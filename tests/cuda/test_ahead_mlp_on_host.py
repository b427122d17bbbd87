"""Perceptrons of any shape by the kernel that is compiled ahead of time, on the host: what autograd gives."""

from __future__ import annotations

import ctypes
import functools
import re
from pathlib import Path

import mlp_on_host
import pytest
import torch
from ahead_emulator import AheadBlockEmulator, library
from test_fused_mlp import SHAPES, make_case
from test_mlp_on_host import DEEP, assert_as_expected

from pontryagin.backend import cuda_ahead_mlp
from pontryagin.backend.cuda_ahead_mlp import AheadMLP, AnyMlpJob
from pontryagin.backend.cuda_mlp import CudaMLP
from pontryagin.backend.toolchain import include_directory
from pontryagin.errors import BackendError
from pontryagin.tableau import TABLEAUS

kernels = functools.partial(mlp_on_host.kernels, tier=AheadMLP, emulator=AheadBlockEmulator)


@pytest.fixture(autouse=True)
def _ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks of the kernels that are compiled for one net, of those for all."""
    monkeypatch.setattr(mlp_on_host, "kernels", kernels)


@pytest.mark.parametrize("scheme", ["euler", "dormand_prince"])
@pytest.mark.parametrize("name", DEEP)
def test_every_activation_and_tableau(name: str, scheme: str) -> None:
    case = make_case((3, 7, 5, 3), **DEEP[name], tableau=TABLEAUS[scheme], kind="per stage", batch=11)
    assert_as_expected(case)


@pytest.mark.parametrize("name", ["a matrix without bias", "one unit", "five components", "wide at the end"])
def test_every_width(name: str) -> None:
    assert_as_expected(make_case(**SHAPES[name], kind="per step", batch=19))


def test_running_costs_of_state_and_velocity() -> None:
    assert_as_expected(make_case(**SHAPES["wide at the end"], batch=19, state_cost=0.8, velocity_cost=0.3))


def test_float32_within_its_rounding() -> None:
    assert_as_expected(make_case((2, 64, 2), batch=70, dtype=torch.float32, state_cost=0.5, velocity_cost=0.25), 3e-5)


def test_segments_and_few_blocks_change_nothing() -> None:
    case = make_case((2, 7, 2), batch=70, kind="per step")
    assert_as_expected(case, processors=2, room=15_000)


def test_kernels_for_one_net_give_the_same_bits_where_sums_lie_in_memory() -> None:
    """Products and sums are taken in the same order."""
    case = make_case((20, 24, 20), batch=19)
    specific = mlp_on_host.poisoned(CudaMLP)(
        case.mlp, case.tableau, case.x0.dtype, device=torch.device("cpu"), on=mlp_on_host.BlockEmulator(1)
    )
    found, wanted = (sweeps.rollout(*case.arguments).final_state for sweeps in (kernels(case, processors=1), specific))
    assert torch.equal(found, wanted)


def test_net_that_does_not_fit_is_a_sentence() -> None:
    with pytest.raises(BackendError, match=r"more than the 900 bytes of shared memory"):
        kernels(make_case((2, 7, 2)), shared_limit=900)
    with pytest.raises(BackendError, match=r"up to 8 layers"):
        kernels(make_case((2,) * 10, activations=("tanh",) * 9))


def test_argument_is_the_struct_of_the_header() -> None:
    text = (Path(include_directory()) / "pontryagin" / "device_any_mlp.hpp").read_text(encoding="utf-8")
    declared = re.findall(r"^  (?:long long|DeviceMlpJob<T, most_layers>) (\w+)", text, re.MULTILINE)
    assert declared[: len(AnyMlpJob._fields_)] == [name for name, *_ in AnyMlpJob._fields_]
    size = library("mlp").job_bytes_pontryagin_mlp_double
    size.restype = ctypes.c_longlong
    assert size() == ctypes.sizeof(AnyMlpJob)


def test_activations_have_the_numbers_of_the_header() -> None:
    text = (Path(include_directory()) / "pontryagin" / "mlp.hpp").read_text(encoding="utf-8")
    (names,) = re.findall(r"enum class Activation : int \{ (.*) \};", text)
    assert names.split(", ") == list(cuda_ahead_mlp.NUMBERS)


@pytest.mark.parametrize(("scalar", "dtype"), [("double", torch.float64), ("float", torch.float32)])
def test_python_and_kernel_agree_on_shared_memory(scalar: str, dtype: torch.dtype) -> None:
    sweeps = kernels(make_case((3, 7, 5, 3), **DEEP["tanh, relu, gelu"], dtype=dtype))
    job = cuda_ahead_mlp.mlp_job(cuda_ahead_mlp.MOST_LAYERS)(tableau=sweeps._tableau)
    size = library("mlp")[f"shared_bytes_{scalar}"]
    size.restype = ctypes.c_longlong
    assert size(ctypes.byref(sweeps._argument(job))) == sweeps._shared(sweeps.blocks(1))
