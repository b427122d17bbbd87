"""Functions of one sample as functions of a batch, in PyTorch: by torch.vmap, sample by sample, or along lanes.

The batch is the last axis of all arguments and values: x (n, B), a scalar (B,).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from pontryagin.errors import ProblemError

#: "vmap" is right for all functions that it takes, "loop" for all functions; "lanes" calls a function once with the
#: batch as last axis of every argument: fastest, and right only for functions that pick components and stack them.
Batching = Literal["vmap", "loop", "lanes"]

Function = Callable[..., Tensor]


@dataclass(frozen=True)
class Call:
    """A function of one sample, and a point at which it may be called."""

    name: str
    function: Function
    point: tuple[Tensor, ...]


def batched(functions: Sequence[Function], batching: Batching) -> Callable[..., tuple[Tensor, ...]]:
    """All functions in one call, with the batch as last axis of arguments and values."""

    def together(*sample: Tensor) -> tuple[Tensor, ...]:
        return tuple([function(*sample) for function in functions])

    def loop(*points: Tensor) -> tuple[Tensor, ...]:
        values = [together(*sample) for sample in zip(*[point.unbind(-1) for point in points], strict=True)]
        return tuple([torch.stack(column, -1) for column in zip(*values, strict=True)])

    def lanes(*points: Tensor) -> tuple[Tensor, ...]:
        batch = points[0].shape[-1:]
        values = together(*points)
        return tuple([v if v.shape[-1:] == batch else v.unsqueeze(-1).expand(v.shape + batch) for v in values])

    if batching == "vmap":
        # The batch comes out first and is moved: with out_dims=-1 torch.vmap gives a value that depends on no argument
        # a shape read from outside of its own.
        first = torch.vmap(together, in_dims=-1, out_dims=0, randomness="error")
        return lambda *points: tuple([value.movedim(0, -1) for value in first(*points)])
    return loop if batching == "loop" else lanes


def choose_batching(calls: Sequence[Call]) -> tuple[Batching, str]:
    """vmap; or the loop, with the sentence that says why.

    Raises ProblemError for a function that draws random numbers.
    """
    for call in calls:
        try:
            batched([call.function], "vmap")(*[torch.stack([value, value], -1) for value in call.point])
        except Exception as refusal:  # of many types
            if "random operation" in str(refusal):
                raise ProblemError(
                    f"{call.name} draws random numbers, so that no two sweeps would see the same function; "
                    "draw them once outside of it"
                ) from refusal
            words = str(refusal).strip().split("\n")[0].split(". ")[0].rstrip(".")
            return "loop", f"Samples are evaluated one by one because torch.vmap refuses {call.name}: {words}."
    return "vmap", ""


def parameters_in(calls: Sequence[Call]) -> tuple[nn.Parameter, ...]:
    """The nn.Parameters that the functions take from where they were written, in the order of their use.

    Raises ProblemError for a function that cannot be called at its point.
    """
    with torch.no_grad(), _ParametersSeen() as seen:
        for call in calls:
            try:
                seen.see(call.function(*call.point))
            except Exception as error:
                like = call.point[0]
                raise ProblemError(
                    f"{call.name} raised {type(error).__name__} when called with {like.dtype} on {like.device}: {error}"
                ) from error
    return tuple(seen.found.values())


class _ParametersSeen(TorchFunctionMode):
    """Collects the nn.Parameters that operations take while it is active, each once."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[int, nn.Parameter] = {}

    def see(self, value: object) -> None:
        if isinstance(value, nn.Parameter):
            self.found[id(value)] = value

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for value in tree_leaves((args, kwargs)):
            self.see(value)
        return func(*args, **(kwargs or {}))
