"""One gradient step of an ODE-Net: the loss of a batch and its derivatives in all weights, 20 Runge-Kutta steps.

    J = mean_b |x_b(1) - y_b|^2,   x' = W2 tanh(W1 x + b1 + t c1) + b2 on (0, 1)

with x in R^D and H hidden units, W1 (H, D), b1 and c1 (H,), W2 (D, H), b2 (D,). The formulas take whatever has +, -, *:
tensors of PyTorch and of JAX alike. Weights per step have the steps as leading axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

STEPS = 20
STAGES = 4


class Weights(NamedTuple):
    W1: Any
    b1: Any
    c1: Any
    W2: Any
    b2: Any


@dataclass(frozen=True)
class Shape:
    width: int  # D
    hidden: int  # H

    @property
    def name(self) -> str:
        return f"{self.width}-{self.hidden}-{self.width}"

    @property
    def operations(self) -> int:
        """Of one sample in one stage, forward and backward; an addition and a multiplication are one each.

        Two matrix products forward, of D H multiply-adds, and tanh counted as 30 operations; backward four, with x and
        with the weights, and 6 H for the derivative of tanh, b1 and c1. Nothing is computed again: tanh is kept.
        """
        d, h = self.width, self.hidden
        return 2 * (2 * d * h) + 30 * h + 4 * (2 * d * h) + 6 * h


@dataclass(frozen=True)
class Task:
    shape: Shape
    initial_state: Tensor  # (B, D)
    target: Tensor  # (B, D)
    weights: Weights  # constant, or with the steps as leading axis
    steps: int = STEPS

    @property
    def size(self) -> int:
        return self.target.shape[0]

    @property
    def step_length(self) -> float:
        return 1 / self.steps

    @property
    def per_step(self) -> bool:
        return bool(self.weights.b1.dim() == 2)

    @property
    def operations(self) -> int:
        return self.shape.operations * STAGES * self.steps * self.size

    def double(self) -> Task:
        """The same numbers in float64."""
        weights = Weights(*(weight.double() for weight in self.weights))
        return replace(self, initial_state=self.initial_state.double(), target=self.target.double(), weights=weights)


@dataclass(frozen=True)
class Answer:
    loss: float
    gradient: Weights  # of tensors

    def error(self, reference: Answer) -> float:
        """The largest relative difference: of the losses, and of each gradient in its largest norm."""
        errors = [abs(self.loss - reference.loss) / abs(reference.loss)]
        for mine, other in zip(self.gradient, reference.gradient, strict=True):
            errors.append(float((mine - other).abs().max() / other.abs().max()))
        return math.nan if any(map(math.isnan, errors)) else max(errors)  # max() alone may pass over what is no number


def task(shape: Shape, size: int, per_step: bool = False, dtype: torch.dtype = torch.float32) -> Task:
    """Drawn at random, the same on every call. Weights per step are the constant ones with a little noise."""
    generator = torch.Generator().manual_seed(0)

    def draw(*sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=generator, dtype=torch.float64)

    d, h = shape.width, shape.hidden
    state, target = draw(size, d), draw(size, d)
    weights = Weights(draw(h, d) / d**0.5, 0.3 * draw(h), 0.3 * draw(h), draw(d, h) / h**0.5, 0.1 * draw(d))
    if per_step:
        weights = Weights(*(weight + 0.02 * draw(STEPS, *weight.shape) for weight in weights))
    return Task(shape, state.to(dtype), target.to(dtype), Weights(*(weight.to(dtype) for weight in weights)))


def rk4(f: Callable[[Any, Any], Any], t: Any, x: Any, h: float) -> Any:
    """One step of the classic Runge-Kutta method."""
    k1 = f(t, x)
    k2 = f(t + h / 2, x + h / 2 * k1)
    k3 = f(t + h / 2, x + h / 2 * k2)
    k4 = f(t + h, x + h * k3)
    return x + h / 6 * (k1 + 2 * (k2 + k3) + k4)


def three_eighths(f: Callable[[Any, Any], Any], t: Any, x: Any, h: float) -> Any:
    """One step of Kutta's 3/8 rule."""
    k1 = f(t, x)
    k2 = f(t + h / 3, x + h / 3 * k1)
    k3 = f(t + 2 * h / 3, x + h * (k2 - k1 / 3))
    k4 = f(t + h, x + h * (k1 - k2 + k3))
    return x + h / 8 * (k1 + 3 * (k2 + k3) + k4)
