"""The net through fused kernels: one call forwards, one call back, with the batch sum of p f_w inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pontryagin.backend.cuda_ahead_mlp import AheadMLP
from pontryagin.backend.cuda_mlp import CudaMLP
from pontryagin.backend.fused_mlp import FusedMLP, Gradient
from pontryagin.errors import BackendError
from pontryagin.mlp import MLP
from pontryagin.neural.field import once_differentiable
from pontryagin.neural.path_cost import PathCost
from pontryagin.neural.stage_weights import StageWeights
from pontryagin.tableau import Tableau

#: Types that the kernels are compiled for.
DTYPES = (torch.float32, torch.float64)


@lru_cache(maxsize=64)
def _kernels(
    mlp: MLP, tableau: Tableau, dtype: torch.dtype, device: torch.device, state: float, velocity: float
) -> FusedMLP | CudaMLP:
    """Handles are kept here, never by nets, so that nets are copied and pickled like any module."""
    if device.type == "cpu":
        return FusedMLP(mlp, tableau, dtype, state_cost=state, velocity_cost=velocity)
    try:
        return CudaMLP(mlp, tableau, dtype, state_cost=state, velocity_cost=velocity, device=device)
    except BackendError as refusal:
        try:
            return AheadMLP(mlp, tableau, dtype, state_cost=state, velocity_cost=velocity, device=device)
        except BackendError:
            raise refusal from None


@lru_cache(maxsize=64)
def _obstacle(*key: Any) -> str | None:
    try:
        _kernels(*key)
    except BackendError as error:
        return str(error)
    return None


@dataclass(frozen=True)
class FusedFlow:
    """Steps of a perceptron on a grid; the counterpart of `Flow`."""

    mlp: MLP
    tableau: Tableau
    nodes: np.ndarray
    stages: StageWeights
    path_cost: PathCost
    table: Tensor  # (N, s) int32, the row of weights that each stage reads
    lengths: Tensor  # (N,) float64

    @classmethod
    def of(
        cls, mlp: MLP, tableau: Tableau, nodes: np.ndarray, stages: StageWeights, cost: PathCost | None
    ) -> FusedFlow:
        table = torch.tensor(stages.forward, dtype=torch.int32)
        return cls(mlp, tableau, nodes, stages, cost or PathCost(), table, torch.from_numpy(np.diff(nodes)))

    @property
    def t0(self) -> float:
        return float(self.nodes[0])

    def kernels(self, x: Tensor) -> FusedMLP | CudaMLP:
        """For tensors like x."""
        return _kernels(*self._key(x))

    def obstacle(self, x: Tensor) -> str | None:
        """Why there are no kernels for tensors like x; None where there are. A device is asked once."""
        return _obstacle(*self._key(x))

    def _key(self, x: Tensor) -> tuple[MLP, Tableau, torch.dtype, torch.device, float, float]:
        return self.mlp, self.tableau, x.dtype, x.device, self.path_cost.state, self.path_cost.velocity

    def rows(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """(R, ...) the weights that stages read, differentiable in the coefficients (K, ...)."""
        if self.stages.plain:
            return [w if w.is_contiguous() else w.contiguous() for w in weights]
        return [self.stages.expanded(w) for w in weights]

    def run(self, x: Tensor, weights: Sequence[Tensor], *, lean: bool) -> tuple[Tensor, Tensor]:
        """The end of the horizon (B, D) and the cost of the path (B,); `lean` keeps nothing for the way back but x."""
        point: tuple[Tensor, Tensor] = _Sweep.apply(  # type: ignore[no-untyped-call]
            self, lean, x.contiguous(), *self.rows(weights)
        )
        return point

    def squared_error(self, x: Tensor, target: Tensor, scale: float, weights: Sequence[Tensor]) -> Tensor:
        """scale sum |x(t1) - target|^2 + scale sum cost; value and gradients in one pass."""
        value: Tensor = _SquaredError.apply(  # type: ignore[no-untyped-call]
            self, x.contiguous(), target.contiguous(), scale, *self.rows(weights)
        )
        return value


class _Sweep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, flow: FusedFlow, lean: bool, x: Tensor, *rows: Tensor) -> tuple[Tensor, Tensor]:
        kernels, threads = flow.kernels(x), torch.get_num_threads()
        wanted = any(ctx.needs_input_grad)
        keep = wanted and not lean and kernels.keeps(x.shape[0], len(flow.lengths), rows[0].shape[0])
        rollout = kernels.rollout(rows, flow.table, flow.t0, flow.lengths, x, keep=keep, threads=threads)
        ctx.flow, ctx.threads, ctx.tape = flow, threads, rollout.tape
        ctx.save_for_backward(x, *rows)
        ctx.costs = rollout.cost is not None
        return rollout.final_state, x.new_zeros(x.shape[0]) if rollout.cost is None else rollout.cost

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, end: Tensor, cost: Tensor) -> tuple[Tensor | None, ...]:
        flow: FusedFlow = ctx.flow
        x, *rows = ctx.saved_tensors
        found = flow.kernels(x).gradient(
            rows,
            flow.table,
            flow.t0,
            flow.lengths,
            x,
            end.contiguous(),
            cost.contiguous() if ctx.costs else None,
            ctx.tape,
            threads=ctx.threads,
        )
        return None, None, found.initial_state, *_wanted(ctx, 3, found.weights)


class _SquaredError(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, flow: FusedFlow, x: Tensor, target: Tensor, scale: float, *rows: Tensor) -> Tensor:
        value, end, found = _squared_error(flow, x, target, scale, rows)
        ctx.flow, ctx.scale, ctx.found = flow, scale, (end, found)
        ctx.save_for_backward(x, target, *rows)
        return value.to(x.dtype) if isinstance(value, Tensor) else x.new_tensor(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor | None, ...]:
        x, target, *rows = ctx.saved_tensors
        if ctx.found is None:
            _, *ctx.found = _squared_error(ctx.flow, x, target, ctx.scale, rows)
        (end, found), ctx.found = ctx.found, None  # handed over: what is held by nobody else need not be copied
        by = factor.item() if factor.is_cpu else factor  # nothing waits for a GPU
        if isinstance(by, Tensor) or by != 1.0:
            for gradient in (found.initial_state, *found.weights):
                gradient.mul_(by)
        at_target = (target - end).mul_(2.0 * ctx.scale * by) if ctx.needs_input_grad[2] else None
        initial = found.initial_state if ctx.needs_input_grad[1] else None
        return None, initial, at_target, None, *_wanted(ctx, 4, found.weights)


def _squared_error(
    flow: FusedFlow, x: Tensor, target: Tensor, scale: float, rows: Sequence[Tensor]
) -> tuple[float | Tensor, Tensor, Gradient]:
    return flow.kernels(x).squared_error(
        rows,
        flow.table,
        flow.t0,
        flow.lengths,
        x,
        target,
        scale,
        cost_scale=scale if flow.path_cost.state or flow.path_cost.velocity else 0.0,
        threads=torch.get_num_threads(),
    )


def _wanted(ctx: Any, first: int, gradients: Sequence[Tensor]) -> list[Tensor | None]:
    return [g if wanted else None for g, wanted in zip(gradients, ctx.needs_input_grad[first:], strict=True)]
