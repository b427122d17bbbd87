"""PyTorch itself: step by step as it stands, and compiled by torch.compile, the whole loss or one step."""

from __future__ import annotations

import os

import torch

from benchmarks.build import BUILD
from benchmarks.odenet.contender import Contender
from benchmarks.odenet.in_torch import by_autograd, one_step, unrolled
from benchmarks.odenet.task import Task

os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(BUILD / "inductor"))


def eager(problem: Task) -> Contender:
    call = by_autograd(problem, lambda w: unrolled(problem, w))
    return Contender("eager PyTorch and autograd", call, call)


def compiled_loss(problem: Task) -> Contender:
    torch._dynamo.reset()  # the sizes of one batch are not generalised from those before
    loss = torch.compile(lambda w: unrolled(problem, w), dynamic=False)
    call = by_autograd(problem, loss)
    return Contender("torch.compile of the loss", call, call)


def compiled_step(problem: Task) -> Contender:
    """The time is a tensor: of a number, each value would be compiled anew."""
    torch._dynamo.reset()
    step = torch.compile(one_step, dynamic=False)
    call = by_autograd(problem, lambda w: unrolled(problem, w, lambda t, x, row, h: step(torch.tensor(t), x, row, h)))
    return Contender("torch.compile of one step", call, call)
