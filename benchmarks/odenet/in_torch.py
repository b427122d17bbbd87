"""The task in plain PyTorch, unrolled and differentiated by autograd: a peer, and the reference of all answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import torch
from torch import Tensor

from benchmarks.odenet.task import Answer, Shape, Task, Weights, rk4, task, three_eighths

SCHEMES: dict[str, Callable[..., Tensor]] = {"rk4": rk4, "3/8 rule": three_eighths}
Loss = Callable[[Weights], Tensor]


def field(t: float | Tensor, x: Tensor, w: Weights) -> Tensor:
    return torch.addmm(w.b2, torch.tanh(torch.addmm(w.b1 + t * w.c1, x, w.W1.T)), w.W2.T)


def one_step(t: float | Tensor, x: Tensor, w: Weights, h: float, scheme: str = "rk4") -> Tensor:
    return SCHEMES[scheme](lambda s, z: field(s, z, w), t, x, h)


def mean_square(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().sum(-1).mean()


def unrolled(problem: Task, w: Weights, step: Callable[..., Tensor] = one_step) -> Tensor:
    """The loss for weights like those of the task, by `step(t, x, w, h)`."""
    x, h = problem.initial_state, problem.step_length
    each = zip(*(v.unbind() for v in w), strict=True) if problem.per_step else [w] * problem.steps
    for n, row in enumerate(each):
        x = step(n * h, x, Weights(*row), h)
    return mean_square(x, problem.target)


def by_autograd(problem: Task, loss: Loss) -> Callable[[], Answer]:
    weights = Weights(*(weight.clone().requires_grad_() for weight in problem.weights))

    def call() -> Answer:
        value = loss(weights)
        return Answer(value.item(), Weights(*torch.autograd.grad(value, weights)))

    return call


@lru_cache(maxsize=64)
def reference(shape: Shape, size: int, per_step: bool, scheme: str) -> Answer:
    """In float64, with the data of float32."""
    exact = task(shape, size, per_step).double()
    return by_autograd(exact, lambda w: unrolled(exact, w, partial(one_step, scheme=scheme)))()
