"""Newton's method on the device: cart-pole swing-ups from many initial states, 100 steps, residuals to 1e-6.

Each initial state is moved by up to a tenth of the range of its components. Before anything is timed, controls are
integrated again by numpy, which has to reach the end, and problems at either end of the batch are solved on the CPU.
The sine of a device has other last bits, and the problem several minima: not every objective needs to be the same.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

import pontryagin as pmp
from benchmarks.device import timing
from benchmarks.device.attempts import attempt
from benchmarks.device.kernels import DEVICE, KERNEL
from benchmarks.newton_peers.statement import CARTPOLE, STEPS
from benchmarks.report import Report
from benchmarks.starts import disturbed
from pontryagin.backend.cuda_newton import NewtonKernel
from pontryagin.backend.cuda_newton_job import ITERATE

SIZES, QUICK_SIZES = (1000, 100_000), (1000,)
MAIN, LIMIT = 100_000, "<= 2"  # the size of the limit, in seconds
PLACES = (2**13, 2**14, 2**15)  # on their way at a time, beside as many as there is room for
CHECKED = 100  # problems at either end
TIER = "native"  # that they are solved by once more
REACHED, SHARE = 1e-5, 0.99  # of the end, by this part of the problems
CLOSE = 1e-6  # relative, of the objective
SOLVE = "pontryagin.solve, tensors on the GPU"
OPTIONS: dict[str, Any] = {"method": "newton", "steps": STEPS, "control": "constant", "tolerance": 1e-6}


def swing_ups(report: Report, quick: bool) -> None:
    for size in QUICK_SIZES if quick else SIZES:
        with attempt(report, f"cart-pole swing-ups, B={size}", torch.OutOfMemoryError):
            _one_size(report, size)


def _one_size(report: Report, size: int) -> None:
    group = f"{CARTPOLE.name} by Newton's method, {STEPS} steps, {size} initial states"
    starts = disturbed(CARTPOLE.problem, size, seed=0)
    given = starts.to(DEVICE)
    error = _asserted(solved(given), starts)
    kernel = NewtonKernel.of(CARTPOLE.problem, given.device)
    with Clock(kernel, kernel.on.room) as clock:
        solution = solved(given)
    seconds = _seconds(given)
    report.row(SOLVE, seconds, "s", size, error, group)
    report.row(_words(clock), clock.seconds(), "s", size, error, group)
    for places in (places for places in PLACES if places < size):  # fewer may share the caches better
        with Clock(kernel, places * clock.bytes_each) as fewer:
            solved(given)
        report.row(_words(fewer), fewer.seconds(), "s", size, error, group)
    report.row("iterations, mean", float(solution.iterations.double().mean()), "iterations", size, group=group)
    report.row("memory of a problem on its way", clock.bytes_each / 2**10, "KiB", size, group=group)
    if size == MAIN:
        report.check(f"{CARTPOLE.name}: {SOLVE}, seconds", seconds, LIMIT, size)


def _words(clock: Clock) -> str:
    return f"{KERNEL}, {clock.places} problems on their way at a time, {clock.launches} launches"


def solved(starts: Tensor) -> pmp.Solution:
    solution = pmp.solve(CARTPOLE.problem, initial_state=starts, backend="cuda", **OPTIONS)
    assert solution.backend == "cuda", solution.backend_reason
    return solution


def small() -> None:
    """More problems than a block has threads, in turn on few places, on a short grid: for the sanitizer."""
    problem = CARTPOLE.problem
    kernel = NewtonKernel.of(problem, DEVICE)
    kernel.on.room = 1  # as few places as there can be
    starts = problem.initial_state.repeat(65, 1).to(DEVICE)
    pmp.solve(problem, initial_state=starts, backend="cuda", **OPTIONS | {"steps": 10})


def _asserted(solution: pmp.Solution, starts: Tensor) -> float:
    """The median relative difference of objectives from those on the CPU."""
    control = solution.control.values.cpu().numpy()
    _, end = CARTPOLE.led_to(control, starts.numpy())
    share = float((CARTPOLE.missed(end) <= REACHED).mean())
    assert share >= SHARE, f"the end is reached in {share:.1%} of {len(starts)} problems"
    rows = np.unique(np.r_[: min(CHECKED, len(starts)), max(len(starts) - CHECKED, 0) : len(starts)])
    expected = pmp.solve(CARTPOLE.problem, initial_state=starts[rows], backend=TIER, **OPTIONS)
    found = solution.objective.cpu()[rows]
    difference = (found - expected.objective).abs() / expected.objective.abs()
    same = float((difference <= CLOSE).double().mean())
    assert same >= SHARE, f"objectives are those of the CPU in {same:.1%} of {len(rows)} problems"
    return float(difference.median())


def _seconds(starts: Tensor) -> float:
    """Of a whole solve, the better of two."""
    spent = []
    for _ in range(2):
        torch.cuda.synchronize()
        began = time.perf_counter()
        solved(starts)
        torch.cuda.synchronize()
        spent.append(time.perf_counter() - began)
    return min(spent)


class Clock:
    """Takes the time of the kernel's launches while it is entered, and notes the memory that they had."""

    def __init__(self, kernel: NewtonKernel, room: int) -> None:
        self._kernel, self._device = kernel, kernel.on
        self.memory, self.room = kernel.on.memory, room
        self._between: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self.launches = self.places = self.bytes_each = 0

    def __enter__(self) -> Clock:
        self._kernel.on = self
        return self

    def __exit__(self, *_: object) -> None:
        self._kernel.on = self._device

    def kernel(self, key: str, write: Any) -> Any:
        return self._device.kernel(key, write)

    def launch(self, kernel: Any, threads: int, argument: Any) -> None:
        begin, end = timing.events()
        begin.record()
        self._device.launch(kernel, threads, argument)
        end.record()
        self._between.append((begin, end))
        if argument.verb == ITERATE:
            self.launches += 1
            self.places = max(self.places, threads)
            self.bytes_each = 8 * argument.group_rows + argument.own_bytes

    def seconds(self) -> float:
        torch.cuda.synchronize()
        return sum(timing.seconds_between(begin, end) for begin, end in self._between)
