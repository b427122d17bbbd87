"""The workloads in plain PyTorch, batched by hand, differentiated by autograd: the reference of all answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.workloads.workload import Answer, Batch, Namespace, Workload, rk4, three_eighths

SCHEMES: dict[str, Callable[..., Tensor]] = {"rk4": rk4, "3/8 rule": three_eighths}


def _solve(rows: Sequence[Sequence[Any]], right: Sequence[Any]) -> Sequence[Any]:
    def tensor(value: Any) -> Tensor:
        return value if isinstance(value, Tensor) else torch.full_like(right[0], value)

    matrix = torch.stack([torch.stack([tensor(entry) for entry in row], -1) for row in rows], -2)
    solution: Tensor = torch.linalg.solve(matrix, torch.stack(list(right), -1))
    return solution.unbind(-1)


TORCH = Namespace(torch.sin, torch.cos, _solve)


def rates(workload: Workload, y: Tensor, u: Tensor) -> Tensor:
    """y' for y (..., n+1) and u (..., m)."""
    return torch.stack(workload.rates(TORCH, y.unbind(-1), u.unbind(-1)), -1)


def with_cost(state: Tensor) -> Tensor:
    """(x, 0): the state (B, n) with the integral of L at its start."""
    return torch.cat([state, torch.zeros_like(state[:, :1])], 1)


def autograd(
    batch: Batch,
    scheme: str = "rk4",
    step: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Answer:
    """J and dJ/du by a loop over steps and one backward pass; `step(y, u)` replaces that of the scheme."""
    controls = batch.control.transpose(0, 1).contiguous().requires_grad_()
    take = step or step_function(batch, scheme)
    y = with_cost(batch.initial_state)
    for u in controls.unbind():
        y = take(y, u)
    objective = batch.workload.objective(y.unbind(1))
    (gradient,) = torch.autograd.grad(objective.sum(), controls)
    return Answer(objective.detach(), gradient.transpose(0, 1))


def step_function(batch: Batch, scheme: str = "rk4") -> Callable[[Tensor, Tensor], Tensor]:
    workload, h, one_step = batch.workload, batch.step_length, SCHEMES[scheme]
    return lambda y, u: one_step(lambda z: rates(workload, z, u), y, h)
