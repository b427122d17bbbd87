"""How many bytes of tensors are alive: every storage that an operation of PyTorch makes, from its birth to its end."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveStorages(TorchDispatchMode):
    """While it is entered, a list of births and deaths of storages, in their order.

    What an operation takes for itself and gives back before it ends is not seen.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._alive: dict[int, tuple[int, int]] = {}  # address of a storage -> number of its life, bytes
        self._lives = 0
        self._events: list[tuple[int, int]] = []  # number of a life, bytes born (positive) or dead (negative)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._born(value.untyped_storage())
        return result

    def peak(self, without: Iterable[Tensor] = ()) -> int:
        """The most bytes alive at once, those of tensors `without`, which live still, not counted."""
        left_out = {self._alive.get(tensor.untyped_storage()._cdata, (-1, 0))[0] for tensor in without}
        return max(accumulate((size for life, size in self._events if life not in left_out), initial=0))

    def _born(self, storage: torch.UntypedStorage) -> None:
        address = storage._cdata
        if address in self._alive:
            return
        self._lives += 1
        self._alive[address] = self._lives, storage.nbytes()
        self._events.append(self._alive[address])
        weakref.finalize(storage, self._died, address).atexit = False

    def _died(self, address: int) -> None:
        life, size = self._alive.pop(address)
        self._events.append((life, -size))
