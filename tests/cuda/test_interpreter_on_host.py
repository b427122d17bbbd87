"""Recorded programs by the kernel that is compiled ahead of time, on the host: the bits of the CPU's interpreter."""

from __future__ import annotations

import ctypes
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ahead_emulator import AheadEmulator, library
from sweep_cases import EVERYTHING, KINDS, SMALL, gallery_problem, random_arguments, uneven_grid
from test_kernels_on_host import assert_same

from pontryagin.backend import cuda_programs
from pontryagin.backend.compiled import CompiledSweep
from pontryagin.backend.cuda_interpreter import InterpretedCudaSweep
from pontryagin.backend.toolchain import include_directory
from pontryagin.problem import Problem
from pontryagin.sweep import BACKWARD_OUTPUTS, FORWARD_OUTPUTS, Arguments, SweepResult
from pontryagin.time_grid import TimeGrid

BATCH = 70  # a block, and a few problems of the next
GALLERY = ("cartpole_kelly", "quadrotor_tracking", "orbit_raising", "moon_lander")
DTYPES = (torch.float64, torch.float32)


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch):
    """What a sweep allocates holds NaN until it is written to."""
    empty = InterpretedCudaSweep._empty
    monkeypatch.setattr(InterpretedCudaSweep, "_empty", lambda self, *shape: empty(self, *shape).fill_(torch.nan))


def problem_named(name: str) -> Problem:
    return SMALL[name]() if name in SMALL else gallery_problem(name)


def sweep_of(name: str, kind: str, dtype: torch.dtype = torch.float64, **keywords: Any) -> InterpretedCudaSweep:
    given = {"grid": uneven_grid(7), "scheme": "rk4", "room": 2**30} | keywords
    return InterpretedCudaSweep(
        problem_named(name),
        given["grid"],
        control_kind=kind,
        scheme=given["scheme"],
        dtype=dtype,
        device="cpu",
        on=AheadEmulator(given["room"]),
    )


def expected(
    sweep: InterpretedCudaSweep, name: str, kind: str, given: Arguments, wanted: frozenset[str]
) -> SweepResult:
    scheme = sweep._tableau
    twin = CompiledSweep(problem_named(name), TimeGrid(sweep._tau), control_kind=kind, scheme=scheme, dtype=sweep.dtype)
    return twin.evaluate(given, wanted)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*SMALL, *GALLERY])
def test_every_output_has_the_bits_of_the_interpreter(name, kind, dtype):
    for grid in (uneven_grid(7), TimeGrid.uniform(5)):
        sweep = sweep_of(name, kind, dtype, grid=grid)
        for cotangents in (True, False):
            given = random_arguments(problem_named(name), grid, kind, BATCH, dtype=dtype, cotangents=cotangents)
            assert_same(sweep.evaluate(given, EVERYTHING), expected(sweep, name, kind, given, EVERYTHING), EVERYTHING)


@pytest.mark.parametrize("scheme", ["euler", "midpoint", "dormand_prince"])
def test_every_tableau_is_a_program(scheme):
    sweep = sweep_of("pendulum", "linear", scheme=scheme)
    given = random_arguments(problem_named("pendulum"), uneven_grid(7), "linear", 3, cotangents=True)
    assert_same(sweep.evaluate(given, EVERYTHING), expected(sweep, "pendulum", "linear", given, EVERYTHING), EVERYTHING)


@pytest.mark.parametrize("kind", KINDS)
def test_control_and_data_may_be_shared(kind):
    sweep = sweep_of("tracking_linear", kind)
    given = random_arguments(problem_named("tracking_linear"), uneven_grid(7), kind, BATCH, shared=True)
    given = replace(given, data=given.data[0])
    wanted = EVERYTHING - {"control_derivative"}
    assert_same(sweep.evaluate(given, wanted), expected(sweep, "tracking_linear", kind, given, wanted), wanted)
    found = sweep.evaluate(given, {"control_derivative"}).control_derivative
    summed = expected(sweep, "tracking_linear", kind, given, frozenset({"control_derivative"})).control_derivative
    torch.testing.assert_close(found, summed, rtol=1e-13, atol=1e-13)  # added up in another order


