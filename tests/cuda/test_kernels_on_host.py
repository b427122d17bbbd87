"""Kernels on the host give what the interpreter gives: every output and argument, whatever lies in memory."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import pytest
import torch
from cuda_golden import KERNELS, sweep_named
from emulator import Emulator
from sweep_cases import random_arguments

from pontryagin import solve
from pontryagin.backend import cuda_sweep
from pontryagin.backend.compiled import EXTENDED_OUTPUTS, CompiledSweep
from pontryagin.backend.cuda_launch import Job, Points
from pontryagin.backend.cuda_sweep import CudaSweep
from pontryagin.backend.native import NativeSweep
from pontryagin.errors import ProblemError
from pontryagin.problem import Problem
from pontryagin.sweep import BACKWARD_OUTPUTS, FORWARD_OUTPUTS, Arguments, SweepResult
from pontryagin.time_grid import TimeGrid

BATCH = 70  # a block, and a few problems of the next
BACKWARD = [name for name, (_, _, changes) in KERNELS.items() if changes.get("backward", True)]


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch):
    """What a sweep allocates holds NaN until it is written to."""
    empty = CudaSweep._empty
    monkeypatch.setattr(CudaSweep, "_empty", lambda self, *shape: empty(self, *shape).fill_(torch.nan))


def outputs(name: str) -> frozenset[str]:
    asked = KERNELS[name][2]
    if not asked.get("backward", True):
        return FORWARD_OUTPUTS
    return (FORWARD_OUTPUTS | BACKWARD_OUTPUTS) - (frozenset() if asked.get("extended") else EXTENDED_OUTPUTS)


def arguments(name: str, sweep: CudaSweep, batch: int = BATCH, **keywords: bool) -> Arguments:
    make, _, changes = KERNELS[name]
    grid = TimeGrid.uniform(sweep._steps)
    kind = "linear" if changes.get("linear_control") else "constant"
    asked = {"cotangents": changes.get("extended", False), **keywords}
    given = random_arguments(make(), grid, kind, batch, dtype=sweep.dtype, **asked)
    if asked["cotangents"] and not changes.get("backward", True):
        given = replace(given, state_cotangent=None)
    return given


def twin(name: str, sweep: CudaSweep, tier: type[CompiledSweep]) -> CompiledSweep:
    """Another tier for the same problem, grid, scheme and type."""
    make, scheme, changes = KERNELS[name]
    kind = "linear" if changes.get("linear_control") else "constant"
    return tier(make(), TimeGrid(sweep._tau), control_kind=kind, scheme=scheme, dtype=sweep.dtype)  # type: ignore


def assert_close(found: SweepResult, expected: SweepResult, names: frozenset[str], tolerance: float) -> None:
    for name in sorted(names):
        one, other = getattr(found, name), getattr(expected, name)
        scale = 1.0 + float(other.abs().max()) if other.numel() else 1.0
        torch.testing.assert_close(
            one, other, rtol=tolerance, atol=tolerance * scale, msg=lambda m, n=name: f"{n}: {m}"
        )


def assert_same(found: SweepResult, expected: SweepResult, names: frozenset[str]) -> None:
    for name in sorted(names):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


@pytest.mark.parametrize("shared", [False, True], ids=["own control", "shared control"])
@pytest.mark.parametrize("name", KERNELS)
def test_kernel_gives_what_the_interpreter_gives(name, shared):
    sweep = sweep_named(name)
    given, wanted = arguments(name, sweep, shared=shared), outputs(name)
    found, expected = sweep.evaluate(given, wanted), twin(name, sweep, CompiledSweep).evaluate(given, wanted)
    assert_close(found, expected, wanted, 1e-12 if sweep.dtype == torch.float64 else 2e-5)


@pytest.mark.parametrize("name", ["van_der_pol", "pendulum"])
def test_kernel_gives_the_bits_of_the_native_library(name):
    """The same templates, formulas and multiply-adds, whatever is kept and whatever is made again."""
    sweep = sweep_named(name)
    given, wanted = arguments(name, sweep), outputs(name)
    assert_same(sweep.evaluate(given, wanted), twin(name, sweep, NativeSweep).evaluate(given, wanted), wanted)


@pytest.mark.parametrize("name", BACKWARD)
def test_segments_change_no_bit(name):
    """Where memory does not hold the states of the whole horizon: with as few as can be, and a few more."""
    whole, wanted = sweep_named(name), outputs(name)
    given = arguments(name, whole)
    expected = whole.evaluate(given, wanted)
    row = whole._n * BATCH * whole.dtype.itemsize
    segments = set()
    for rows in (0, 6):
        short = sweep_named(name, room=rows * row)
        found = short.evaluate(given, wanted - {"state"})
        segments.add(short._on.launches[-1].segment)
        assert_same(found, expected, wanted - {"state"})
    assert segments == {3, 4}


@pytest.mark.parametrize("name", ["van_der_pol", "slider"])
def test_problem_alone_has_the_bits_that_it_has_among_others(name):
    sweep, wanted = sweep_named(name), outputs(name)
    given = arguments(name, sweep, batch=3)
    whole = sweep.evaluate(given, wanted)
    for i in range(3):
        alone = Arguments(**{key: None if x is None else x[i : i + 1] for key, x in vars(given).items()})
        part = sweep.evaluate(alone, wanted)
        assert_same(part, SweepResult(**{key: getattr(whole, key)[i : i + 1] for key in wanted}), wanted)


@pytest.mark.parametrize("name", ["van_der_pol", "cartpole"])
def test_output_alone_has_the_bits_that_it_has_among_others(name):
    sweep, wanted = sweep_named(name), outputs(name)
    given = arguments(name, sweep)
    whole = sweep.evaluate(given, wanted)
    for output in wanted & BACKWARD_OUTPUTS:  # others would be another kernel
        asked = frozenset({output})
        assert_same(sweep.evaluate(given, asked), whole, asked)


@pytest.mark.parametrize("name", ["van_der_pol", "pendulum"])
def test_data_may_be_shared(name):
    sweep, wanted = sweep_named(name), outputs(name)
    given = arguments(name, sweep)
    shared = replace(given, data=given.data[0])
    each = replace(given, data=given.data[:1].expand_as(given.data))
    assert_same(sweep.evaluate(shared, wanted), sweep.evaluate(each, wanted), wanted)


def test_not_a_number_stays_with_its_problem():
    sweep, wanted = sweep_named("van_der_pol"), frozenset({"objective", "costate", "control_derivative"})
    given = arguments("van_der_pol", sweep)
    expected = sweep.evaluate(given, wanted)
    given.initial_state[5] = torch.nan
    found = sweep.evaluate(given, wanted)
    others = torch.arange(BATCH) != 5
    assert bool(found.objective[5].isnan()) and bool(found.costate[5].isnan().any())
    for name in wanted:
        assert torch.equal(getattr(found, name)[others], getattr(expected, name)[others])


def test_batch_without_problems_is_refused():
    sweep = sweep_named("cartpole")
    with pytest.raises(ProblemError, match="no problems"):
        sweep.evaluate(arguments("cartpole", sweep, batch=0), {"objective"})


@pytest.mark.parametrize("name", ["pendulum", "van_der_pol", "slider"])
def test_hamiltonian_at_points_is_that_of_the_interpreter(name):
    sweep = sweep_named(name)
    e = sweep.model.equations
    sizes = (e.state_dim, e.state_dim, e.control_dim, e.parameter_dim, e.data_dim)
    given = [torch.rand(BATCH, dtype=sweep.dtype), *(torch.randn(BATCH, size, dtype=sweep.dtype) for size in sizes)]
    expected = twin(name, sweep, CompiledSweep).hamiltonian(*given)
    tolerance = 1e-13 if sweep.dtype == torch.float64 else 1e-5
    for one, other in zip(sweep.hamiltonian(*given), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def test_jobs_have_the_sizes_that_kernels_expect():
    sweep = sweep_named("cartpole")
    for write, structure in ((sweep.text, Job), (sweep.points_text, Points)):
        kernel = sweep._on.kernel("", write)
        kernel.job_bytes.restype = ctypes.c_longlong
        assert kernel.job_bytes() == ctypes.sizeof(structure) == 8 * len(structure._fields_)


def test_problem_is_solved_by_kernels(monkeypatch):
    """From the public interface down, with the host in place of the GPU."""
    monkeypatch.setattr(cuda_sweep, "CudaDevice", lambda device: Emulator())
    problem = Problem(
        dynamics=lambda t, x, u: torch.stack([x[1], u[0]]),
        running_cost=lambda t, x, u: 0.5 * u[0] ** 2,
        initial_state=[0.0, 0.0],
        terminal_state=[1.0, 0.0],
        horizon=(0.0, 1.0),
    )
    solution = solve(problem, backend="cuda", method="lbfgs", steps=20)
    assert solution.backend == "cuda"
    assert bool(solution.success)
    torch.testing.assert_close(solution.objective, torch.tensor(6.0).double(), rtol=1e-6, atol=0.0)
