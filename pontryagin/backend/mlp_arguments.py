"""What all sweeps of a perceptron are given, checked: addresses cannot be checked later."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pontryagin.errors import ProblemError
from pontryagin.mlp import MLP


class MLPArguments:
    """Weights (R, ...), the table of rows (N, s) and the lengths of steps (N,) on the CPU, and x0 (B, D).

    Raises ProblemError for tensors of wrong shape, type or device.
    """

    def __init__(
        self,
        mlp: MLP,
        stages: int,
        dtype: torch.dtype,
        device: torch.device,
        weights: Sequence[Tensor],
        rows: Tensor,
        t0: float,
        lengths: Tensor,
        x0: Tensor,
    ) -> None:
        self.mlp, self.dtype, self.device, self.t0 = mlp, dtype, device, t0
        if lengths.dim() != 1 or lengths.shape[0] < 1:
            raise ProblemError(f"lengths has shape {tuple(lengths.shape)}, expected (N,) with at least one step")
        self.steps = lengths.shape[0]
        if x0.dim() != 2:
            raise ProblemError(f"x0 has shape {tuple(x0.shape)}, expected (B, {mlp.dim})")
        self.batch = x0.shape[0]
        self.x0 = self.tensor(x0, (self.batch, mlp.dim), "x0")
        if rows.shape != (self.steps, stages):
            raise ProblemError(f"rows has shape {tuple(rows.shape)}, expected {(self.steps, stages)}")
        if rows.is_floating_point() or rows.is_complex() or not rows.is_cpu:
            raise ProblemError(f"rows holds {rows.dtype} on {rows.device}, expected integers on the CPU")
        self.rows = rows if rows.dtype == torch.int32 and rows.is_contiguous() else rows.to(torch.int32).contiguous()
        shapes = mlp.shapes
        if len(weights) != len(shapes):
            raise ProblemError(f"there are {len(weights)} parameters, expected {len(shapes)}")
        self.weight_rows = weights[0].shape[0] if weights[0].dim() else 0
        if self.weight_rows < 1:
            raise ProblemError("parameters have rows (R, ...), at least one")
        self.weights = [
            self.tensor(w, (self.weight_rows, *shape), i)
            for i, (w, shape) in enumerate(zip(weights, shapes, strict=True))
        ]
        if lengths.dtype != torch.float64 or not lengths.is_cpu or not lengths.is_contiguous():
            lengths = lengths.detach().to(device="cpu", dtype=torch.float64).contiguous()
        self.lengths = lengths

    def tensor(self, value: Tensor, shape: tuple[int, ...], what: str | int) -> Tensor:
        """As kernels read it; a number is that of a parameter."""
        name = what if isinstance(what, str) else f"parameter {what}"
        if value.shape != shape:
            raise ProblemError(f"{name} has shape {tuple(value.shape)}, expected {shape}")
        if value.dtype != self.dtype or value.device != self.device:
            where = "the CPU" if self.device.type == "cpu" else str(self.device)
            raise ProblemError(f"{name} is {value.dtype} on {value.device}, expected {self.dtype} on {where}")
        if value.is_contiguous() and not value.is_neg():
            return value
        return value.detach().resolve_neg().contiguous()
