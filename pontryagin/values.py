"""Numbers as people give them (lists, arrays, tensors), turned into tensors or refused with a sentence.

Lists and arrays become float64. Tensors of float64 and float32 keep their type and device, integers become float64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pontryagin.errors import ProblemError


def numbers(what: str, given: Any, *, none: float | None = None, infinite: bool = False) -> Tensor:
    """A tensor of any shape. `none` is what None stands for (None itself: refused); `infinite` allows +-inf.

    Raises ProblemError for strings, booleans, complex numbers, half precision, ragged lists, nothing at all,
    tensors that require grad, NaN and unwanted infinities.
    """
    value = _tensor(what, given, none, infinite)
    if value.numel() == 0:
        raise ProblemError(f"{what} is empty (shape {tuple(value.shape)}); give at least one number")
    return value


def as_array(values: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The numbers of a tensor in float64, on the host."""
    return values.detach().double().numpy(force=True)


def number(what: str, given: Any, *, infinite: bool = False) -> float:
    """One number."""
    value = numbers(what, given, infinite=infinite)
    if value.dim() != 0:
        raise ProblemError(f"{what} has shape {tuple(value.shape)}; give a single number")
    return float(value)


def vector(
    what: str, given: Any, *, size: int | None = None, of: str = "components", none: float | None = None
) -> Tensor:
    """A vector (size,) of finite numbers, or of any length when `size` is None."""
    value = numbers(what, given, none=none)
    if value.dim() == 0:
        raise ProblemError(f"{what} is a single number, {float(value):g}; give a list, [{float(value):g}]")
    if value.dim() != 1:
        raise ProblemError(f"{what} has shape {tuple(value.shape)}; give a vector, one number for each component")
    if size is not None and value.shape[0] != size:
        raise ProblemError(f"{what} has {value.shape[0]} components; this problem has {size} {of}")
    return value


def bounds(what: str, given: Any, size: int | None = None, of: str = "components") -> tuple[Tensor, Tensor]:
    """(low, high), each float64 (size,) on the cpu, from numbers, vectors or None; -inf and +inf where there is none.

    With size None the sides are left as they are: both () when both are single numbers.
    """
    sides = list(given) if isinstance(given, (list, tuple, Tensor, np.ndarray)) else [given]
    if len(sides) != 2:
        raise ProblemError(f"{what} is {_short(given)}; give a pair (low, high) of numbers, vectors or None")
    low, high = (
        torch.as_tensor(missing, dtype=torch.float64)
        if side is None
        else numbers(f"{what}[{i}]", side, none=missing, infinite=True).double().cpu()
        for i, (side, missing) in enumerate(zip(sides, (-math.inf, math.inf), strict=True))
    )
    for i, side in enumerate((low, high)):
        if side.dim() > 1 or (side.dim() == 1 and size is not None and side.shape[0] != size):
            expected = f"a number, or {size} numbers as there are {size} {of}" if size else "a number or a vector"
            raise ProblemError(f"{what}[{i}] has shape {tuple(side.shape)}; give {expected}")
    if low.dim() == high.dim() == 1 and low.shape != high.shape:
        raise ProblemError(f"{what} has {low.shape[0]} lower and {high.shape[0]} upper bounds; give as many of each")
    low, high = low + torch.zeros_like(high), high + torch.zeros_like(low)  # one shape for both
    if size and low.dim() == 0:
        low, high = low.repeat(size), high.repeat(size)
    crossed = low > high
    if bool(crossed.any()):
        where = crossed.nonzero()[0].tolist()
        a, b = float(low[tuple(where)]), float(high[tuple(where)])
        hint = "" if low.dim() == 0 else "; the form is (all lower bounds, all upper bounds)"
        raise ProblemError(f"{what}: the lower bound{_at(where)} is {a:g}, above the upper bound {b:g}{hint}")
    return low, high


def common_device(given: Mapping[str, Any]) -> torch.device:
    """The one device of all tensors among the values; cpu where there is no tensor."""
    found: dict[torch.device, str] = {}
    for what, value in given.items():
        for tensor in _tensors(value):
            found.setdefault(tensor.device, what)
    if len(found) > 1:
        places = ", ".join(f"{what} on {device}" for device, what in found.items())
        raise ProblemError(f"the tensors of a problem are on different devices ({places}); move them to one")
    return next(iter(found), torch.device("cpu"))


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    elif hasattr(value, "__dataclass_fields__"):
        value = [getattr(value, name) for name in value.__dataclass_fields__]
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, (list, tuple)) else []


def _tensor(what: str, given: Any, none: float | None, infinite: bool) -> Tensor:
    if isinstance(given, Tensor):
        if given.requires_grad:
            raise ProblemError(
                f"{what} requires grad, but a problem holds plain numbers: give {what}.detach() here, and the tensor "
                "itself to pontryagin.sweep"
            )
        if given.is_complex() or given.dtype in (torch.bool, torch.float16, torch.bfloat16):
            raise ProblemError(f"{what} has type {given.dtype}; give float64 or float32")
        value = given.clone() if given.dtype in (torch.float64, torch.float32) else given.double()
    elif not isinstance(given, (list, tuple, int, float)) and hasattr(given, "__array__"):
        array = np.asarray(given)
        if array.dtype.kind not in "fiu":
            return _tensor(what, array.tolist(), none, infinite)
        value = torch.from_numpy(array.astype(np.float64))
    else:
        nested = _nested(what, given, none, infinite)
        try:
            return torch.tensor(nested, dtype=torch.float64)
        except (ValueError, TypeError) as error:
            raise ProblemError(f"{what} is not a regular array ({error}); give rows of one length") from error
    wrong = value.isnan() if infinite else ~value.isfinite()
    if bool(wrong.any()):
        where = wrong.nonzero()[0].tolist()
        raise _not_finite(what + _at(where), float(value[tuple(where)]), none, infinite)
    return value


def _nested(what: str, given: Any, none: float | None, infinite: bool) -> Any:
    """The same nest of lists with floats in it, each of them checked."""
    if isinstance(given, (list, tuple)):
        return [_nested(f"{what}[{i}]", item, none, infinite) for i, item in enumerate(given)]
    if given is None and none is not None:
        return none
    if isinstance(given, (Tensor, np.ndarray)):
        return _tensor(what, given, none, infinite).tolist()
    value = given.item() if isinstance(given, np.generic) else given
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ProblemError(f"{what} is {_short(given)}, of type {type(given).__name__}; give real numbers")
    if math.isnan(value) or (math.isinf(value) and not infinite):
        raise _not_finite(what, value, none, infinite)
    return float(value)


def _not_finite(what: str, value: float, none: float | None, infinite: bool) -> ProblemError:
    remedy = "give a number, or None for no bound" if infinite else "give a finite number"
    return ProblemError(f"{what} is {value:g}; {remedy}{_free(none)}")


def _free(none: float | None) -> str:
    return ", or None for a free component" if none is not None and math.isnan(none) else ""


def _at(where: Sequence[int]) -> str:
    return f"[{', '.join(map(str, where))}]" if where else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
