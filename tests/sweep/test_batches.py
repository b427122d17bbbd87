"""What a problem gets must not depend on its neighbours, on their number, or on the threads: to the bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pontryagin import problems
from pontryagin.backend.compiled import CompiledSweep
from pontryagin.backend.native import NativeSweep
from pontryagin.sweep import BACKWARD_OUTPUTS, FORWARD_OUTPUTS, Arguments, ControlKind, SweepResult
from pontryagin.time_grid import TimeGrid

STEPS = 6
OUTPUTS = FORWARD_OUTPUTS | BACKWARD_OUTPUTS


def random_arguments(name: str, batch: int, rows: int, dtype: torch.dtype) -> Arguments:
    problem = problems.get(name).problem()
    generator = torch.Generator().manual_seed(5)

    def noise(*shape: int) -> Tensor:
        return 0.1 * torch.randn(*shape, generator=generator, dtype=dtype)

    low, high = problem.control_set.low, problem.control_set.high
    middle = torch.where(torch.isfinite(low) & torch.isfinite(high), (low + high) / 2, torch.zeros_like(low)).to(dtype)
    constraints = problem.equality_count + problem.inequality_count
    return Arguments(
        control=middle + noise(batch, rows, problem.control_dim),
        initial_state=problem.initial_state.to(dtype) * (1 + noise(batch, problem.state_dim)),
        final_time=problem.t0 + 0.2 * (problem.t1_guess - problem.t0) * (1 + noise(batch)),
        parameters=torch.empty(batch, 0, dtype=dtype),
        multipliers=noise(batch, constraints),
        penalties=noise(batch, constraints).abs(),
    )


def rows_of(arguments: Arguments, rows: slice) -> Arguments:
    return Arguments(
        control=arguments.control[rows],
        initial_state=arguments.initial_state[rows],
        final_time=arguments.final_time[rows],
        parameters=arguments.parameters[rows],
        multipliers=None if arguments.multipliers is None else arguments.multipliers[rows],
        penalties=None if arguments.penalties is None else arguments.penalties[rows],
    )


def assert_same_bits(whole: SweepResult, part: SweepResult, rows: slice) -> None:
    for name in sorted(OUTPUTS):
        expected, found = getattr(whole, name)[rows], getattr(part, name)
        same = (expected == found) | (expected.isnan() & found.isnan())
        assert bool(same.all()), name


TYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


@TYPES
@pytest.mark.parametrize("kind", ["constant", "linear"])
@pytest.mark.parametrize("name", problems.names())
def test_batch_of_one_equals_batch_of_a_thousand(name: str, kind: ControlKind, dtype: torch.dtype) -> None:
    assert_one_equals_a_thousand(CompiledSweep, name, kind, dtype)


@TYPES
def test_batch_of_one_equals_batch_of_a_thousand_in_compiled_cpp(dtype: torch.dtype) -> None:
    """One problem: each takes the compiler seconds, and the C++ tests go on with others."""
    assert_one_equals_a_thousand(NativeSweep, "orbit_raising", "linear", dtype)


def assert_one_equals_a_thousand(tier: type[CompiledSweep], name: str, kind: ControlKind, dtype: torch.dtype) -> None:
    grid = TimeGrid.uniform(STEPS)
    sweep = tier(problems.get(name).problem(), grid, control_kind=kind, dtype=dtype, threads=1)
    arguments = random_arguments(name, 1000, STEPS + (kind == "linear"), dtype)
    whole = sweep.evaluate(arguments, OUTPUTS)
    assert whole.objective is not None
    assert bool(whole.objective.isfinite().any())
    for rows in (slice(0, 1), slice(31, 32), slice(500, 501), slice(999, 1000), slice(3, 12), slice(100, 140)):
        assert_same_bits(whole, sweep.evaluate(rows_of(arguments, rows), OUTPUTS), rows)


@pytest.mark.parametrize(
    ("tier", "name"),
    [
        (CompiledSweep, "quadrotor_tracking"),
        (CompiledSweep, "linear_tangent_steering"),
        (NativeSweep, "linear_tangent_steering"),
    ],
)
def test_number_of_threads_changes_no_bit(tier: type[CompiledSweep], name: str) -> None:
    grid = TimeGrid.uniform(60)
    arguments = random_arguments(name, 700, 60, torch.float64)
    shared = Arguments(
        control=arguments.control[0],
        initial_state=arguments.initial_state,
        final_time=arguments.final_time,
        parameters=arguments.parameters,
    )
    one, four = (
        tier(problems.get(name).problem(), grid, control_kind="constant", threads=threads) for threads in (1, 4)
    )
    assert_same_bits(one.evaluate(arguments, OUTPUTS), four.evaluate(arguments, OUTPUTS), slice(None))
    assert_same_bits(one.evaluate(shared, OUTPUTS), four.evaluate(shared, OUTPUTS), slice(None))


def test_objective_alone_has_the_bits_of_the_objective_with_derivatives() -> None:
    sweep = CompiledSweep(problems.get("orbit_raising").problem(), TimeGrid.uniform(20), control_kind="linear")
    arguments = random_arguments("orbit_raising", 40, 21, torch.float64)
    alone, together = sweep.evaluate(arguments, {"lagrangian"}), sweep.evaluate(arguments, OUTPUTS)
    assert alone.lagrangian is not None
    assert together.lagrangian is not None
    assert torch.equal(alone.lagrangian, together.lagrangian)
