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
from benchmarks.odenet.in_torch import mean_square, one_step, reference, unrolled
from benchmarks.odenet.task import STEPS, Answer, Shape, Task, Weights, task
from benchmarks.report import Report
from benchmarks.timing import Call

SHAPES, SIZES = (Shape(2, 64), Shape(32, 128)), (256, 4096)
MS = "ms a gradient"
Made = tuple[Call, Callable[[], Answer]]  # what is timed, and what it answers
Slopes = Callable[[], tuple[torch.Tensor, Weights]]


def odenet(report: Report, quick: bool) -> None:
    report.note("fused CUDA kernels for ODE-Nets: there are none so far; the rows are those of PyTorch")
    sizes = SIZES[-1:] if quick else SIZES
    for makers in (_plain_makers,) if quick else (_plain_makers, _compiled_makers):  # what compiles comes last
        for shape in SHAPES:
            for size in sizes:
                for name, make in makers(_on_device(task(shape, size))).items():
                    with attempt(report, f"{name}, {shape.name}, B={size}"):
                        _one(report, name, make, shape, size)


def _on_device(host: Task) -> Task:
    weights = Weights(*(weight.to(DEVICE) for weight in host.weights))
    return replace(host, initial_state=host.initial_state.to(DEVICE), target=host.target.to(DEVICE), weights=weights)


def _plain_makers(problem: Task) -> dict[str, Callable[[], Made]]:
    slopes = _slopes(problem, one_step)
    return {
        "net, loss and backward, through PyTorch": lambda: _net(problem),
        "eager PyTorch and autograd": lambda: _plain(slopes),
        "CUDA graph of eager PyTorch": lambda: _graphed(slopes),
    }


def _compiled_makers(problem: Task) -> dict[str, Callable[[], Made]]:
    torch._dynamo.reset()  # sizes of the one before are not generalised
    compiled = torch.compile(one_step, dynamic=False)
    # Times are tensors: of numbers, each would be compiled anew.
    times = {n * problem.step_length: torch.tensor(n * problem.step_length, device=DEVICE) for n in range(STEPS)}
    slopes = _slopes(problem, lambda t, x, w, h: compiled(times[t], x, w, h))
    return {
        "torch.compile of one step": lambda: _plain(slopes),
        "CUDA graph of compiled steps": lambda: _graphed(slopes),
    }


def _one(report: Report, name: str, make: Callable[[], Made], shape: Shape, size: int) -> None:
    call, answer = make()
    error = answer().error(reference(shape, size, False, "rk4"))
    assert error < TOLERANCE, f"wrong by {error:.1e}"
    seconds = interleaved({name: call}, budget_seconds=3.0).median(name)
    report.row(name, seconds * 1e3, MS, size, error, f"ODE-Net {shape.name}, float32")


def _slopes(problem: Task, step: Callable[..., torch.Tensor]) -> Slopes:
    weights = Weights(*(weight.clone().requires_grad_() for weight in problem.weights))

    def call() -> tuple[torch.Tensor, Weights]:
        value = unrolled(problem, weights, step)
        return value.detach(), Weights(*torch.autograd.grad(value, weights))

    return call


def _plain(call: Slopes) -> Made:
    return call, lambda: _on_host(*call())


def _graphed(call: Slopes) -> Made:
    replay, result = captured(call)

    def answer() -> Answer:
        replay()
        return _on_host(*result)

    return replay, answer


def _net(problem: Task) -> Made:
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
