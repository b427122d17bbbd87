"""Simplifications that look at one operation and its arguments only; `Graph.apply` uses them at every step.

A constant 0 is structural: it absorbs (0 x = 0), whatever x may turn out to be. Nothing here changes a value by more
than rounding, nor a derivative where two branches meet.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from pontryagin.graph.nodes import Graph, Node

Rule = Callable[["Graph", tuple["Node", ...]], Optional["Node"]]

_ODD = frozenset(("sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "erf", "sign", "round", "trunc"))
_EVEN = frozenset(("cos", "cosh", "abs"))
_LARGEST_POWER = 64  # written as products


def reduced(graph: Graph, op: str, args: tuple[Node, ...]) -> Node | None:
    """A simpler node of the same value, or None."""
    rule = _RULES.get(op)
    if rule is not None:
        return rule(graph, args)
    if len(args) == 1 and args[0].op == "neg":
        inner = args[0].args[0]
        if op in _ODD:
            return -graph.apply(op, inner)
        if op in _EVEN:
            return graph.apply(op, inner)
    return None


def _add(graph: Graph, args: tuple[Node, ...]) -> Node | None:
    a, b = args
    if a.is_value(0.0):
        return b
    if b.is_value(0.0):
        return a
    if b.op == "neg":
        return a - b.args[0]
    if a.op == "neg":
        return b - a.args[0]
    if a is b:
        return 2.0 * a
    return None


def _sub(graph: Graph, args: tuple[Node, ...]) -> Node | None:
    a, b = args
    if b.is_value(0.0):
        return a
    if a.is_value(0.0):
        return -b
    if a is b:
        return graph.constant(0.0)
    if b.op == "neg":
        return a + b.args[0]
    if a.op == "neg":
        return -(a.args[0] + b)
    if b.is_constant:
        return a + (-b.value)
    return None


def _neg(graph: Graph, args: tuple[Node, ...]) -> Node | None:
    (a,) = args
    if a.op == "neg":
        return a.args[0]
    if a.op == "sub":
        return a.args[1] - a.args[0]
    if a.op == "mul" and a.args[0].is_constant:
        return -a.args[0].value * a.args[1]
    return None


def _mul(graph: Graph, args: tuple[Node, ...]) -> Node | None:
    a, b = args if not args[1].is_constant else (args[1], args[0])
    if a.is_constant:
        if a.value == 0.0:
            return a
        if a.value == 1.0:
            return b
        if a.value == -1.0:
            return -b
        if b.op == "mul" and b.args[0].is_constant:
            return a.value * b.args[0].value * b.args[1]
        if b.op == "neg":
            return -a.value * b.args[0]
        return None
    if a.op == "neg":
        return -(a.args[0] * b)
    if b.op == "neg":
        return -(a * b.args[0])
    return None


def _div(graph: Graph, args: tuple[Node, ...]) -> Node | None:
    a, b = args
    if a.is_value(0.0):
        return a
    if a.is_value(1.0):
        return graph.apply("reciprocal", b)
    if b.is_constant:
        factor = 1.0 / b.value if b.value else math.inf
        return a * factor if math.isfinite(factor) and factor else None
    if a is b:
        return graph.constant(1.0)
    if a.op == "neg":
        return -(a.args[0] / b)
    if b.op == "neg":
        return -(a / b.args[0])
    return None


def _reciprocal(graph: Graph, args: tuple[Node, ...]) -> Node | None:
    (a,) = args
    if a.op == "reciprocal":
        return a.args[0]
    if a.op == "neg":
        return -graph.apply("reciprocal", a.args[0])
    return None


def _pow(graph: Graph, args: tuple[Node, ...]) -> Node | None:
    base, exponent = args
    if not exponent.is_constant:
        return None
    power = exponent.value
    if power == 0.5:
        return graph.apply("sqrt", base)
    if power == -0.5:
        return graph.apply("reciprocal", graph.apply("sqrt", base))
    if power == 0.0:
        return graph.constant(1.0)
    if power.is_integer() and abs(power) <= _LARGEST_POWER:
        product = integer_power(base, int(abs(power)))
        return product if power > 0 else graph.apply("reciprocal", product)
    return None


def integer_power(base: Node, exponent: int) -> Node:
    """base^exponent for exponent >= 1 by repeated squaring."""
    product: Node | None = None
    square = base
    while True:
        if exponent % 2:
            product = square if product is None else product * square
        exponent //= 2
        if not exponent:
            assert product is not None
            return product
        square = square * square


def _where(graph: Graph, args: tuple[Node, ...]) -> Node | None:
    condition, a, b = args
    if condition.is_constant:
        return a if condition.value != 0.0 else b
    return a if a is b else None


def _same(graph: Graph, args: tuple[Node, ...]) -> Node | None:
    return args[0] if args[0] is args[1] else None


def _lt(graph: Graph, args: tuple[Node, ...]) -> Node | None:
    return graph.constant(0.0) if args[0] is args[1] else None


_RULES: dict[str, Rule] = {
    "add": _add,
    "sub": _sub,
    "neg": _neg,
    "mul": _mul,
    "div": _div,
    "reciprocal": _reciprocal,
    "pow": _pow,
    "where": _where,
    "min": _same,
    "max": _same,
    "lt": _lt,
}
