"""Time several calls against each other within one run: A B C A B C ..., so that a slow moment strikes all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Call = Callable[[], object]


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


def interleaved(calls: Mapping[str, Call], rounds: int = 31, slice_seconds: float = 0.01) -> Times:
    """Every call once a round, repeated until a slice of time is filled; the first round warms up and is dropped."""
    repeats = {}
    for name, call in calls.items():
        call()
        repeats[name] = max(1, round(slice_seconds / max(_seconds(call, 1), 1e-7)))
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for index in range(rounds + 1):
        for name, call in calls.items():
            spent = _seconds(call, repeats[name])
            if index > 0:
                seconds[name].append(spent)
    return Times(seconds)


def _seconds(call: Call, repeat: int) -> float:
    start = time.perf_counter()
    for _ in range(repeat):
        call()
    return (time.perf_counter() - start) / repeat
