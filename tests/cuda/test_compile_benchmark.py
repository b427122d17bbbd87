"""The benchmark of compile times: what it counts and what it says of a kernel."""

from __future__ import annotations

import pytest
from test_nvrtc import compiler

from benchmarks import run_cuda_compile, workloads
from pontryagin.codegen.cuda_library import KERNEL


def test_first_kernels_are_compiled_in_processes_of_their_own_and_checked_against_the_limit(monkeypatch):
    compiler()  # or skipped
    monkeypatch.setattr(run_cuda_compile, "ARCHITECTURES", (80,))
    monkeypatch.setattr(run_cuda_compile, "PROBLEMS", (workloads.CARTPOLE,))
    monkeypatch.setattr(run_cuda_compile, "NETS", ())
    monkeypatch.setattr(run_cuda_compile, "ROUNDS", 1)
    monkeypatch.setattr(run_cuda_compile.machine, "use_cores", lambda count: None)
    report = run_cuda_compile.run()
    assert [record["kernel"] for record in report.records] == ["cart-pole, float64", "cart-pole, float32"]
    assert [check.limit for check in report.checks] == ["<= 1", "<= 1"]
    for record in report.records:
        assert record["seconds"] > 0 and record["cubin"] > 10_000 and 32 < record["registers"] <= 132


def test_texts_of_nets_are_kernels():
    write = run_cuda_compile.kernels()["net 2-64-2"](90)
    assert f"{KERNEL}(const __grid_constant__ DeviceMlpJob<float, 2> job)" in write()


def test_compiler_that_ends_its_process_is_an_error():
    def fails() -> str:
        raise SystemExit(3)

    with pytest.raises(EOFError):
        run_cuda_compile._in_new_process(fails, 80)
