"""What a native sweep costs in memory: the formula in csrc/include/pontryagin/model_sweep.hpp, number by number.

Time is not tested here; the benchmarks show how it grows with steps and problems.
"""

from __future__ import annotations

import ctypes
import re

import pytest
from golden import text_named

from pontryagin import _core
from pontryagin.backend.cache import library_for

TAPE = 640 * 1024  # bytes of the tape, at most
LINE = 8  # numbers in a line of the processor's cache
STAGES = 4

HORIZONS = (1, 2, 7, 100, 101, 1000, 12345, 100_000, 10_000_000)


class Memory:
    """The memory of one block of a golden library, in bytes: what the core says, and what the formula says."""

    def __init__(self, name: str) -> None:
        text = text_named(name)
        table = library_for(text).handle.pontryagin_table
        table.restype = ctypes.c_void_p
        self.core = _core.NativeSweeper(table(), t0=0.0)
        self.n, self.m, self.nd = (int(re.search(rf"Size<(\d+)> {size}\(\)", text)[1]) for size in ("n", "m", "nd"))
        self.linear, self.extended = (f"bool {name} = true" in text for name in ("linear_control", "extended"))
        self.cut = int(re.search(r"cut_size = (\d+);", text)[1]) + (self.n + 1 if self.extended else 0)
        # With the states there are (N + 1) n rows of lanes more.
        self.lanes, rest = divmod(self.taken(99, state=True) - self.taken(99), 8 * 100 * self.n)
        assert rest == 0

    def taken(self, steps: int, *, state: bool = False, costate: bool = False, cotangent: bool = False) -> int:
        return self.core.workspace_bytes(steps, state=state, costate=costate, state_cotangent=cotangent)

    def segment(self, steps: int) -> int:
        fit = TAPE // (8 * self.lanes * STAGES * self.cut)
        segments = -(-steps // fit)
        return -(-steps // segments)

    def formula(self, steps: int, *, state: bool = False, costate: bool = False, cotangent: bool = False) -> int:
        segment, path = self.segment(steps), (steps + 1) * self.n
        segments = -(-steps // segment)
        rows = [
            (steps + self.linear) * self.m,
            steps * self.nd,
            segment * STAGES * self.cut,
            segments * self.n if segments > 1 else 0,
            *[path] * (state + costate + (cotangent and self.extended)),
        ]
        return sum(8 * -(-row * self.lanes // LINE) * LINE for row in rows)


@pytest.fixture(scope="module", params=["cartpole", "van_der_pol"])
def memory(request):
    return Memory(request.param)


@pytest.mark.parametrize("steps", HORIZONS)
def test_memory_follows_the_formula(memory, steps):
    for kept in ({}, {"state": True}, {"costate": True}, {"cotangent": True}, {"state": True, "costate": True}):
        assert memory.taken(steps, **kept) == memory.formula(steps, **kept), kept


@pytest.mark.parametrize("steps", HORIZONS)
def test_memory_beside_arguments_and_results_is_bounded(memory, steps):
    """The cuts of a long horizon are never all there: one tape, and the state each time that it is filled anew."""
    arguments = (steps + 1) * (memory.m + memory.nd)
    starts = -(-steps // memory.segment(steps)) * memory.n
    assert memory.taken(steps) <= TAPE + 8 * memory.lanes * (arguments + starts) + 4 * 64
    assert starts < steps / 20 or steps < 1000


def test_a_rollout_alone_takes_no_more_than_its_arguments():
    memory = Memory("integrator")
    for steps in HORIZONS:
        assert memory.taken(steps) == 8 * -(-memory.lanes * steps // LINE) * LINE
