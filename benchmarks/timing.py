"""Time several calls against each other within one run: A B C A B C ..., so that a slow moment strikes all alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Call = Callable[[], object]

#: Seconds; a first call that takes longer is not repeated to see what it takes when it is warm.
LONG = 0.5

#: Seconds between contenders by the number of threads: those of a pool spin for a while in wait of more work.
SETTLE = {1: 0.0, 2: 0.01}


@dataclass(frozen=True)
class Times:
    """Seconds per call, one entry a round and call."""

    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, other: str) -> float:
        """How many times longer `name` takes than `other`: the median over rounds, each round compared with itself."""
        return statistics.median(a / b for a, b in zip(self.seconds[name], self.seconds[other], strict=True))

    def difference(self, name: str, other: str) -> float:
        """How many seconds longer `name` takes than `other`: the median over rounds."""
        return statistics.median(a - b for a, b in zip(self.seconds[name], self.seconds[other], strict=True))


def interleaved(
    calls: Mapping[str, Call],
    rounds: int = 31,
    slice_seconds: float = 0.01,
    budget_seconds: float = math.inf,
    settle_seconds: float = 0.0,
) -> Times:
    """Every call once a round, repeated until a slice of time is filled; the first round warms up and is dropped.

    `settle_seconds` before each lets the threads of the one before fall asleep.
    No round begins once the budget is spent: of very slow calls, which answered once before, the first is then all.
    """
    start = time.perf_counter()
    repeats = {}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for name, call in calls.items():
        spent = _seconds(call, 1)
        if spent < LONG:
            spent = _seconds(call, 1)
        seconds[name].append(spent)
        repeats[name] = max(1, round(slice_seconds / max(spent, 1e-7)))
    for _ in range(rounds + 1):
        if time.perf_counter() - start > budget_seconds:
            break
        for name, call in calls.items():
            time.sleep(settle_seconds)
            seconds[name].append(_seconds(call, repeats[name]))
    warm = max(0, min(2, len(seconds[name]) - 1))
    return Times({name: spent[warm:] for name, spent in seconds.items()})


def _seconds(call: Call, repeat: int) -> float:
    start = time.perf_counter()
    for _ in range(repeat):
        call()
    return (time.perf_counter() - start) / repeat
