"""Data of a training: pairs (input, target), batch by batch, on the device of the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pontryagin.errors import ProblemError


class Batches:
    """Batches of (x, y) from a DataLoader as it is, from a Dataset, or from two tensors in a tuple.

    size None takes all samples at once. `order` draws their order anew each time (None: as they come).
    Raises ProblemError for anything else, for no samples, and for batches that are no pair of tensors.
    """

    def __init__(
        self, data: Any, size: int | None, device: torch.device, *, shuffle: bool, order: torch.Generator | None = None
    ) -> None:
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise ProblemError(f"batch_size is {size!r}; give a whole number from 1, or None for all samples at once")
        self.device, self.shuffle, self.order = device, shuffle, order
        self.loader: DataLoader[Any] | None = None
        if isinstance(data, DataLoader):
            self.loader = data
        elif isinstance(data, tuple | list):
            self.x, self.y = _tensors(data)
            self.size = size or len(self.x)
        elif isinstance(data, Dataset):
            count = _length(data)
            self.loader = DataLoader(data, batch_size=size or count, shuffle=shuffle, generator=order)
        else:
            raise ProblemError(f"data is a {type(data).__name__}; give a DataLoader, a Dataset or tensors (x, y)")

    def __len__(self) -> int:
        return -(-len(self.x) // self.size) if self.loader is None else len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.loader is not None:
            yield from (self._moved(batch) for batch in self.loader)
            return
        count = len(self.x)
        found = torch.randperm(count, generator=self.order) if self.shuffle else None
        for first in range(0, count, self.size):
            part: Any = slice(first, first + self.size)
            if found is not None:
                part = found[part]
            yield self._moved((self.x[part], self.y[part]))

    def _moved(self, batch: Any) -> tuple[Tensor, Tensor]:
        if not isinstance(batch, tuple | list) or len(batch) != 2 or not all(isinstance(b, Tensor) for b in batch):
            raise ProblemError("a batch of the data is no pair (input, target) of tensors; give such a DataLoader")
        return batch[0].to(self.device), batch[1].to(self.device)


def _tensors(data: Any) -> tuple[Tensor, Tensor]:
    try:
        x, y = (torch.as_tensor(part) for part in data)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ProblemError(f"data is no pair of tensors (x, y): {error}") from error
    if x.dim() == 0 or y.dim() == 0 or len(x) != len(y) or len(x) == 0:
        raise ProblemError(
            f"the data have inputs {tuple(x.shape)} and targets {tuple(y.shape)}; give one target a sample, and samples"
        )
    return x, y


def _length(data: Any) -> int:
    try:
        count = len(data)
    except TypeError as error:
        raise ProblemError("the Dataset has no length; give a DataLoader of it") from error
    if count == 0:
        raise ProblemError("the Dataset has no samples")
    return int(count)
