"""Seconds on the device: CUDA events around calls enqueued on torch's current stream, contenders in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch

from benchmarks.timing import Call, Times
from pontryagin.backend.cuda_sweep import Device

#: Calls in a row between two events, at the most.
LARGEST_REPEAT = 200
#: Cycles of the device, some hundredths of a second: the host enqueues meanwhile, so that kernels follow each other.
HEAD_START = 40_000_000


def interleaved(
    calls: Mapping[str, Call],
    rounds: int = 15,
    slice_seconds: float = 0.02,
    budget_seconds: float = 20.0,
    wall: Collection[str] = (),
) -> Times:
    """Every call once a round, repeated until a slice of time is filled, after two calls to warm up.

    Those in `wall` wait for the device themselves, and have streams of their own: their time is that of the host.
    No round but the first begins once the budget is spent.
    """
    start = time.perf_counter()
    repeats = {}
    for name, call in calls.items():
        _seconds(call, 1, name in wall)
        repeats[name] = min(max(1, round(slice_seconds / _seconds(call, 1, name in wall))), LARGEST_REPEAT)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for index in range(rounds):
        if index and time.perf_counter() - start > budget_seconds:
            break
        for name, call in calls.items():
            seconds[name].append(_seconds(call, repeats[name], name in wall))
    return Times(seconds)


def median(call: Call, rounds: int = 15) -> float:
    return interleaved({"": call}, rounds, budget_seconds=5.0).median("")


def _seconds(call: Call, repeat: int, wall: bool) -> float:
    torch.cuda.synchronize()
    begin, end = events()
    start = time.perf_counter()
    begin.record()
    for _ in range(repeat):
        call()
    end.record()
    torch.cuda.synchronize()
    spent = time.perf_counter() - start if wall else seconds_between(begin, end)
    return max(spent, 1e-9) / repeat


def events() -> tuple[torch.cuda.Event, torch.cuda.Event]:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    return begin, end


def seconds_between(begin: torch.cuda.Event, end: torch.cuda.Event) -> float:
    return float(begin.elapsed_time(end)) / 1e3


class KernelClock:
    """A device that takes the time of every kernel, without what torch does before and after."""

    def __init__(self, device: Device) -> None:
        self._device, self.memory, self.room = device, device.memory, device.room
        self._launches: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def kernel(self, key: str, write: Callable[[], str]) -> Any:
        return self._device.kernel(key, write)

    def launch(self, kernel: Any, threads: int, argument: Any) -> None:
        begin, end = events()
        begin.record()
        self._device.launch(kernel, threads, argument)
        end.record()
        self._launches.append((begin, end))

    def median(self, call: Call, count: int = 15) -> float:
        """Seconds of the one kernel that `call` launches."""
        call()
        torch.cuda.synchronize()
        self._launches.clear()
        torch.cuda._sleep(HEAD_START)  # type: ignore[no-untyped-call]
        for _ in range(count):
            call()
        torch.cuda.synchronize()
        spent = [seconds_between(begin, end) for begin, end in self._launches]
        self._launches.clear()
        return statistics.median(spent)
