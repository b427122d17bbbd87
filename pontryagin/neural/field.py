"""The vector field of a net: any module f(t, x) or f(x), whose parameters become coefficients of functions of time.

The module is copied; each of its parameters (shape ...) is replaced by a parameter (K, ...) of the same name, the
coefficients of w(t), all K equal to the value it had. At a time t the module is called with w(t) in their places.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pontryagin.errors import ProblemError

_NORMS = (nn.modules.batchnorm._BatchNorm,)
_DROPOUTS = (nn.modules.dropout._DropoutNd,)


def coefficients(field: nn.Module, count: int) -> nn.Module:
    """A copy of `field` with a parameter (count, ...) for each of its parameters.

    Raises ProblemError for what cannot be a vector field: not a module, batch statistics, parameters without a shape.
    """
    if not isinstance(field, nn.Module):
        raise ProblemError(f"the field is a {type(field).__name__}; give a torch.nn.Module f(t, x) or f(x)")
    for name, module in field.named_modules():
        where = f"layer {name!r} of the field" if name else "the field"
        if isinstance(module, _NORMS):
            raise ProblemError(
                f"{where} is a {type(module).__name__}: its statistics couple the samples of a batch and would change "
                "at every stage of every step, so that the state equation is none. Use LayerNorm or GroupNorm"
            )
    for name, parameter in field.named_parameters():
        if nn.parameter.is_lazy(parameter):
            raise ProblemError(f"parameter {name} of the field has no shape yet; call the field once before")
    copied = copy.deepcopy(field)
    map_coefficients(copied, lambda w: w.expand(count, *w.shape).clone())
    return copied


def map_coefficients(field: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    """Every parameter replaced by a new one, in place; what was shared is shared still."""
    seen: dict[int, nn.Parameter] = {}
    for module in field.modules():
        for name, parameter in module._parameters.items():
            if parameter is None:
                continue
            if id(parameter) not in seen:
                seen[id(parameter)] = nn.Parameter(change(parameter.detach()), requires_grad=parameter.requires_grad)
            module._parameters[name] = seen[id(parameter)]


def takes_time(field: nn.Module) -> bool:
    """Whether the module is called as f(t, x), not as f(x). Raises ProblemError for any other number of arguments."""
    try:
        parameters = inspect.signature(field.forward).parameters.values()
    except (TypeError, ValueError) as error:
        raise ProblemError(f"the arguments of the field cannot be read: {error}") from error
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.kind in positional and p.default is inspect.Parameter.empty]
    if len(required) not in (1, 2):
        raise ProblemError(
            f"forward of the field {type(field).__name__} takes {len(required)} arguments; a field is f(t, x) or f(x)"
        )
    return len(required) == 2


def random(field: nn.Module) -> bool:
    """Whether a call of the field draws random numbers: dropout, in training."""
    return any(isinstance(module, _DROPOUTS) and module.training and module.p > 0 for module in field.modules())


def _drawn_seed() -> int:
    return int(torch.randint(2**62, ()).item())


def _random_state(x: Tensor) -> Tensor:
    return torch.cuda.get_rng_state(x.device) if x.is_cuda else torch.get_rng_state()


class FieldCall:
    """f(t, x) with weights w(t), the same random masks at every call.

    `column` appends t as last column of x, for a field that has no argument for it.
    """

    def __init__(self, field: nn.Module, timed: bool, column: bool) -> None:
        self.field, self.timed, self.column = field, timed, column
        self.seed = _drawn_seed() if random(field) else None
        self._unsure = self.seed is None and field.training  # functional dropout, say, is not seen from outside

    def __call__(self, t: float, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        if self.column:
            arguments: tuple[Tensor, ...] = (torch.cat([x, x.new_full((*x.shape[:-1], 1), t)], -1),)
        else:
            arguments = (x.new_tensor(t), x) if self.timed else (x,)
        if self._unsure:
            self._unsure = False
            before = _random_state(x)
            with torch.no_grad():  # a trial that leaves no trace in a checkpoint
                self._call(weights, arguments)
            if not torch.equal(before, _random_state(x)):
                self.seed = _drawn_seed()
        if self.seed is None:
            return self._checked(t, x, self._untouched(weights, arguments))
        devices = [x.device] if x.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(self.seed)
            return self._checked(t, x, self._untouched(weights, arguments))

    def _untouched(self, weights: Mapping[str, Tensor], arguments: tuple[Tensor, ...]) -> Tensor:
        state = arguments[-1]
        if state.is_inference():
            return self._call(weights, arguments)
        before = state._version
        answer = self._call(weights, arguments)
        if state._version != before:
            raise ProblemError("the field changes its argument x in place (inplace=True?); a vector field must not")
        return answer

    def _call(self, weights: Mapping[str, Tensor], arguments: tuple[Tensor, ...]) -> Tensor:
        try:
            answer = functional_call(self.field, dict(weights), arguments)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise ProblemError(
                f"the field failed for a state of shape {tuple(arguments[-1].shape)}: {error}"
            ) from error
        if not isinstance(answer, Tensor):
            raise ProblemError(f"the field answers a {type(answer).__name__}; f(t, x) is a tensor like x")
        return answer

    def _checked(self, t: float, x: Tensor, f: Tensor) -> Tensor:
        if f.shape != x.shape:
            raise ProblemError(
                f"the field answers shape {tuple(f.shape)} at t = {t:g} for a state of shape {tuple(x.shape)}; "
                "x' = f(t, x) needs the same shape. augment= gives the state more components"
            )
        return f


def used(end: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """The end as it is; weights that it does not depend on receive zeros for a gradient, not None."""
    result: Tensor = _Used.apply(end, *weights.values())  # type: ignore[no-untyped-call]
    return result


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A backward pass without derivatives of its own: asking for them is an error, also where torch's namesake of this
    decorator answers constants because the incoming derivatives are some (`net(x).sum()`)."""

    @functools.wraps(backward)
    def wrapped(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        with torch.no_grad():
            found = backward(ctx, *cotangents)
        if not torch.is_grad_enabled():
            return tuple(found)
        return tuple(g if g is None else _Last.apply(g.requires_grad_()) for g in found)  # type: ignore[no-untyped-call]

    return wrapped


class _Last(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        raise RuntimeError(
            "this derivative is once_differentiable; second ones take backend='torch', gradient='discrete'"
        )


class _Used(torch.autograd.Function):
    """The first argument as it is; the others receive zeros, so that none of them is left with None."""

    @staticmethod
    def forward(ctx: Any, end: Tensor, *weights: Tensor) -> Tensor:
        ctx.shapes = [(w.shape, w.dtype, w.device) for w in weights]
        return end.clone()  # a view could not be changed in place afterwards

    @staticmethod
    def backward(ctx: Any, end: Tensor) -> tuple[Tensor | None, ...]:
        zeros = (
            torch.zeros((), dtype=dtype, device=device).expand(shape) if wanted else None
            for (shape, dtype, device), wanted in zip(ctx.shapes, ctx.needs_input_grad[1:], strict=True)
        )
        return end, *zeros
