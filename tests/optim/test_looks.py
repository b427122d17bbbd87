"""Iterations that the host issues without knowing how they go, as on a GPU: same answers, no questions, no losses."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import pytest
import torch
from questions import Asked, refuse_questions
from torch import Tensor
from unrolled import Unrolled, double_integrator, energy, nothing, pendulum, quadratic, solve, target

from pontryagin.optim import IterationInfo, MethodResult
from pontryagin.optim.groups import Groups
from pontryagin.optim.lbfgs import LbfgsRule
from pontryagin.status import Status

STARTS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-0.5, 2.0], [3.0, -1.0]], dtype=torch.float64)
NEAR = torch.tensor([[0.0, 0.0], [0.5, 0.2], [-0.4, 1.0]], dtype=torch.float64)
TIMES = torch.tensor([[1.0, 0.0], [0.25, 0.0], [4.0, 0.0]], dtype=torch.float64)

FREE = Unrolled(pendulum, quadratic, 10)
LOW_END = Unrolled(double_integrator, quadratic, 10, terminal=lambda x: x[:, :1] + 1.0)
SWING = Unrolled(pendulum, energy, 10, terminal=target(torch.pi, 0.0), equalities=2)
TRANSFER = Unrolled(double_integrator, energy, 10, terminal=target(1.0, 0.0), equalities=2)
FASTEST = Unrolled(double_integrator, nothing, 10, terminal_cost=lambda t, x: t, terminal=target(0, 0), equalities=2)
SHARED = torch.zeros(10, 1, dtype=torch.float64)

#: The same problems for every interval between looks.
CASES: dict[str, Callable[..., MethodResult]] = {
    "free": partial(solve, FREE, STARTS, 2.0),
    "bounded": partial(solve, FREE, STARTS, 2.0, low=-0.5, high=0.5),
    "equalities": partial(solve, SWING, NEAR, 3.0, low=-3.0, high=3.0),
    "inequality": partial(solve, LOW_END, STARTS, 3.0),
    "final time": partial(solve, FASTEST, TIMES, 4.0, low=-1.0, high=1.0, final_time_bounds=(0.01, 50.0)),
    "shared": partial(solve, LOW_END, STARTS[1:], 3.0, control=SHARED, tolerance=1e-6),
    "spectral": partial(solve, FREE, STARTS, 2.0, method="gradient", low=-0.5, high=0.5),
    "spectral to a target": partial(solve, TRANSFER, STARTS[:1], 1.0, method="gradient", tolerance=1e-6),
    "armijo": partial(solve, FREE, STARTS, 2.0, method="gradient", step_rule="armijo", tolerance=1e-4),
    "fixed": partial(solve, FREE, STARTS, 2.0, method="gradient", step_rule="fixed", step=0.3, tolerance=1e-3),
}
ROUGH = ("armijo", "fixed")  # with a loose tolerance
every_case = pytest.mark.parametrize("name", CASES)


@cache
def unasked(name: str) -> tuple[MethodResult, list[bool]]:
    """A solve that looks after each fourth iteration and asks nothing in between, and whether it looked after each."""
    with pytest.MonkeyPatch.context() as patch:
        looked = refuse_questions(patch)
        return CASES[name](interval=4), looked


@every_case
def test_host_asks_for_nothing_between_looks(name: str) -> None:
    result, looked = unasked(name)
    assert result.status == [Status.CONVERGED] * len(result.status)
    assert looked.count(True) == len(looked) // 4


def test_host_that_looks_after_each_iteration_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_questions(monkeypatch)
    with pytest.raises(Asked, match="_local_scalar_dense"):
        CASES["bounded"](interval=1)


@every_case
def test_answers_do_not_depend_on_whether_the_host_asks(name: str) -> None:
    found, asked = unasked(name)[0], CASES[name]()
    assert found.status == asked.status
    assert found.iterations.sum() <= 1.6 * asked.iterations.sum(), "a trial of a search is an iteration, too"
    torch.testing.assert_close(found.objective, asked.objective, rtol=1e-7, atol=1e-10)
    torch.testing.assert_close(found.control, asked.control, rtol=0, atol=1e-3 if name in ROUGH else 1e-5)
    if name != "final time":  # where the control jumps at a node, steps as long as these leave them some room
        torch.testing.assert_close(found.multipliers, asked.multipliers, rtol=1e-5, atol=1e-5)


@every_case
def test_looks_change_nothing(name: str) -> None:
    found, seldom = unasked(name)[0], CASES[name](interval=50)
    assert found.status == seldom.status
    assert found.iterations.tolist() == seldom.iterations.tolist()
    # matrix products round differently for other batch sizes
    torch.testing.assert_close(found.control, seldom.control, rtol=0, atol=1e-8)


def test_group_that_is_done_moves_no_more_and_leaves_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    waited, sizes = 0, []
    advance = Groups.advance

    def watched(groups: Groups) -> None:
        nonlocal waited
        done, before = groups.verdict > 0, groups.point.z
        assert not (groups.looking and done.any())
        advance(groups)
        assert torch.equal(groups.point.z[done], before[done])
        waited += int(done.sum())
        sizes.append(len(done))

    monkeypatch.setattr(Groups, "advance", watched)
    CASES["armijo"](interval=4)
    assert waited > 0, "the test needs a group that ends between two looks"
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < sizes[0]


def test_search_goes_on_with_the_function_and_the_values_that_it_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = 0
    shift, remember = Groups.shift_multipliers, Groups._remember

    def shifted(groups: Groups) -> None:
        nonlocal searches
        searching, nu, rho = groups.failed > 0, groups.lagrangian.nu, groups.lagrangian.rho
        shift(groups)
        assert torch.equal(groups.lagrangian.nu[searching], nu[searching])
        assert torch.equal(groups.lagrangian.rho[searching], rho[searching])
        searches += int(searching.sum())

    def remembered(groups: Groups, value: Tensor, over: Tensor) -> None:
        before, stale = groups.window.clone(), groups.stale
        remember(groups, value, over)
        assert torch.equal(groups.window[~over & ~stale], before[~over & ~stale])
        assert (groups.window[stale] == value[stale].unsqueeze(1)).all(), "under new multipliers nothing else counts"

    monkeypatch.setattr(Groups, "shift_multipliers", shifted)
    monkeypatch.setattr(Groups, "_remember", remembered)
    for name, tolerance in (("shared", 1e-6), ("inequality", 1e-3)):  # the latter wants to move them during a search
        CASES[name](interval=4, tolerance=tolerance)
    assert searches > 3, "the test needs full steps that are not accepted"


def test_interrupt_between_looks_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is done keeps the verdict; all rows of the history are there."""
    whole = CASES["armijo"](interval=4)
    last = min(whole.iterations[1:].tolist()) + 2
    advance = Groups.advance

    def impatient(groups: Groups) -> None:
        advance(groups)
        if groups.iteration > last:
            raise KeyboardInterrupt

    monkeypatch.setattr(Groups, "advance", impatient)
    result = CASES["armijo"](interval=500)
    assert len(result.history) == last
    done = whole.iterations <= last
    assert 1 < done.sum() < len(done), "the test needs some of each"
    assert result.status == [Status.CONVERGED if one else Status.INTERRUPTED for one in done]
    assert torch.equal(result.iterations[done], whole.iterations[done])
    torch.testing.assert_close(result.control[done], whole.control[done], rtol=0, atol=1e-9)


