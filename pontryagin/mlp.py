"""Multilayer perceptrons as vector fields: their shape as data, and what they compute, in plain torch.

    z_0 = [x; t],    z_l = sigma_l(W_l z_{l-1} + b_l),    f(t, x) = z_Lambda

Time t is the last column of W_1, where the net takes it. Parameters go from hand to hand as one list
[W_1, b_1, W_2, b_2, ...], in which a layer without a bias has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from pontryagin.errors import ProblemError, unknown_name

#: sigma by name; derivatives at kinks and thresholds follow torch.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "softplus": functional.softplus,
    "sin": torch.sin,
}


@dataclass(frozen=True)
class MLP:
    """The shape of a multilayer perceptron that maps a state of D components, and perhaps time, to its velocity.

    widths (D, h_1, ..., D) without time; activations and bias, one for each layer, the last included; time: whether t
    is the last input column.

    Raises ProblemError when the lengths do not match, a width is not a positive integer, an activation is not known, or
    the velocity is not as wide as the state.
    """

    widths: tuple[int, ...]
    activations: tuple[str, ...]
    bias: tuple[bool, ...]
    time: bool

    def __post_init__(self) -> None:
        layers = len(self.widths) - 1
        if layers < 1 or len(self.activations) != layers or len(self.bias) != layers:
            raise ProblemError(
                f"a net with {len(self.activations)} activations and {len(self.bias)} biases has one width more than "
                f"layers, but there are {len(self.widths)} widths"
            )
        for width in self.widths:
            if not isinstance(width, int) or isinstance(width, bool) or width < 1:
                raise ProblemError(f"widths are positive integers, {width!r} is not")
        for activation in self.activations:
            if activation not in ACTIVATIONS:
                raise unknown_name("activation", activation, ACTIVATIONS)
        if self.widths[0] != self.widths[-1]:
            raise ProblemError(
                f"a vector field is as wide as the state: {self.widths[0]} components go in, {self.widths[-1]} come out"
            )

    @property
    def dim(self) -> int:
        return self.widths[0]

    @property
    def layers(self) -> int:
        return len(self.activations)

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of the parameters, in their order."""
        shapes: list[tuple[int, ...]] = []
        for layer, (before, width) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            shapes.append((width, before + (layer == 0 and self.time)))
            if self.bias[layer]:
                shapes.append((width,))
        return tuple(shapes)

    @property
    def parameter_count(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes)

    def apply(self, t: float | Tensor, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """f(t, x) of a batch x (B, D) with one time for all; weights in the order of `shapes`. (B, D)"""
        z = x
        if self.time:
            column = torch.as_tensor(t, dtype=x.dtype, device=x.device)
            z = torch.cat([x, column.expand(x.shape[0], 1)], dim=1)
        remaining = iter(weights)
        for activation, bias in zip(self.activations, self.bias, strict=True):
            z = functional.linear(z, next(remaining), next(remaining) if bias else None)
            z = ACTIVATIONS[activation](z)
        return z
