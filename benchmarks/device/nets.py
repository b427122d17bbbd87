"""Gradient steps of ODE-Nets, float32, 20 RK4 steps: kernels for nets against every way of PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.device.attempts import attempt
from benchmarks.device.graphed import captured
from benchmarks.device.kernels import DEVICE, poisoned_nets
from benchmarks.device.timing import interleaved
from benchmarks.odenet import ours
from benchmarks.odenet.contender import TOLERANCE
from benchmarks.odenet.in_torch import mean_square, one_step, reference, unrolled
from benchmarks.odenet.task import STEPS, Answer, Shape, Task, Weights, task
from benchmarks.report import Report
from benchmarks.timing import Call

SIZES = (256, 4096)
#: How many times faster than the best of PyTorch a gradient step is to be.
FASTER = {Shape(2, 64): ">= 10", Shape(32, 128): ">= 4"}
MS = "ms a gradient"
OBJECTIVE, AUTOGRAD = "net.objective and backward", "net, loss and backward"
OURS = (OBJECTIVE, AUTOGRAD, f"CUDA graph of {OBJECTIVE}")
Made = tuple[Call, Callable[[], Answer]]  # what is timed, and what it answers
Slopes = Callable[[], tuple[torch.Tensor, Weights]]
Seconds = dict[tuple[Shape, int], dict[str, float]]


def odenet(report: Report, quick: bool) -> None:
    sizes, seconds = SIZES[-1:] if quick else SIZES, Seconds()
    for makers in (_plain_makers,) if quick else (_plain_makers, _compiled_makers):  # what compiles comes last
        for shape in FASTER:
            for size in sizes:
                for name, make in makers(_on_device(task(shape, size))).items():
                    with attempt(report, f"{name}, {shape.name}, B={size}"):
                        seconds.setdefault((shape, size), {})[name] = _one(report, name, make, shape, size)
    for (shape, size), found in seconds.items():
        others = {name: spent for name, spent in found.items() if name not in OURS}
        if OBJECTIVE in found and others:
            best = min(others, key=others.__getitem__)
            what = f"ODE-Net {shape.name}: {best}, the best of PyTorch, over {OBJECTIVE}"
            report.check(what, others[best] / found[OBJECTIVE], FASTER[shape], size)


def _on_device(host: Task) -> Task:
    weights = Weights(*(weight.to(DEVICE) for weight in host.weights))
    return replace(host, initial_state=host.initial_state.to(DEVICE), target=host.target.to(DEVICE), weights=weights)


def _plain_makers(problem: Task) -> dict[str, Callable[[], Made]]:
    slopes = _slopes(problem, one_step)
    objective, autograd, graph = OURS
    return {
        objective: lambda: _net(problem, "fused", True),
        autograd: lambda: _net(problem, "fused", False),
        graph: lambda: _captured_net(problem),
        f"{AUTOGRAD}, through PyTorch": lambda: _net(problem, "torch", False),
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


def _one(report: Report, name: str, make: Callable[[], Made], shape: Shape, size: int) -> float:
    with poisoned_nets():
        call, answer = make()
        found = answer()
    error = found.error(reference(shape, size, False, "rk4"))
    assert error < TOLERANCE, f"wrong by {error:.1e}"
    seconds = interleaved({name: call}, budget_seconds=3.0).median(name)
    report.row(name, seconds * 1e3, MS, size, error, f"ODE-Net {shape.name}, float32")
    return seconds


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


def _net(problem: Task, backend: str, in_one_pass: bool) -> Made:
    net = ours.odenet(problem, backend=backend).to(DEVICE)

    def call() -> torch.Tensor:
        net.zero_grad()
        x, y = problem.initial_state, problem.target
        loss: torch.Tensor = net.objective(x, y) if in_one_pass else mean_square(net(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def answer() -> Answer:
        loss = call()
        return _on_host(loss, ours.gradient(problem, net))

    return call, answer


def _captured_net(problem: Task) -> Made:
    net = ours.odenet(problem, backend="fused").to(DEVICE)

    def call() -> torch.Tensor:
        loss: torch.Tensor = net.objective(problem.initial_state, problem.target)
        for parameter, slope in zip(net.parameters(), torch.autograd.grad(loss, list(net.parameters())), strict=True):
            parameter.grad = slope
        return loss.detach()

    replay, loss = captured(call)

    def answer() -> Answer:
        replay()
        return _on_host(loss, ours.gradient(problem, net))

    return replay, answer


def _on_host(value: torch.Tensor, slopes: Weights) -> Answer:
    return Answer(float(value), Weights(*(slope.cpu() for slope in slopes)))
