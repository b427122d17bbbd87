"""Newton's method on a GPU against the CPU: problems of every kind, sizes around a group and a block, poisoned memory.

Not a line of this has run where there is no GPU. Functions like sine differ from those of the CPU in their last bits,
so that a problem which is hard to solve may take another way.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from newton_on_host import CASES, arrays, begin, cartpole_kelly, shooting, solved

import pontryagin as pmp
from pontryagin import compiled_newton
from pontryagin.backend import cuda_newton_launches
from pontryagin.backend.cuda_newton_launches import GROUP, Launches
from pontryagin.optim.newton import NewtonSettings
from pontryagin.status import Status

pytestmark = pytest.mark.gpu

SIZES = (1, 31, 33, 65, 1000)


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch):
    empty, poison = Launches._empty, {torch.float64: torch.nan, torch.uint8: 0xA5}
    monkeypatch.setattr(Launches, "_empty", lambda self, n, kind: empty(self, n, kind).fill_(poison[kind]))


@pytest.mark.parametrize("kind", ["linear", "constant"])
@pytest.mark.parametrize("name", ["cartpole", "driven"])
def test_gpu_gives_what_the_cpu_gives(name, kind):
    """Wherever both take the same way, and that is nearly everywhere."""
    found, expected = (solved(name, backend, batch=70, kind=kind) for backend in ("cuda", "interpreter"))
    same = found.iterations == expected.iterations
    same &= np.array([one is other for one, other in zip(found.status, expected.status, strict=True)])
    assert same.mean() >= 0.9
    for key, value in arrays(expected).items():
        scale = 1 + np.abs(value).max() if value.size and value.dtype == np.float64 else 1
        np.testing.assert_allclose(arrays(found)[key][same], value[same], rtol=1e-7, atol=1e-7 * scale, err_msg=key)


def test_problem_with_every_kind_of_constraint_is_solved_as_on_the_cpu():
    options = {"method": "newton", "steps": 20}
    found, expected = (pmp.solve(CASES["everything"], backend=name, **options) for name in ("cuda", "interpreter"))
    assert found.backend == "cuda"
    assert found.status is expected.status
    torch.testing.assert_close(found.objective, expected.objective, rtol=1e-7, atol=1e-7)


def test_problems_without_an_answer_are_told_apart():
    found, expected = (solved("infeasible", backend, batch=70) for backend in ("cuda", "interpreter"))
    assert Status.CONVERGED not in (*found.status, *expected.status)
    assert found.status.count(Status.INFEASIBLE) > 35
    assert np.mean([one is other for one, other in zip(found.status, expected.status, strict=True)]) > 0.8


@pytest.mark.parametrize("batch", SIZES)
def test_problem_has_the_same_bits_in_batches_of_every_size(batch):
    problems = shooting("cartpole", "cuda", max(SIZES))
    start, settings = begin(problems, CASES["cartpole"]), NewtonSettings(max_iterations=80)
    whole = compiled_newton.solve_compiled(problems, start, settings, None)
    rows = np.arange(batch)
    part = type(start)(start.state[rows], start.control[rows])
    found = compiled_newton.solve_compiled(problems.select(rows), part, settings, None)
    for name, value in arrays(found).items():
        np.testing.assert_array_equal(value, arrays(whole)[name][:batch], err_msg=name)


def test_places_change_no_bit(monkeypatch):
    """All at once; in turn, on few places; with threads that stay where nothing is left to do."""
    expected = arrays(solved("cartpole", "cuda", batch=200))
    monkeypatch.setattr(cuda_newton_launches, "places_for", lambda *_: 2 * GROUP)
    in_turn = arrays(solved("cartpole", "cuda", batch=200))
    monkeypatch.setattr(Launches, "compact", False)
    at_rest = arrays(solved("cartpole", "cuda", batch=200))
    for name, value in expected.items():
        np.testing.assert_array_equal(in_turn[name], value, err_msg=name)
        np.testing.assert_array_equal(at_rest[name], value, err_msg=name)


def test_tensors_on_a_gpu_are_solved_there_and_answered_there():
    starts = 0.05 * torch.randn(300, 4, dtype=torch.float64)
    options = {"method": "newton", "steps": 20}
    found = pmp.solve(cartpole_kelly.problem(), initial_state=starts.cuda(), **options)
    expected = pmp.solve(cartpole_kelly.problem(), initial_state=starts, **options)
    assert (found.backend, found.backend_reason) == ("cuda", "The tensors are on a GPU.")
    assert found.state.device.type == found.objective.device.type == "cuda"
    torch.testing.assert_close(found.objective.cpu(), expected.objective, rtol=1e-7, atol=1e-7)
    assert found[0].verify().ok
