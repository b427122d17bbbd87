"""How good a model is on data, and the best weights so far."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike

import torch
from torch import Tensor, nn

from pontryagin.errors import NonFiniteError, ProblemError
from pontryagin.neural.batch import reduced
from pontryagin.neural.batches import Batches
from pontryagin.neural.training_step import Loss, evaluated
from pontryagin.neural.weight_file import save_weights

#: A number of each sample (B,), or their mean, from (output, target).
Metric = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Score:
    """Means over the samples of data."""

    loss: float
    cost: float  # running costs of the nets
    metrics: Mapping[str, float]


@torch.no_grad()
def scored(model: nn.Module, loss: Loss, data: Batches, metrics: Mapping[str, Metric]) -> Score:
    """In evaluation mode. Accuracy is added where targets are integer classes."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        samples = 0
        losses: list[float] = []
        costs: list[float] = []
        measured: dict[str, list[float]] = {}
        for x, y in data:
            output, value, cost = evaluated(model, loss, x, y)
            losses.append(len(x) * float(value))
            costs.append(len(x) * float(cost))
            wanted = {"accuracy": accuracy, **metrics} if classes(output, y) else metrics
            for name, metric in wanted.items():
                measured.setdefault(name, []).append(len(x) * float(reduced(metric(output, y), len(x), "mean")))
            samples += len(x)
    finally:
        for module, training in modes:
            module.training = training
    if not samples:
        raise ProblemError("the data that the score is taken on have no samples")
    if math.isnan(sum(losses)):
        raise NonFiniteError("the loss is NaN, though the output of the net is finite; look at the loss")
    return Score(
        sum(losses) / samples,
        sum(costs) / samples,
        {name: sum(values) / samples for name, values in measured.items()},
    )


def classes(output: Tensor, target: Tensor) -> bool:
    """Whether targets (B, ...) are numbers of classes, one for scores (B, C, ...)."""
    number = not (target.is_floating_point() or target.is_complex() or target.dtype is torch.bool)
    return number and output.dim() == target.dim() + 1 and output.shape[1] > 1


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of the batch whose largest output is that of its class."""
    return (output.argmax(1) == target).double().mean()


class Best:
    """The weights with the least score so far; those at the start before there is any."""

    def __init__(self, model: nn.Module, patience: int | None, checkpoint: str | PathLike[str] | None) -> None:
        self.model, self.patience, self.checkpoint = model, patience, checkpoint
        self.score, self.epoch = math.inf, 0
        self._state = copy.deepcopy(model.state_dict())

    def offer(self, score: float, epoch: int) -> None:
        """Kept, and written, where it is better."""
        if not score < self.score:
            return
        self.score, self.epoch = score, epoch
        self._state = copy.deepcopy(self.model.state_dict())
        if self.checkpoint is not None:
            save_weights(self._state, self.checkpoint)

    def exhausted(self, epoch: int) -> bool:
        return self.patience is not None and epoch - self.epoch >= self.patience

    def restore(self) -> None:
        self.model.load_state_dict(self._state)