def test_callback_is_told_of_every_iteration_and_stops_at_a_look() -> None:
    told: list[IterationInfo] = []

    def callback(info: IterationInfo) -> bool:
        told.append(info)
        return info.iteration >= 14

    result = CASES["armijo"](interval=4, callback=callback)
    assert Status.INTERRUPTED in result.status
    assert [info.iteration for info in result.history] == list(range(1, len(result.history) + 1))
    assert told == result.history[: len(told)] and len(told) == 14 and len(result.history) == 16


def test_pair_that_is_not_kept_leaves_the_memory_as_it_was() -> None:
    learnt: list[tuple[Tensor, Tensor]] = []
    learn = LbfgsRule.learn

    def watched(rule: LbfgsRule, *step: Tensor) -> None:
        count, rows, gram = rule.count.clone(), rule.rows.clone(), rule.gram.clone()
        learn(rule, *step)  # type: ignore[arg-type]
        idle = rule.count == count
        assert torch.equal(rule.rows[idle], rows[idle])
        torch.testing.assert_close(rule.gram[idle], gram[idle], rtol=1e-12, atol=1e-12)
        learnt.append((count, idle))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LbfgsRule, "learn", watched)
        CASES["equalities"](interval=4, memory=2)
    full = [bool((idle & (count > 2)).any()) for count, idle in learnt]
    assert any(full), "the test needs a pair that is not kept, and a full ring"
