"""Gradient steps of ODE-Nets by PyTorch, float32, 20 RK4 steps: what fused kernels for nets will be measured by.

The package has no CUDA kernels for nets so far: on a GPU its nets run through PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.device.attempts import attempt
from benchmarks.device.graphed import captured
from benchmarks.device.kernels import DEVICE
from benchmarks.device.timing import interleaved
from benchmarks.odenet import ours
from benchmarks.odenet.contender import TOLERANCE
from benchmarks.odenet.in_torch import mean_square, reference, unrolled
from benchmarks.odenet.task import Answer, Shape, Task, Weights, task
from benchmarks.report import Report

SHAPES, SIZES = (Shape(2, 64), Shape(32, 128)), (256, 4096)
MS = "ms a gradient"
Slopes = Callable[[], tuple[torch.Tensor, Weights]]


def odenet(report: Report, quick: bool) -> None:
    report.note("fused CUDA kernels for ODE-Nets: there are none so far; the rows are those of PyTorch")
    for shape in SHAPES:
        for size in SIZES[-1:] if quick else SIZES:
            _one_shape(report, shape, size, quick)


def _one_shape(report: Report, shape: Shape, size: int, quick: bool) -> None:
    host = task(shape, size)
    weights = Weights(*(weight.to(DEVICE) for weight in host.weights))
    there = replace(
        host, initial_state=host.initial_state.to(DEVICE), target=host.target.to(DEVICE), weights=weights
    )  # fmt: skip
    makers: dict[str, Callable[[], tuple[Callable[[], object], Callable[[], Answer]]]] = {
        "net, loss and backward, through PyTorch": lambda: _net(there),
        "eager PyTorch and autograd": lambda: _plain(_slopes(there, lambda w: unrolled(there, w))),
        "CUDA graph of eager PyTorch": lambda: _graphed(_slopes(there, lambda w: unrolled(there, w))),
    }
    if not quick:
        loss = torch.compile(lambda w: unrolled(there, w), dynamic=False)
        makers["torch.compile of the loss"] = lambda: _plain(_slopes(there, loss))
        makers["CUDA graph of the compiled loss"] = lambda: _graphed(_slopes(there, loss))
    torch._dynamo.reset()  # sizes of the one before are not generalised
    for name, make in makers.items():
        with attempt(report, f"{name}, {shape.name}, B={size}"):
            call, answer = make()
            error = answer().error(reference(shape, size, False, "rk4"))
            assert error < TOLERANCE, f"wrong by {error:.1e}"
            seconds = interleaved({name: call}, budget_seconds=3.0).median(name)
            report.row(name, seconds * 1e3, MS, size, error, f"ODE-Net {shape.name}, float32")


def _slopes(problem: Task, loss: Callable[[Weights], torch.Tensor]) -> Slopes:
    weights = Weights(*(weight.clone().requires_grad_() for weight in problem.weights))

    def call() -> tuple[torch.Tensor, Weights]:
        value = loss(weights)
        return value.detach(), Weights(*torch.autograd.grad(value, weights))

    return call


def _plain(call: Slopes) -> tuple[Callable[[], object], Callable[[], Answer]]:
    return call, lambda: _on_host(*call())


def _graphed(call: Slopes) -> tuple[Callable[[], object], Callable[[], Answer]]:
    replay, result = captured(call)

    def answer() -> Answer:
        replay()
        return _on_host(*result)

    return replay, answer


def _net(problem: Task) -> tuple[Callable[[], object], Callable[[], Answer]]:
    net = ours.odenet(problem).to(DEVICE)

    def call() -> torch.Tensor:
        net.zero_grad()
        loss = mean_square(net(problem.initial_state), problem.target)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def answer() -> Answer:
        loss = call()
        return _on_host(loss, ours.gradient(problem, net))

    return call, answer


def _on_host(value: torch.Tensor, slopes: Weights) -> Answer:
    return Answer(float(value), Weights(*(slope.cpu() for slope in slopes)))
