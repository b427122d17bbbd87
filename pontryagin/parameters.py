"""Parameters theta of a problem: named numbers that its functions receive as one flat vector, in declared order."""

from __future__ import annotations

import keyword
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pontryagin.errors import ProblemError, unknown_name
from pontryagin.values import numbers


@dataclass(frozen=True, eq=False)
class Parameter:
    """A parameter to be optimised along with the control: guess, and bounds low <= theta <= high.

    All three are numbers or arrays; bounds are spread over the shape of the guess.
    Raises ProblemError where the bounds cross or the guess lies outside.
    """

    guess: Any
    low: Any = -math.inf
    high: Any = math.inf

    def __post_init__(self) -> None:
        guess = numbers("Parameter guess", self.guess)
        low = numbers("Parameter low", self.low, none=-math.inf, infinite=True)
        high = numbers("Parameter high", self.high, none=math.inf, infinite=True)
        for side, value in (("low", low), ("high", high)):
            if value.dim() and value.shape != guess.shape:
                raise ProblemError(
                    f"Parameter {side} has shape {tuple(value.shape)}, the guess has shape {tuple(guess.shape)}; "
                    "give one number or as many as the guess has"
                )
        low, high = low.to(guess).expand_as(guess).clone(), high.to(guess).expand_as(guess).clone()
        if bool((low > high).any()):
            raise ProblemError(f"Parameter bounds cross: low {low.tolist()} lies above high {high.tolist()}")
        if bool(((guess < low) | (guess > high)).any()):
            raise ProblemError(
                f"Parameter guess {guess.tolist()} lies outside its bounds {low.tolist()} to {high.tolist()}"
            )
        for name, value in (("guess", guess), ("low", low), ("high", high)):
            object.__setattr__(self, name, value)


class Parameters:
    """The declared parameters of one problem, and their layout in theta (q,).

    `declared` maps names to Parameter (optimised) or tensor (given); `slices` says where each lies in theta;
    `values`, `low`, `high` are float64 (q,) and `optimised` is a mask (q,).
    """

    def __init__(self, given: Mapping[str, Any] | None, device: torch.device) -> None:
        if given is not None and not isinstance(given, Mapping):
            raise ProblemError(f"parameters is a {type(given).__name__}; give a dictionary, name to value")
        self.declared: dict[str, Parameter | Tensor] = {}
        self.slices: dict[str, slice] = {}
        values, low, high, optimised = ([torch.empty(0, dtype=torch.float64)] for _ in range(4))
        size = 0
        for name, value in (given or {}).items():
            if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
                raise ProblemError(f"parameter name {name!r} is not an identifier; use letters, digits and _")
            declared = value if isinstance(value, Parameter) else numbers(f"parameter {name!r}", value)
            box = declared if isinstance(declared, Parameter) else Parameter(declared, declared, declared)
            for parts, part in ((values, box.guess), (low, box.low), (high, box.high)):
                parts.append(part.double().flatten().cpu())
            optimised.append(torch.full_like(values[-1], float(isinstance(declared, Parameter))))
            self.declared[name] = declared
            self.slices[name] = slice(size, size + box.guess.numel())
            size += box.guess.numel()
        self.values, self.low, self.high = (torch.cat(parts).to(device) for parts in (values, low, high))
        self.optimised = torch.cat(optimised).to(device).bool()

    @property
    def size(self) -> int:
        """q."""
        return self.values.shape[0]

    def shape(self, name: str) -> torch.Size:
        declared = self.declared[name]
        value = declared.guess if isinstance(declared, Parameter) else declared
        return torch.Size(value.shape)

    def vector(self, given: Mapping[str, Any] | Tensor | None = None) -> Tensor:
        """theta (q,), or (B, q) where a value has a batch axis: declared values, replaced by those given by name.

        A tensor is taken as theta itself. Tensors stay in the autograd graph.
        """
        if given is None or (isinstance(given, Mapping) and not given):
            return self.values
        if not isinstance(given, Mapping):
            theta = given if isinstance(given, Tensor) else numbers("parameters", given)
            if theta.dim() not in (1, 2) or theta.shape[-1] != self.size:
                raise ProblemError(f"parameters has shape {tuple(theta.shape)}; theta has {self.size} components")
            return theta
        parts: dict[str, Tensor] = {name: self.values[where] for name, where in self.slices.items()}
        for name, value in given.items():
            if name not in self.slices:
                raise unknown_name("parameter", name, self.slices)
            shape = self.shape(name)
            part = value if isinstance(value, Tensor) else numbers(f"parameter {name!r}", value)
            if part.shape != shape and part.shape[1:] != shape:
                raise ProblemError(
                    f"parameter {name!r} has shape {tuple(part.shape)}; it was declared with shape {tuple(shape)}, "
                    "a batch of it has one more axis in front"
                )
            parts[name] = part.reshape(*part.shape[: part.dim() - len(shape)], -1)  # (q_i,) or (B, q_i)
        batches = {part.shape[0] for part in parts.values() if part.dim() == 2}
        if len(batches - {1}) > 1:
            raise ProblemError(f"parameters have batches of {' and '.join(map(str, sorted(batches)))}; give one size")
        if batches:
            parts = {k: v.expand(max(batches), -1) for k, v in parts.items()}
        first = next(iter(given.values()), None)
        like = first if isinstance(first, Tensor) and first.is_floating_point() else self.values
        return torch.cat([part.to(like) for part in parts.values()], -1)
