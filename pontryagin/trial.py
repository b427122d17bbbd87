"""Trial calls: whether functions run and return what they should, and for how many controls."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pontryagin.errors import ProblemError
from pontryagin.functions import UserFunction

#: With this many controls the search for their number ends.
LARGEST_TRIED = 64

#: What a function raises that was written for another number of controls; any other exception is a plain mistake.
SIZE_ERRORS = (IndexError, RuntimeError, ValueError, TypeError, AssertionError)

_NAMES = ("t", "x", "u", "theta", "d")


def trial(function: UserFunction, arguments: Sequence[Tensor]) -> Tensor:
    """Call once and check the result; raises ProblemError with the place, chained to what the function raised."""
    copies = [argument.clone() for argument in arguments]
    try:
        value = function.function(*[copies[i] for i in function.picks])
    except Exception as error:
        raise ProblemError(
            f"{function.name} raised {type(error).__name__} in a trial call at {_place(arguments)}: {error}"
        ) from error
    for index in function.picks:
        if copies[index]._version:
            raise ProblemError(
                f"{function.name} changes its argument number {function.picks.index(index)} in place; "
                "build a new tensor instead, for instance with torch.stack"
            )
    _check_result(function, value, arguments)
    return function.finish(value, arguments)


def _check_result(function: UserFunction, value: Any, arguments: Sequence[Tensor]) -> None:
    name, like = function.name, arguments[1] if len(arguments) > 2 else arguments[0]
    scalar = function.shape == ()
    if isinstance(value, (int, float)) and not isinstance(value, bool) and (scalar or function.shape is None):
        return
    if not isinstance(value, Tensor):
        hint = "; join its components with torch.stack([...])" if isinstance(value, (list, tuple)) else ""
        missing = "; is a return missing?" if value is None else hint
        raise ProblemError(f"{name} returns a value of type {type(value).__name__}, not a tensor{missing}")
    shape = tuple(value.shape)
    if scalar and shape != ():
        raise ProblemError(f"{name} returns shape {shape}, not a scalar; add .sum(), or pick the component with [0]")
    if function.shape is None and (len(shape) > 1 or 0 in shape):
        raise ProblemError(f"{name} returns shape {shape}; give a vector with one component for each constraint")
    if function.shape and shape != function.shape:
        n = function.shape[0]
        if len(shape) == 1:
            raise ProblemError(f"{name} returns {shape[0]} derivatives, but there are {n} states; give one for each")
        raise ProblemError(f"{name} returns shape {shape}, but there are {n} states; give a vector of shape ({n},)")
    if value.dtype != like.dtype:
        raise ProblemError(
            f"{name} returns {value.dtype}, but its arguments are {like.dtype}; convert the tensors of other types "
            "that it uses" + (", or give initial_state as a float32 tensor" if value.dtype == torch.float32 else "")
        )
    if value.device != like.device:
        raise ProblemError(f"{name} returns a tensor on {value.device}, but its arguments are on {like.device}")


def infer_control_dim(functions: Sequence[UserFunction], arguments: Callable[[int], Sequence[Tensor]]) -> int:
    """The number of controls m for which all functions run and which the dynamics uses all of.

    `functions` starts with the dynamics; `arguments(m)` makes trial arguments with m controls. The smallest m that
    runs is right unless the dynamics would also use a control beyond it (u[-1], u.sum()): then the number is not
    unique, and ProblemError asks for control_dim.
    """
    failures: list[ProblemError] = []
    found = 0
    for size in range(1, LARGEST_TRIED + 1):
        try:
            for function in functions:
                trial(function, arguments(size))
        except ProblemError as error:
            if error.__cause__ is not None and not isinstance(error.__cause__, SIZE_ERRORS):
                raise
            failures.append(error)
            continue
        found = size
        break
    if not found:
        if _same_mistake(failures[0], failures[-1]):
            raise failures[0]
        raise ProblemError(
            f"no number of controls from 1 to {LARGEST_TRIED} suits the functions: give control_dim. "
            f"With one control: {failures[0]}"
        ) from failures[0]
    dynamics = functions[0]
    states = arguments(found)[1].numel()  # the size to which u[None] or -x + u broadcasts
    for size in {found + 1, found + 2, found + 3, max(found + 1, states)}:
        if _uses_more(dynamics, found, arguments(size)):
            raise ProblemError(
                f"the number of controls is not clear: dynamics runs with {found} and with {size} of them "
                "and uses them all; say how many with control_dim"
            )
    if not any(_depends(function, arguments(found), slice(None)) for function in functions):
        raise ProblemError("no function uses the control u; if that is meant, say how many there are with control_dim")
    return found


def _same_mistake(first: ProblemError, last: ProblemError) -> bool:
    """Whether two failures with different numbers of controls have one cause that has nothing to do with them."""
    a, b = first.__cause__, last.__cause__
    if a is None and b is None:
        return True  # every size runs, and what comes back is wrong
    return type(a) is type(b) and str(a) == str(b)


def _uses_more(function: UserFunction, size: int, arguments: Sequence[Tensor]) -> bool:
    try:
        trial(function, arguments)
    except ProblemError:
        return False
    return _depends(function, arguments, slice(size, None))


def _depends(function: UserFunction, arguments: Sequence[Tensor], controls: slice) -> bool:
    """Whether NaN in these controls reaches the result; unlike a derivative, NaN survives a factor zero."""
    t, x, u, *rest = arguments
    spoiled = u.clone()
    spoiled[controls] = math.nan
    # a state of ordinary numbers, so that nothing is NaN already and nothing is masked
    ordinary = 0.5 + 0.1 * torch.arange(1, x.numel() + 1, dtype=x.dtype, device=x.device)
    for state in (x, ordinary):
        try:
            clean, dirty = (function(t, state, control, *rest) for control in (u, spoiled))
        except SIZE_ERRORS:
            continue
        if bool((dirty.isnan() & ~clean.isnan()).any()):
            return True
    return False


def _place(arguments: Sequence[Tensor]) -> str:
    """'t = 0, x = [1, 0], u = [0]' of uniform arguments (t, x, u, theta, d), (t, x, theta) or (x, theta)."""
    names = {5: _NAMES, 3: ("t", "x", "theta"), 2: ("x", "theta")}[len(arguments)]
    return ", ".join(
        f"{name} = {_numbers(value)}" for name, value in zip(names, arguments, strict=True) if value.numel()
    )


def _numbers(value: Tensor) -> str:
    if value.dim() == 0:
        return f"{float(value):g}"
    shown = ", ".join(f"{number:g}" for number in value.flatten()[:8].tolist())
    return f"[{shown}{', ...' if value.numel() > 8 else ''}]"
