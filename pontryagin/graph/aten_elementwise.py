"""ATen operations that act on each element: elementary functions, comparisons, clamps, activations.

Each is a function of scalar nodes (or numbers); the table lifts it to arrays. Where a function has a corner, the
formula is chosen so that its derivative there is torch's: clamp is `where` (derivative 1 at the bounds), relu is
`where` (0 at 0), maximum is the node max (a half each).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from pontryagin.graph.aten_common import NodeArray, NoFormula, elementwise, mapped, nodes_of
from pontryagin.graph.nodes import Graph, Node
from pontryagin.graph.operations import UNARY

Scalar = Any  # a node or a number
ScalarRule = Callable[..., Scalar]


class Scalars:
    """Operations of one graph on nodes and numbers, by name: `s.exp(a)`, `s.where(c, a, b)`."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def __getattr__(self, op: str) -> Callable[..., Node]:
        return functools.partial(self.graph.apply, op.rstrip("_"))


def _clamp_min(s: Scalars, x: Scalar, low: Scalar) -> Scalar:
    return s.where(s.lt(x, low), low, x)


def _clamp_max(s: Scalars, x: Scalar, high: Scalar) -> Scalar:
    return s.where(s.lt(high, x), high, x)


def _clamp(s: Scalars, x: Scalar, low: Scalar = None, high: Scalar = None) -> Scalar:
    if low is not None:
        x = _clamp_min(s, x, low)
    return x if high is None else _clamp_max(s, x, high)


def _divided(s: Scalars, a: Scalar, b: Scalar, *, rounding_mode: str | None = None) -> Scalar:
    quotient = s.div(a, b)
    return quotient if rounding_mode is None else s.graph.apply(rounding_mode, quotient)


def _round(s: Scalars, x: Scalar, *, decimals: int = 0) -> Scalar:
    return s.round(x) if decimals == 0 else s.mul(s.round(s.mul(x, 10.0**decimals)), 10.0**-decimals)


def _softplus(s: Scalars, x: Scalar, beta: float = 1, threshold: float = 20) -> Scalar:
    z = s.mul(x, beta)
    return s.where(s.lt(threshold, z), x, s.mul(s.log1p(s.exp(z)), 1.0 / beta))


def _gelu(s: Scalars, x: Scalar, *, approximate: str = "none") -> Scalar:
    if approximate == "tanh":
        cubic = s.mul(s.add(x, s.mul(0.044715, s.pow(x, 3))), math.sqrt(2 / math.pi))
        return s.mul(s.mul(0.5, x), s.add(1.0, s.tanh(cubic)))
    return s.mul(s.mul(0.5, x), s.add(1.0, s.erf(s.mul(x, math.sqrt(0.5)))))


