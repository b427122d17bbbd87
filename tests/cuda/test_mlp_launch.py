"""How sweeps of perceptrons are cut and launched: structs, shared memory, blocks, and what is asked of the driver."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mlp_golden import KERNELS, sweeper
from mlp_on_host import kernels
from test_driver import CONTEXT, NO_CONTEXT, gpu  # noqa: F401 (a fixture)
from test_fused_mlp import Case, costate, make_case
from test_mlp_on_host import DEEP

from pontryagin.backend.cuda_driver import CudaDevice
from pontryagin.backend.cuda_launch import TableauData, mlp_job
from pontryagin.backend.cuda_mlp_blocks import LANES, block_bytes, blocks_for
from pontryagin.backend.toolchain import include_directory
from pontryagin.errors import BackendError
from pontryagin.mlp import ACTIVATIONS, MLP


def deep_case(batch: int, **keywords: str) -> Case:
    """A net that other tests compile, too."""
    return make_case((3, 7, 5, 3), **DEEP["tanh, relu, gelu"], batch=batch, **keywords)


C_TYPES = {"long long": ctypes.c_longlong, "double": ctypes.c_double, "T*": ctypes.c_void_p, "int*": ctypes.c_void_p}
C_TYPES["double*"] = ctypes.c_void_p


def test_job_is_the_struct_of_the_header() -> None:
    text = (Path(include_directory()) / "pontryagin" / "device_mlp.hpp").read_text(encoding="utf-8")
    struct = text[text.index("struct DeviceMlpJob") : text.index("};\n")]
    declared = re.findall(r"^  (?:const )?(long long|double|T\*|double\*|int\*) (\w+)(?: =|\[)", struct, re.MULTILINE)
    fields = [(name, kind) for name, kind in mlp_job(1)._fields_ if name != "tableau"]
    assert [name for _, name in declared] == [name for name, _ in fields]
    for kind, name in declared:
        expected = C_TYPES[kind] * 1 if name in ("weights", "bias") else C_TYPES[kind]
        assert dict(fields)[name] is expected, name


@pytest.mark.parametrize("name", ["narrow", "deep_double", "panels"])
def test_python_and_kernel_agree_on_sizes(name: str) -> None:
    sweeps = sweeper(name)
    blocks = sweeps.blocks(KERNELS[name].batch)
    kernel = sweeps._kernel(blocks)
    kernel.job_bytes.restype = kernel.shared_bytes.restype = ctypes.c_longlong
    assert kernel.job_bytes() == ctypes.sizeof(mlp_job(sweeps.mlp.layers))
    assert kernel.shared_bytes(ctypes.byref(TableauData.of(sweeps.tableau))) == sweeps._shared(blocks)


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=3),
    st.integers(1, 10**6),
    st.sampled_from(sorted(ACTIVATIONS)),
    st.sampled_from([48 << 10, 99 << 10, 227 << 10]),
    st.booleans(),
)
def test_cut_fits_into_shared_memory(hidden: list[int], batch: int, activation: str, limit: int, single: bool) -> None:
    mlp = MLP((3, *hidden, 3), (activation,) * len(hidden) + ("identity",), (True,) * (len(hidden) + 1), True)
    kind = {"single": single, "velocity_kept": False}
    try:
        blocks = blocks_for(mlp, 6, batch, 132, limit, **kind)
    except BackendError:
        smallest = blocks_for(mlp, 1, 1, 132, 10**9, **kind)
        assert smallest.lanes == LANES[-1]
        assert block_bytes(mlp, smallest, 6, **kind) > limit
        return
    assert block_bytes(mlp, blocks, 6, **kind) <= limit
    assert blocks.panel % 4 == 0 and blocks.threads in (64, 128, 256)
    assert blocks.lanes == LANES[-1] or 4 * -(-batch // blocks.lanes) * blocks.threads >= 3 * 132 * 256


def test_large_batches_have_large_tiles_and_as_many_blocks_as_run_at_a_time() -> None:
    for batch, lanes, blocks in ((1, 8, 1), (24, 8, 3), (200, 16, 3), (500, 32, 3)):
        case = deep_case(batch)
        sweeps = kernels(case)
        sweeps.rollout(*case.arguments)
        grid, threads, shared, job = sweeps._on.launches[-1]
        assert (sweeps.blocks(batch).lanes, grid, threads) == (lanes, blocks, 64)
        assert shared == sweeps._shared(sweeps.blocks(batch))
        assert (job.batch, job.steps, job.weight_rows, job.backward) == (batch, 3, 1, 0)
        assert not job.tape and not job.sums and not job.value


def test_sums_of_many_rows_have_fewer_blocks_where_memory_is_short() -> None:
    case = deep_case(200, kind="per stage")
    sweeps = kernels(case, room=2 * 12 * case.mlp.parameter_count * 8)
    sweeps.gradient(*case.arguments, costate(case))
    assert sweeps._on.launches[-1][0] == 2


def test_grid_and_rows_are_sent_once_and_anew_when_they_change() -> None:
    case = make_case((2, 16, 2))
    rows = case.rows = case.rows.int()
    sweeps = kernels(case)
    first, again = (sweeps._on_device(sweeps._arguments(*case.arguments)) for _ in range(2))
    assert first["start"] is again["start"]
    case.lengths = case.lengths * 2
    other = sweeps._on_device(sweeps._arguments(*case.arguments))
    torch.testing.assert_close(other["start"], case.t0 + case.lengths.cumsum(0) - case.lengths)
    assert case.rows is rows and other["start"] is not first["start"]


def test_blocks_are_launched_with_their_shared_memory_on_torchs_stream(gpu) -> None:  # noqa: F811
    device = CudaDevice(torch.device("cuda"))
    assert (device.processors, device.shared_limit) == (132, 232448)
    kernel = device.kernel("key", lambda: "text")
    gpu.calls.clear()
    assert device.resident(kernel, 128, 60_000) == 132 * 3
    assert gpu.calls == [
        *CONTEXT,
        "cuFuncSetAttribute",
        "cuOccupancyMaxActiveBlocksPerMultiprocessor",
        *NO_CONTEXT,
    ]
    assert gpu.allowed == [(7, 8, 232448)]  # another tableau may need more, and has the same kernel
    job = mlp_job(2)(batch=130)
    device.launch_blocks(kernel, 5, 128, 60_000, job)
    assert gpu.launched == [(7, (5, 1, 1, 128, 1, 1), 60_000, 0xABC, 130, None)]
