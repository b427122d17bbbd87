"""torchdiffeq with fixed steps: its rk4 is Kutta's 3/8 rule, by autograd or by its continuous adjoint.

Time is counted in steps, so that int(t) is the number of the step and finds its control. With `perturb` the first and
the last stage are evaluated an ulp inside their step. odeint_adjoint integrates the costate on its own, which is the
gradient of the continuous problem and not of the sum that was computed: only its objective can be checked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torchdiffeq
from torch import Tensor, nn

from benchmarks.contender import Contender
from benchmarks.workloads.in_torch import rates, with_cost
from benchmarks.workloads.workload import Answer, Batch

OPTIONS = {"step_size": 1.0, "perturb": True}


class _Rates(nn.Module):
    """The controls are a parameter, which the adjoint asks for, and handed out as rows, which autograd does better."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self.workload, self.h, self.last = batch.workload, batch.step_length, batch.steps - 1
        self.control = nn.Parameter(batch.control.transpose(0, 1).contiguous())  # (N, B, m)
        self.rows: Sequence[Tensor] | None = None

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        step = min(max(int(t), 0), self.last)
        rows = self.control if self.rows is None else self.rows
        return self.h * rates(self.workload, y, rows[step])


def by_autograd(batch: Batch, threads: int) -> Contender:
    call = _gradient(batch, torchdiffeq.odeint)
    return Contender("torchdiffeq, rk4 (3/8 rule)", call, call, "3/8 rule")


def by_adjoint(batch: Batch, threads: int) -> Contender:
    call = _gradient(batch, torchdiffeq.odeint_adjoint)
    name = "torchdiffeq, odeint_adjoint (3/8 rule; continuous gradient)"
    return Contender(name, call, call, "3/8 rule", exact=False)


def _gradient(batch: Batch, integrate: Any) -> Callable[[], Answer]:
    field, y0 = _Rates(batch), with_cost(batch.initial_state)
    time = torch.tensor([0.0, float(batch.steps)], dtype=batch.dtype)

    def call() -> Answer:
        field.rows = None if integrate is torchdiffeq.odeint_adjoint else field.control.unbind()
        end = integrate(field, y0, time, method="rk4", options=OPTIONS)[-1]
        objective = batch.workload.objective(end.unbind(1))
        (gradient,) = torch.autograd.grad(objective.sum(), field.control)
        return Answer(objective.detach(), gradient.transpose(0, 1))

    return call