def test_way_forward_alone_keeps_two_nodes():
    sweep = sweep_of("pendulum", "linear")
    given = random_arguments(problem_named("pendulum"), uneven_grid(7), "linear", BATCH)
    assert_same(
        sweep.evaluate(given, FORWARD_OUTPUTS),
        expected(sweep, "pendulum", "linear", given, FORWARD_OUTPUTS),
        FORWARD_OUTPUTS,
    )
    sweep.evaluate(given, BACKWARD_OUTPUTS)
    assert [launch[-1].records for launch in sweep._on.launches] == [2, sweep._steps + 1]


def test_problems_take_turns_where_there_is_room_for_few():
    """One block of threads for 200 problems, and as many as there are blocks of problems."""
    given = random_arguments(problem_named("pendulum"), uneven_grid(7), "constant", 200, cotangents=True)
    wide, narrow = sweep_of("pendulum", "constant"), sweep_of("pendulum", "constant", room=0)
    assert_same(narrow.evaluate(given, EVERYTHING), wide.evaluate(given, EVERYTHING), EVERYTHING)
    launches = [sweep._on.launches[-1] for sweep in (wide, narrow)]
    assert [launch[:4] for launch in launches] == [
        ("pontryagin_sweep_double", 4, 64, 0),
        ("pontryagin_sweep_double", 1, 64, 0),
    ]


def test_not_a_number_stays_with_its_problem():
    sweep, wanted = sweep_of("pendulum", "constant"), frozenset({"objective", "costate", "control_derivative"})
    given = random_arguments(problem_named("pendulum"), uneven_grid(7), "constant", BATCH)
    clean = sweep.evaluate(given, wanted)
    given.initial_state[5] = torch.nan
    found, others = sweep.evaluate(given, wanted), torch.arange(BATCH) != 5
    assert bool(found.objective[5].isnan()) and bool(found.costate[5].isnan().any())
    for name in wanted:
        assert torch.equal(getattr(found, name)[others], getattr(clean, name)[others]), name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["pendulum", "tracking_constant", "quadrotor_tracking"])
def test_hamiltonian_at_points_has_the_bits_of_the_interpreter(name, dtype):
    sweep = sweep_of(name, "linear", dtype)
    e = sweep.model.equations
    sizes = (e.state_dim, e.state_dim, e.control_dim, e.parameter_dim, e.data_dim)
    given = [torch.rand(BATCH, dtype=dtype), *(torch.randn(BATCH, size, dtype=dtype) for size in sizes)]
    twin = CompiledSweep(problem_named(name), uneven_grid(7), control_kind="linear", dtype=dtype)
    for one, other in zip(sweep.hamiltonian(*given), twin.hamiltonian(*given), strict=True):
        assert torch.equal(one, other)


C_TYPES = {"long long": ctypes.c_longlong, "T*": ctypes.c_void_p, "DeviceInstruction*": ctypes.c_void_p}


@pytest.mark.parametrize(
    ("struct", "structure"),
    [("DeviceProgram", cuda_programs.Program), ("DevicePointProgram", cuda_programs.PointProgram)],
)
def test_program_is_the_struct_of_the_header(struct, structure):
    text = (Path(include_directory()) / "pontryagin" / "device_program.hpp").read_text(encoding="utf-8")
    body = text.split(f"struct {struct} {{", 1)[1].split("};", 1)[0]
    declared = re.findall(r"^  (?:const )?(long long|T\*|DeviceInstruction\*) (\w+) = ", body, re.MULTILINE)
    assert [(name, C_TYPES[kind]) for kind, name in declared] == structure._fields_


@pytest.mark.parametrize(("name", "structure"), [("sweep", "InterpreterJob"), ("points", "PointsJob")])
def test_jobs_have_the_sizes_that_kernels_expect(name, structure):
    for scalar in ("float", "double"):
        size = library("interpreter")[f"job_bytes_pontryagin_{name}_{scalar}"]
        size.restype = ctypes.c_longlong
        assert size() == ctypes.sizeof(getattr(cuda_programs, structure))