def _elu(s: Scalars, x: Scalar, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Scalar:
    return s.where(s.le(x, 0.0), s.mul(alpha * scale, s.expm1(s.mul(input_scale, x))), s.mul(scale, x))


def _hardtanh(s: Scalars, x: Scalar, low: float = -1, high: float = 1) -> Scalar:
    return s.where(s.le(x, low), low, s.where(s.le(high, x), high, x))


def _hardsigmoid(s: Scalars, x: Scalar) -> Scalar:
    return s.mul(_hardtanh(s, s.add(x, 3.0), 0.0, 6.0), 1.0 / 6.0)


def _hardswish(s: Scalars, x: Scalar) -> Scalar:
    return s.where(s.le(x, -3.0), 0.0, s.where(s.lt(3.0, x), x, s.mul(x, s.mul(s.add(x, 3.0), 1.0 / 6.0))))


def _sinc(s: Scalars, x: Scalar) -> Scalar:
    angle = s.mul(math.pi, x)
    return s.where(s.eq(x, 0.0), 1.0, s.div(s.sin(angle), angle))


def _xlogy(s: Scalars, x: Scalar, y: Scalar) -> Scalar:
    return s.where(s.eq(x, 0.0), s.where(s.ne(y, y), y, 0.0), s.mul(x, s.log(y)))


def _copysign(s: Scalars, a: Scalar, b: Scalar) -> Scalar:
    size = s.abs(a)
    return s.where(s.lt(b, 0.0), s.neg(size), size)


def _logaddexp(s: Scalars, a: Scalar, b: Scalar) -> Scalar:
    return s.add(s.max(a, b), s.log1p(s.exp(s.neg(s.abs(s.sub(a, b))))))


def _fmax(s: Scalars, a: Scalar, b: Scalar) -> Scalar:
    return s.where(s.max(s.lt(a, b), s.ne(a, a)), b, a)


def _fmin(s: Scalars, a: Scalar, b: Scalar) -> Scalar:
    return s.where(s.max(s.lt(b, a), s.ne(a, a)), b, a)


def _truth(s: Scalars, a: Scalar) -> Scalar:
    return s.ne(a, 0.0)


def _logical_xor(s: Scalars, a: Scalar, b: Scalar) -> Scalar:
    return s.ne(_truth(s, a), _truth(s, b))


def _smooth_l1(s: Scalars, difference: Scalar, beta: float) -> Scalar:
    size = s.abs(difference)
    return s.where(s.lt(size, beta), s.mul(0.5 / beta, s.mul(difference, difference)), s.sub(size, 0.5 * beta))


_SCALAR_RULES: dict[str, ScalarRule] = {
    # sums and products
    "add": lambda s, a, b, *, alpha=1: s.add(a, s.mul(alpha, b)),
    "sub": lambda s, a, b, *, alpha=1: s.sub(a, s.mul(alpha, b)),
    "rsub": lambda s, a, b, alpha=1: s.sub(b, s.mul(alpha, a)),
    "mul": lambda s, a, b: s.mul(a, b),
    "div": _divided,
    "floor_divide": lambda s, a, b: s.floor(s.div(a, b)),
    "fmod": lambda s, a, b: s.sub(a, s.mul(b, s.trunc(s.div(a, b)))),
    "remainder": lambda s, a, b: s.sub(a, s.mul(b, s.floor(s.div(a, b)))),
    "addcmul": lambda s, a, b, c, *, value=1: s.add(a, s.mul(value, s.mul(b, c))),
    "addcdiv": lambda s, a, b, c, *, value=1: s.add(a, s.mul(value, s.div(b, c))),
    "lerp": lambda s, a, b, w: s.add(a, s.mul(w, s.sub(b, a))),
    "square": lambda s, a: s.mul(a, a),
    "positive": lambda s, a: a,
    "deg2rad": lambda s, a: s.mul(a, math.pi / 180.0),
    "rad2deg": lambda s, a: s.mul(a, 180.0 / math.pi),
    # powers, exponentials, logarithms
    "pow": lambda s, a, b: s.pow(a, b),
    "rsqrt": lambda s, a: s.reciprocal(s.sqrt(a)),
    "exp2": lambda s, a: s.pow(2.0, a),
    "log2": lambda s, a: s.mul(s.log(a), 1.0 / math.log(2.0)),
    "log10": lambda s, a: s.mul(s.log(a), 1.0 / math.log(10.0)),
    "ldexp": lambda s, a, b: s.mul(a, s.pow(2.0, b)),
    "erfc": lambda s, a: s.sub(1.0, s.erf(a)),
    "sinc": _sinc,
    "xlogy": _xlogy,
    "logit": lambda s, a, eps=None: s.log(s.div(a, s.sub(1.0, a))) if eps is None else _no_eps(),
    "logaddexp": _logaddexp,
    "atan2": lambda s, a, b: s.atan2(a, b),
    "hypot": lambda s, a, b: s.hypot(a, b),
    # rounding, signs
    "round": _round,
    "frac": lambda s, a: s.sub(a, s.trunc(a)),
    "sgn": lambda s, a: s.sign(a),
    "copysign": _copysign,
    "heaviside": lambda s, a, b: s.where(s.eq(a, 0.0), b, s.lt(0.0, a)),
    # larger, smaller, bounds
    "maximum": lambda s, a, b: s.max(a, b),
    "minimum": lambda s, a, b: s.min(a, b),
    "fmax": _fmax,
    "fmin": _fmin,
    "clamp": _clamp,
    "clamp_min": _clamp_min,
    "clamp_max": _clamp_max,
    "threshold": lambda s, a, at, value: s.where(s.le(a, at), value, a),
    # comparisons and logic
    "lt": lambda s, a, b: s.lt(a, b),
    "le": lambda s, a, b: s.le(a, b),
    "gt": lambda s, a, b: s.lt(b, a),
    "ge": lambda s, a, b: s.le(b, a),
    "eq": lambda s, a, b: s.eq(a, b),
    "ne": lambda s, a, b: s.ne(a, b),
    "isnan": lambda s, a: s.ne(a, a),
    "isinf": lambda s, a: s.eq(s.abs(a), math.inf),
    "logical_not": lambda s, a: s.eq(a, 0.0),
    "logical_and": lambda s, a, b: s.mul(_truth(s, a), _truth(s, b)),
    "logical_or": lambda s, a, b: s.max(_truth(s, a), _truth(s, b)),
    "logical_xor": _logical_xor,
    "where": lambda s, c, a, b: s.where(c, a, b),
    "masked_fill": lambda s, a, mask, value: s.where(mask, value, a),
    # activations
    "relu": lambda s, a: s.where(s.le(a, 0.0), 0.0, a),
    "leaky_relu": lambda s, a, slope=0.01: s.where(s.lt(0.0, a), a, s.mul(slope, a)),
    "elu": _elu,
    "gelu": _gelu,
    "silu": lambda s, a: s.mul(a, s.sigmoid(a)),
    "mish": lambda s, a: s.mul(a, s.tanh(_softplus(s, a))),
    "softplus": _softplus,
    "hardtanh": _hardtanh,
    "hardsigmoid": _hardsigmoid,
    "hardswish": _hardswish,
    "celu": lambda s, a, alpha=1.0: _elu(s, a, alpha, 1.0, 1.0 / alpha),
    "hardshrink": lambda s, a, lambd=0.5: s.where(s.le(s.abs(a), lambd), 0.0, a),
    "softshrink": lambda s, a, lambd=0.5: s.where(s.le(s.abs(a), lambd), 0.0, s.sub(a, s.mul(lambd, s.sign(a)))),
    # their derivatives, for functions that differentiate inside
    "sigmoid_backward": lambda s, g, y: s.mul(g, s.mul(y, s.sub(1.0, y))),
    "tanh_backward": lambda s, g, y: s.mul(g, s.sub(1.0, s.mul(y, y))),
    "threshold_backward": lambda s, g, a, at: s.where(s.le(a, at), 0.0, g),
    # copies
    "copy": lambda s, a, source, non_blocking=False: s.where(1.0, source, a),
    "fill": lambda s, a, value: s.where(1.0, value, a),
    "zero": lambda s, a: 0.0,
}


def _no_eps() -> Scalar:
    raise NoFormula("eps is not supported")


def _lifted(rule: ScalarRule) -> Callable[..., NodeArray]:
    """The rule over arrays; keyword arguments and None stay as they are."""

    def handler(graph: Graph, *args: Any, **kwargs: Any) -> NodeArray:
        call = functools.partial(rule, Scalars(graph), **kwargs)
        varying = [i for i, a in enumerate(args) if a is not None and not isinstance(a, str)]

        def at(*values: Any) -> Any:
            full = list(args)
            for i, value in zip(varying, values, strict=True):
                full[i] = value
            return call(*full)

        return nodes_of(graph, mapped(at, *(args[i] for i in varying)))

    return handler


def _unary(op: str) -> Callable[..., NodeArray]:
    return lambda graph, a: elementwise(graph, op, a)


def _log_sigmoid(graph: Graph, x: Any) -> tuple[NodeArray, None]:
    s = Scalars(graph)
    return mapped(lambda a: s.neg(_softplus(s, s.neg(a))), x), None


def _loss(term: Callable[..., Scalar]) -> Callable[..., NodeArray]:
    """A loss of the difference: reduction 0 keeps the elements, 1 is their mean, 2 their sum."""

    def handler(graph: Graph, x: Any, y: Any, reduction: int = 1, *options: float) -> NodeArray:
        s = Scalars(graph)
        values = mapped(lambda a, b: term(s, s.sub(a, b), *options), x, y)
        if reduction == 0:
            return values
        summed = values.sum() if values.size else graph.constant(0.0)
        return nodes_of(graph, summed * (1.0 / values.size) if reduction == 1 else summed)

    return handler


def _bitwise(logical: str) -> Callable[..., NodeArray]:
    """and, or, xor, not of truth values; of integers they have no formula."""

    def handler(graph: Graph, *args: Any) -> NodeArray:
        for node in (n for a in args for n in nodes_of(graph, a).flat):
            if node.op not in ("lt", "le", "eq", "ne", "mul", "max", "where") and node.value not in (0.0, 1.0):
                raise NoFormula("bit operations are known for truth values only")
        return nodes_of(graph, ELEMENTWISE[logical](graph, *args))

    return handler


ELEMENTWISE: dict[str, Callable[..., Any]] = {op: _unary(op) for op in UNARY if op != "round"}
ELEMENTWISE |= {name: _lifted(rule) for name, rule in _SCALAR_RULES.items()}
ELEMENTWISE |= {f"bitwise_{op}": _bitwise(f"logical_{op}") for op in ("and", "or", "xor", "not")}
ELEMENTWISE |= {f"__{op}__": _bitwise(f"logical_{op}") for op in ("and", "or", "xor")}
ELEMENTWISE |= {
    "to": lambda graph, a, *_, **options: nodes_of(graph, a),
    "_to_copy": lambda graph, a, **options: nodes_of(graph, a),
    "log_sigmoid_forward": _log_sigmoid,
    "mse_loss": _loss(lambda s, d: s.mul(d, d)),
    "smooth_l1_loss": _loss(lambda s, d, beta=1.0: _smooth_l1(s, d, beta)),
    "huber_loss": _loss(lambda s, d, delta=1.0: s.mul(delta, _smooth_l1(s, d, delta))),
}
