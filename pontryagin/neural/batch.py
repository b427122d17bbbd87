"""What a net takes and gives, checked: batches of states, targets, and numbers reduced over a batch."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from pontryagin.errors import ProblemError, unknown_name

Reduction = Literal["mean", "sum"]


def horizon_of(horizon: tuple[float, float]) -> tuple[float, float]:
    """(t0, t1) as numbers, t1 later than t0."""
    try:
        t0, t1 = (float(t) for t in horizon)
    except (TypeError, ValueError) as error:
        raise ProblemError(f"the horizon is {horizon!r}; give two times (t0, t1)") from error
    if not (math.isfinite(t0) and math.isfinite(t1) and t1 > t0):
        raise ProblemError(f"the horizon runs from {t0:g} to {t1:g}; t1 must be later than t0, both finite")
    return t0, t1


def started(x: Tensor, weight: Tensor | None, augment: int, width: int | None) -> Tensor:
    """The checked input with `augment` zeros more on axis 1.

    It is of the type and on the device of `weight`, and has `width` components, where these are known.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise ProblemError(f"the input of the net is {kind}; give a tensor of floating-point numbers")
    if x.dim() < 2:
        raise ProblemError(f"the input of the net has shape {tuple(x.shape)}; give a batch (B, ...) of states")
    if weight is not None and (weight.dtype != x.dtype or weight.device != x.device):
        raise ProblemError(
            f"the input of the net is {x.dtype} on {x.device}, its weights are {weight.dtype} on {weight.device}; "
            "move one to the other"
        )
    if augment:
        x = torch.cat([x, x.new_zeros(x.shape[0], augment, *x.shape[2:])], 1)
    if width is not None and x.shape[1:] != (width,):
        added = f", {augment} of them by augment" if augment else ""
        raise ProblemError(
            f"the state has shape {tuple(x.shape[1:])} a sample{added}; the field takes ({width},), "
            f"and the input of the net is (B, {width - augment})"
        )
    return x


def matching(target: Tensor, end: Tensor) -> Tensor:
    """A target for the squared error."""
    if not isinstance(target, Tensor) or target.shape != end.shape:
        got = tuple(target.shape) if isinstance(target, Tensor) else type(target).__name__
        raise ProblemError(f"the target is {got}; the squared error takes the shape of the output, {tuple(end.shape)}")
    return target.to(end)


def checked_reduction(reduction: str) -> None:
    if reduction not in ("mean", "sum"):
        raise unknown_name("reduction", reduction, ("mean", "sum"))


def factor(reduction: str, batch: int) -> float:
    """1 / B or 1; an empty batch has the mean 0."""
    return 1.0 / max(batch, 1) if reduction == "mean" else 1.0


def reduced(value: Any, batch: int, reduction: str) -> Tensor:
    """A number of each sample (B,), reduced; a scalar is taken as reduced already."""
    if not isinstance(value, Tensor):
        raise ProblemError(f"the loss answers a {type(value).__name__}; give a tensor, a scalar or one number a sample")
    if value.dim() == 0:
        return value
    if value.shape != (batch,):
        raise ProblemError(f"the loss answers {tuple(value.shape)}; give a scalar, or one number a sample ({batch},)")
    return factor(reduction, batch) * value.sum()
