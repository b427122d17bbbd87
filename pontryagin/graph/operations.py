"""The operations of a graph: their names, how many arguments they take, what they compute in float64.

These are the only names; the compiled core knows exactly the same ones. A comparison gives exactly 1.0 or 0.0, so that
`and` is mul, `or` is max and `not` is 1 - x. `where(c, a, b)` is a if c != 0, else b. min and max propagate NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_erf = np.frompyfunc(math.erf, 1, 1)


def _indicator(compare: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, b: np.asarray(compare(a, b), dtype=np.float64)


UNARY: dict[str, Callable[..., Any]] = {
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "sqrt": np.sqrt,
    "reciprocal": lambda a: 1.0 / a,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "erf": lambda a: np.asarray(_erf(a), dtype=np.float64),
    "sigmoid": lambda a: 1.0 / (1.0 + np.exp(-a)),
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "trunc": np.trunc,
}

BINARY: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "atan2": np.arctan2,
    "hypot": np.hypot,
    "min": np.minimum,
    "max": np.maximum,
    "lt": _indicator(np.less),
    "le": _indicator(np.less_equal),
    "eq": _indicator(np.equal),
    "ne": _indicator(np.not_equal),
}

TERNARY: dict[str, Callable[..., Any]] = {"where": lambda c, a, b: np.where(c != 0.0, a, b)}

#: What each operation computes, by name.
COMPUTE: dict[str, Callable[..., Any]] = UNARY | BINARY | TERNARY

#: Their order of arguments is free, so graphs keep one order only.
COMMUTATIVE = frozenset(("add", "mul", "min", "max", "hypot", "eq", "ne"))

#: Piecewise constant: their derivative is a structural zero.
STEPS = frozenset(("sign", "floor", "ceil", "round", "trunc", "lt", "le", "eq", "ne"))


def compute(op: str, *values: float) -> float:
    """The value of one operation on plain numbers, in IEEE arithmetic: 1/0 is inf, log(-1) is NaN."""
    with np.errstate(all="ignore"):
        return float(COMPUTE[op](*map(np.float64, values)))
