"""PyTorch itself: step by step as it stands, and with one step compiled by torch.compile."""

from __future__ import annotations

import os

import torch

from benchmarks.build import BUILD
from benchmarks.contender import Contender
from benchmarks.workloads.in_torch import autograd, step_function
from benchmarks.workloads.workload import Answer, Batch

os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(BUILD / "inductor"))


def eager(batch: Batch, threads: int) -> Contender:
    def call() -> Answer:
        return autograd(batch)

    return Contender("eager PyTorch and autograd", call, call)


def compiled(batch: Batch, threads: int) -> Contender:
    """The loop over steps stays in Python: a graph of the whole horizon takes minutes to compile."""
    torch._dynamo.reset()  # the sizes of one batch are not generalised from those before
    step = torch.compile(step_function(batch), dynamic=False)

    def call() -> Answer:
        return autograd(batch, step=step)

    return Contender("torch.compile of one step", call, call)
