"""The package's own contenders: the net with a loss of PyTorch after it, and with the loss known before the sweep."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

import pontryagin as pmp
from benchmarks.odenet.contender import Contender
from benchmarks.odenet.in_torch import mean_square
from benchmarks.odenet.task import Answer, Task, Weights

OBJECTIVE, AUTOGRAD = "net.objective and backward", "net, loss and backward"
PER_STEP = ", weights per step"


def with_objective(problem: Task) -> Contender:
    """Forward and reverse in one pass over blocks of the batch."""
    net = odenet(problem)
    return _contender(OBJECTIVE, problem, net, lambda x, y: net.objective(x, y, "squared_error"))


def with_autograd(problem: Task) -> Contender:
    net = odenet(problem)
    return _contender(AUTOGRAD, problem, net, lambda x, y: mean_square(net(x), y))


def odenet(problem: Task, gradient: str = "discrete", backend: str = "auto") -> pmp.ODENet:
    """The net of the task, with its weights."""
    d, h = problem.shape.width, problem.shape.hidden
    field = nn.Sequential(nn.Linear(d + 1, h), nn.Tanh(), nn.Linear(h, d))  # the last column that comes in is t
    weights = "per_step" if problem.per_step else "constant"
    net = pmp.ODENet(
        field.to(problem.target.dtype),
        steps=problem.steps,
        scheme="rk4",
        weights=weights,
        gradient=gradient,
        backend=backend,
    )
    W1, b1, c1, W2, b2 = problem.weights
    values = torch.cat([W1, c1[..., None]], -1), b1, W2, b2
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), values, strict=True):
            parameter.copy_(value)
    return net


def gradient(problem: Task, net: pmp.ODENet) -> Weights:
    """Of the net's parameters, with the columns of the time apart."""
    slopes = [parameter.grad for parameter in net.parameters()]
    first, b1, W2, b2 = (slope for slope in slopes if slope is not None)
    parts = Weights(first[..., :-1], b1, first[..., -1], W2, b2)
    return Weights(*(part.reshape(weight.shape) for part, weight in zip(parts, problem.weights, strict=True)))


def _contender(name: str, problem: Task, net: pmp.ODENet, loss: Callable[[Tensor, Tensor], Tensor]) -> Contender:
    def call() -> Tensor:
        net.zero_grad()
        value = loss(problem.initial_state, problem.target)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    def answer() -> Answer:
        value = call()
        return Answer(value.item(), gradient(problem, net))

    return Contender(name + PER_STEP if problem.per_step else name, call, answer)
