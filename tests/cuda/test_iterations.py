"""First-order iterations over kernels: on the host, which refuses every question, and on a GPU, where torch does."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from emulator import Emulator
from torch import Tensor

sys.path.append(str(Path(__file__).parents[1] / "optim"))
from questions import refuse_questions

from pontryagin import Problem
from pontryagin.backend.compiled import CompiledSweep
from pontryagin.backend.cuda_sweep import CudaSweep
from pontryagin.optim import MethodResult, MethodSettings, solve_first_order
from pontryagin.status import Status
from pontryagin.sweep import Arguments
from pontryagin.time_grid import TimeGrid

STEPS = 20
STARTS = torch.tensor([[0.0, 0.0], [0.5, 0.2], [-0.4, 1.0]], dtype=torch.float64)


def swing() -> Problem:
    """The pendulum to its upper rest, with bounds on the torque: everything that an iteration has."""

    def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
        return torch.stack([x[1], u[0] - x[0].sin()])

    def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
        return 0.5 * u[0] ** 2

    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        initial_state=[0.0, 0.0],
        terminal_state=[torch.pi, 0.0],
        horizon=(0.0, 3.0),
        control_bounds=(-3.0, 3.0),
    )


def found(backend: CompiledSweep, method: str, interval: int | None) -> MethodResult:
    problem, grid, device = swing(), TimeGrid.uniform(STEPS), backend.device
    start = Arguments(
        control=torch.zeros(len(STARTS), STEPS, 1, dtype=torch.float64, device=device),
        initial_state=STARTS.to(device),
        final_time=torch.full((len(STARTS),), 3.0, dtype=torch.float64, device=device),
        parameters=torch.zeros(len(STARTS), 0, dtype=torch.float64, device=device),
    )
    return solve_first_order(
        backend,
        problem.control_set,
        grid.basis_mass("constant"),
        start,
        t0=0.0,
        equality_count=2,
        method=method,
        settings=MethodSettings(interval=interval, tolerance=1e-6),
    )


def assert_as_good(result: MethodResult, method: str) -> None:
    reference = found(CompiledSweep(swing(), TimeGrid.uniform(STEPS), control_kind="constant"), method, 1)
    assert result.status == reference.status == [Status.CONVERGED] * len(STARTS)
    torch.testing.assert_close(result.objective.cpu(), reference.objective, rtol=1e-5, atol=0.0)


def test_sweeps_by_kernels_ask_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = CudaSweep(swing(), TimeGrid.uniform(STEPS), control_kind="constant", device="cpu", on=Emulator())
    looked = refuse_questions(monkeypatch)
    result = found(backend, "lbfgs", 4)
    monkeypatch.undo()
    assert_as_good(result, "lbfgs")
    assert looked.count(False) > 8


@contextlib.contextmanager
def no_waiting() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["lbfgs", "gradient"])
def test_iterations_on_a_gpu_wait_for_nothing(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = CudaSweep(swing(), TimeGrid.uniform(STEPS), control_kind="constant", device="cuda")
    found(backend, method, None)  # kernels are compiled and loaded by now
    looked = refuse_questions(monkeypatch, no_waiting)
    result = found(backend, method, None)
    monkeypatch.undo()
    assert_as_good(result, method)
    assert looked.count(False) > 8
