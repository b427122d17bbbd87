"""What makes the host wait for a device, refused: the CPU then stands for a device on which every wait costs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from pontryagin.optim.groups import Groups

#: Operations whose result the host needs before it can go on, and methods that copy to it.
NUMBERS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2")
COPIES = ("tolist", "numpy", "cpu")
INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")


class Asked(Exception):
    """The host has asked."""


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masks = name in INDEXING and any(i is not None and i.dtype == torch.bool for i in args[1])
        if name in NUMBERS or masks:
            raise Asked(f"{name}{' by a mask' if masks else ''}")
        return func(*args, **(kwargs or {}))


class _Methods(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in COPIES:
            raise Asked(func.__name__)
        if func is torch.where and any(isinstance(value, (int, float)) for value in args[1:]):
            raise Asked("where of a number: it is copied to the device, where masked_fill hands it to the kernel")
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def no_questions() -> Iterator[None]:
    with _Methods(), _Operations():
        yield


def refuse_questions(
    monkeypatch: pytest.MonkeyPatch, refused: Callable[[], contextlib.AbstractContextManager[None]] = no_questions
) -> list[bool]:
    """From now on the host may ask when it looks, and then only; returns whether it looked, one entry an iteration."""
    looked: list[bool] = []

    def watched(method: Callable[[Groups], Any], quiet_at_looks: bool) -> Callable[[Groups], Any]:
        def call(groups: Groups) -> Any:
            with contextlib.nullcontext() if groups.looking and not quiet_at_looks else refused():
                return method(groups)

        return call

    def counted(groups: Groups) -> bool:
        looked.append(groups.looking)
        return report(groups)

    for name, quiet_at_looks in (("shift_multipliers", True), ("advance", True), ("retire", False), ("report", False)):
        monkeypatch.setattr(Groups, name, watched(getattr(Groups, name), quiet_at_looks))
    report = Groups.report
    monkeypatch.setattr(Groups, "report", counted)
    return looked
