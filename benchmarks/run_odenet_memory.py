"""Memory of every gradient of an ODE-Net against its number of steps, and how exact each is.

A batch of 64, field 16-32-16, RK4, float64, on the path through PyTorch. Bytes alive at the peak of forward and
backward beyond weights, their gradients, input and output. Errors against autograd through the same steps.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

import pontryagin as pmp
from benchmarks.odenet import ours
from benchmarks.odenet import reversible as two_copies
from benchmarks.odenet.in_torch import by_autograd, mean_square, unrolled
from benchmarks.odenet.live import LiveStorages
from benchmarks.odenet.task import Answer, Shape, Task, task
from benchmarks.report import Report

SHAPE, SIZE = Shape(16, 32), 64
STEPS = (10, 30, 100, 300, 1000)
LOSSES = {
    "discrete": unrolled,
    "checkpoint": unrolled,
    "reversible": two_copies.unrolled,
    "continuous": unrolled,
}
#: Relative; those not here are inexact. Undoing a step divides rounding by 0.999, a thousand of them by 0.37.
TOLERANCE = {"discrete": 1e-10, "checkpoint": 1e-10, "reversible": 1e-9}
#: How many times the memory grows from the fewest steps to the most.
GROWTH = {"checkpoint": f"<= {1.5 * math.sqrt(STEPS[-1] / STEPS[0]):g}", "reversible": "<= 1.2"}


def run() -> Report:
    torch.set_num_threads(1)
    report = Report("odenet_memory")
    for name in LOSSES:
        peaks = []
        for steps in STEPS:
            problem = replace(task(SHAPE, SIZE, dtype=torch.float64), steps=steps)
            net = ours.odenet(problem, gradient=name, backend="torch")
            peaks.append(activations(net, problem))
            error = _answer(net, problem).error(_reference(name, problem))
            assert name not in TOLERANCE or error < TOLERANCE[name], f"{name}, {steps} steps, is wrong by {error:.1e}"
            report.row(name, peaks[-1] / 1024, "KiB", group="alive at the peak", steps=steps)
            report.row(name, error, "", group="largest relative error of the gradient", steps=steps)
        growth = peaks[-1] / peaks[0]
        report.row(name, growth, "times", group=f"growth of memory from {STEPS[0]} to {STEPS[-1]} steps")
        if name in GROWTH:
            report.check(f"{name}: growth of memory from {STEPS[0]} to {STEPS[-1]} steps", growth, GROWTH[name])
    return report


def activations(net: pmp.ODENet, problem: Task) -> int:
    """Bytes alive at the peak of one forward and backward pass beyond weights, their gradients, input and output."""
    net.zero_grad()
    storages = LiveStorages()
    with storages:
        end = net(problem.initial_state)
        mean_square(end, problem.target).backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    return storages.peak(without=[*net.parameters(), *gradients, problem.initial_state, problem.target, end])


def _answer(net: pmp.ODENet, problem: Task) -> Answer:
    net.zero_grad()
    loss = mean_square(net(problem.initial_state), problem.target)
    loss.backward()  # type: ignore[no-untyped-call]
    return Answer(loss.item(), ours.gradient(problem, net))


def _reference(name: str, problem: Task) -> Answer:
    return by_autograd(problem, lambda w: LOSSES[name](problem, w))()
