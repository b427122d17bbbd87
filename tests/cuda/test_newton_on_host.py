"""Newton's kernels on the host give what the solver of the CPU gives, however the places of problems are handed out."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
import torch
from newton_on_host import (
    CASES,
    arrays,
    begin,
    cartpole_kelly,
    emulate_newton,
    random_point,
    shooting,
    shooting_of,
    solved,
)

import pontryagin as pmp
from pontryagin import compiled_newton
from pontryagin.backend import cuda_newton, select
from pontryagin.backend.compiled import CompiledSweep
from pontryagin.backend.cuda_newton_job import NewtonJob
from pontryagin.backend.cuda_newton_launches import GROUP, ITERATIONS, History, Launches, places_for
from pontryagin.errors import BackendError
from pontryagin.optim.newton import NewtonSettings
from pontryagin.status import Status


@pytest.fixture
def gpu(monkeypatch):
    return emulate_newton(monkeypatch)


def assert_same(found, expected):
    for name, value in arrays(expected).items():
        np.testing.assert_array_equal(arrays(found)[name], value, err_msg=name)
    assert (found.status, found.worst) == (expected.status, expected.worst)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("kind", ["linear", "constant"])
@pytest.mark.parametrize(
    "name", ["cartpole", "everything", "infeasible", pytest.param("driven", marks=pytest.mark.slow)]
)
def test_kernel_gives_the_bits_of_the_cpu(name, kind):
    """The same templates, formulas and multiply-adds: for several problems at once, whose matrices lie alike."""
    found, expected = (solved(name, backend, batch=5, kind=kind) for backend in ("cuda", "native"))
    assert_same(found, expected)
    assert (name == "infeasible") == (Status.INFEASIBLE in found.status)


@pytest.mark.usefixtures("gpu")
def test_one_problem_alone_is_solved_as_on_the_cpu():
    """There its matrices lie otherwise, and sums are taken in another order."""
    found, expected = (solved("cartpole", backend, batch=1) for backend in ("cuda", "native"))
    assert (found.status, found.iterations) == (expected.status, expected.iterations)
    for name, value in arrays(expected).items():
        np.testing.assert_allclose(arrays(found)[name], value, rtol=1e-9, atol=1e-9, err_msg=name)


def test_places_change_no_bit(gpu, monkeypatch):
    """All at once; in turn, on as few places as there can be; with threads that stay where nothing is left to do."""
    expected = solved("cartpole", "cuda")
    gpu.noted.clear()
    gpu.room = 1
    assert_same(solved("cartpole", "cuda"), expected)
    assert [one.threads for one in gpu.noted if one.verb == "choose_start"] == [GROUP, 8]
    assert {one.threads for one in gpu.iterations[:3]} == {GROUP}
    monkeypatch.setattr(Launches, "compact", False)
    assert_same(solved("cartpole", "cuda"), expected)
    assert gpu.noted[-1].threads == GROUP


def test_launches_are_short_and_have_threads_for_what_still_runs(gpu):
    found = solved("cartpole", "cuda")
    assert [one.verb for one in gpu.noted[:4]] == ["measure", "choose_start", "measure", "iterate"]
    assert {one.iterations for one in gpu.iterations} == {ITERATIONS}
    assert len(gpu.iterations) == -(-(int(found.iterations.max()) + 2) // ITERATIONS)
    left = [int((found.iterations + 2 > ITERATIONS * i).sum()) for i in range(len(gpu.iterations))]
    assert [one.threads for one in gpu.iterations] == left
    assert left[-1] < left[0] == 40


def test_problem_alone_has_the_bits_that_it_has_among_others(gpu):
    problems = shooting("cartpole", "cuda", 40)
    start, settings = begin(problems, CASES["cartpole"]), NewtonSettings()
    whole = compiled_newton.solve_compiled(problems, start, settings, None)
    for b in (0, 37):
        rows = np.array([b])
        alone = compiled_newton.solve_compiled(
            problems.select(rows), type(start)(start.state[rows], start.control[rows]), settings, None
        )
        for name, value in arrays(alone).items():
            np.testing.assert_array_equal(value[0], arrays(whole)[name][b], err_msg=name)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("kind", ["linear", "constant"])
@pytest.mark.parametrize("name", ["cartpole", "everything"])
def test_derivatives_of_an_answer_are_those_of_the_cpu(name, kind):
    """In the controls and the initial state, for problems in turn."""
    one, other = (shooting(name, backend, 40, kind) for backend in ("cuda", "interpreter"))
    one.kernel.on.room = 1
    point, dual = random_point(other, 40)
    for found, expected in zip(one.derivatives(point, dual), other.derivatives(point, dual), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_history_is_that_of_the_cpu(gpu):
    gpu.room = 1
    for one, other in zip(*(solved("cartpole", name).history for name in ("cuda", "native")), strict=True):
        assert one.running == other.running
        assert one.objective == pytest.approx(other.objective, rel=1e-13)
        for field in ("iteration", "residual", "violation", "complementarity", "barrier", "step", "regularisation"):
            assert getattr(one, field) == getattr(other, field), field


def test_callback_sees_every_iteration_and_may_stop(gpu):
    def told(row):
        seen.append(row.objective)
        return row.iteration == 4

    seen: list[float] = []
    found = solved("cartpole", "cuda", callback=told)
    assert "give_up" in [one.verb for one in gpu.noted]
    given, seen = seen, []
    expected = solved("cartpole", "native", callback=told)
    assert given == pytest.approx(seen, rel=1e-13)
    assert found.status == expected.status == [Status.INTERRUPTED] * 40
    np.testing.assert_array_equal(found.warm.primal.state, expected.warm.primal.state)


def test_ctrl_c_keeps_what_there_is(gpu):
    expected = solved("cartpole", "cuda")
    gpu.noted.clear()
    gpu.interrupt = 4
    found = solved("cartpole", "cuda")
    done = expected.iterations + 2 <= 4 * ITERATIONS
    assert 0 < done.sum() < 40
    assert found.status == [old if d else Status.INTERRUPTED for old, d in zip(expected.status, done, strict=True)]
    np.testing.assert_array_equal(found.warm.primal.state[done], expected.warm.primal.state[done])
    assert np.isfinite(found.objective).all()


def test_ctrl_c_before_some_problems_had_a_place(gpu):
    gpu.room, gpu.interrupt = 1, 1
    found = solved("cartpole", "cuda")
    assert found.status == [Status.INTERRUPTED] * 40
    assert np.isfinite(found.objective[:GROUP]).all()
    assert np.isnan(found.objective[GROUP:]).all()


@pytest.mark.usefixtures("gpu")
def test_not_a_number_stays_with_its_problem():
    problems = shooting("cartpole", "cuda", 5)
    start, settings = begin(problems, CASES["cartpole"]), NewtonSettings()
    expected = compiled_newton.solve_compiled(problems, start, settings, None)
    start.state[2] = np.nan
    found = compiled_newton.solve_compiled(problems, start, settings, None)
    assert found.status[2] is Status.NOT_FINITE
    others = np.arange(5) != 2
    np.testing.assert_array_equal(found.warm.costate[others], expected.warm.costate[others])


@pytest.mark.usefixtures("gpu")
def test_job_has_the_size_that_kernels_expect():
    kernel = shooting("cartpole", "cuda", 1).kernel.kernel
    kernel.job_bytes.restype = ctypes.c_longlong
    assert kernel.job_bytes() == ctypes.sizeof(NewtonJob) < 4096  # CUDA takes no larger argument


def test_problem_is_solved_by_kernels_from_the_public_interface_down(gpu, monkeypatch):
    """On refined grids, from multipliers that are known; sweeps have tests of their own."""
    monkeypatch.setattr(select, "CudaSweep", lambda *given, device, **named: CompiledSweep(*given, **named))
    problem = cartpole_kelly.problem()
    one, other = (pmp.solve(problem, backend=backend, accuracy=1e-9) for backend in ("cuda", "interpreter"))
    assert (one.method, one.backend) == ("newton", "cuda")
    assert one.backend_reason == "Kernels on a GPU were asked for."
    assert one.status is other.status
    assert len(one.levels) == len(other.levels) > 1
    assert int(one.iterations) == int(other.iterations)
    torch.testing.assert_close(one.state, other.state, rtol=1e-9, atol=1e-9)


# -- who is asked ------------------------------------------------------------------------------------------------------


def chosen(problem, backend, batch, device="cuda"):
    reference = shooting_of(problem, "linear", [0.0, 0.5, 1.0], "rk4", batch)
    return compiled_newton.in_core(problem, reference, backend, 1, torch.device(device))


@pytest.mark.usefixtures("gpu")
def test_tensors_on_a_gpu_take_it_where_they_are_many():
    many, few = (chosen(CASES["cartpole"], "auto", n) for n in (compiled_newton.FEWEST, compiled_newton.FEWEST - 1))
    assert (many.backend, many.reason) == ("cuda", "The tensors are on a GPU.")
    assert few.backend != "cuda"
    assert few.reason.startswith("A GPU solves a problem a thread, and 255 would leave most of it idle. ")
    assert chosen(CASES["cartpole"], "auto", compiled_newton.FEWEST, "cpu").backend != "cuda"


@pytest.mark.parametrize("backend", ["auto", "cuda"])
def test_without_kernels_newton_stays_on_the_cpu_and_says_why(gpu, monkeypatch, backend):
    def missing(_):
        raise BackendError("NVRTC is missing")

    monkeypatch.setattr(cuda_newton, "CudaDevice", missing)
    found = chosen(CASES["cartpole"], backend, 300)
    assert found.backend in ("interpreter", "native")
    assert found.reason.startswith("Newton's method stays on the CPU: NVRTC is missing. ")


def test_formulas_that_are_too_long_stay_on_the_cpu(gpu, monkeypatch):
    monkeypatch.setattr(cuda_newton, "LARGEST", 10)
    assert "NVRTC takes minutes over more than 10" in chosen(CASES["cartpole"], "cuda", 2).reason


# -- parts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problems", "room", "places"),
    [(100, 10**9, 100), (100, 1, 32), (100, 1000 * 64, 64), (100, 1000 * 95, 64), (7, 1, 7)],
)
def test_places_are_whole_groups_that_fit(problems, room, places):
    assert places_for(problems, 1000, room) == places


def test_history_adds_up_over_launches():
    history = History(3, torch.device("cpu"))
    row = torch.tensor([1.0, 5, 1, 2, 3, 4, 0.5, 6])
    nobody = torch.tensor([0.0, 0, 0, 0, 0, 0, 1, 0])
    history.add(torch.tensor([0, 1]), torch.stack([row, nobody, 2 * row, nobody]).reshape(2, 2, 8).double())
    history.add(torch.tensor([0]), torch.stack([3 * row, row]).reshape(1, 2, 8).double())
    assert history.rows() == [(4, 20, 3, 6, 9, 12, 0.5, 18), (3, 15, 2, 4, 6, 8, 0.5, 12)]
