"""The derivative of one operation in each of its arguments, and on which branch it holds.

Step functions (sign, floor, comparisons) and `where` are not here: the first have no derivative, the second is a
selection, which `derivative` treats itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from pontryagin.graph.nodes import Node

#: (condition, branch): holds where (condition != 0) is `branch`; the derivative is 0 elsewhere.
Mask = tuple[Node, bool]

#: (argument, mask or None, partial derivative or None for 1).
Partial = tuple[Node, Mask | None, Node | None]


def partials(node: Node, needed: Sequence[bool]) -> Iterator[Partial]:
    """The partial derivatives of the operation in those arguments that are needed."""
    if len(node.args) == 1:
        if needed[0]:
            yield node.args[0], None, _UNARY[node.op](node.args[0], node)
        return
    for i, rule in enumerate(_BINARY[node.op]):
        if needed[i]:
            inverse = _inverse(node.args[i]) if node.op == "mul" else None
            if inverse is not None:  # a quotient q = a r of r = 1/D: dq/dD = -q r, which needs no square of r
                yield inverse.args[0], None, -(node * inverse)
                continue
            mask, partial = rule(node.args[0], node.args[1], node)
            yield node.args[i], mask, partial


def _inverse(node: Node) -> Node | None:
    """The reciprocal that the node is a multiple of, if it is one."""
    if node.op == "mul" and node.args[0].is_constant:
        node = node.args[1]
    return node if node.op == "reciprocal" else None


def _op(name: str, *args: Node) -> Node:
    return args[0].graph.apply(name, *args)


def _rsqrt(a: Node) -> Node:
    return _op("reciprocal", _op("sqrt", a))


#: op -> f'(a) from a and y = f(a).
_UNARY: dict[str, Callable[[Node, Node], Node]] = {
    "neg": lambda a, y: a.graph.constant(-1.0),
    "abs": lambda a, y: _op("sign", a),
    "sqrt": lambda a, y: 0.5 / y,
    "reciprocal": lambda a, y: -(y * y),
    "exp": lambda a, y: y,
    "expm1": lambda a, y: y + 1.0,
    "log": lambda a, y: 1.0 / a,
    "log1p": lambda a, y: 1.0 / (a + 1.0),
    "sin": lambda a, y: _op("cos", a),
    "cos": lambda a, y: -_op("sin", a),
    "tan": lambda a, y: 1.0 + y * y,
    "asin": lambda a, y: _rsqrt(1.0 - a * a),
    "acos": lambda a, y: -_rsqrt(1.0 - a * a),
    "atan": lambda a, y: 1.0 / (1.0 + a * a),
    "sinh": lambda a, y: _op("cosh", a),
    "cosh": lambda a, y: _op("sinh", a),
    "tanh": lambda a, y: 1.0 - y * y,
    "asinh": lambda a, y: _rsqrt(1.0 + a * a),
    "acosh": lambda a, y: _rsqrt(a * a - 1.0),
    "atanh": lambda a, y: 1.0 / (1.0 - a * a),
    "erf": lambda a, y: 2.0 / math.sqrt(math.pi) * _op("exp", -(a * a)),
    "sigmoid": lambda a, y: y * (1.0 - y),
}

_Rule = Callable[[Node, Node, Node], tuple["Mask | None", "Node | None"]]


def _pow_base(a: Node, b: Node, y: Node) -> tuple[Mask | None, Node | None]:
    """b a^(b-1); 0 where b = 0, also at a = 0."""
    return (None if b.is_constant else (_op("eq", b, b.graph.constant(0.0)), False)), b * a ** (b - 1.0)


def _pow_exponent(a: Node, b: Node, y: Node) -> tuple[Mask | None, Node | None]:
    """a^b log a; 0 where a = 0 and b >= 0."""
    zero = a.graph.constant(0.0)
    never = a.is_constant and a.value != 0.0
    return (None if never else (_op("eq", a, zero) * _op("le", zero, b), False)), y * _op("log", a)


def _larger(a: Node, b: Node, y: Node) -> tuple[Mask | None, Node | None]:
    """1 where a > b, a half where they are equal."""
    return (_op("le", b, a), True), _half_when_equal(a, b)


def _smaller(a: Node, b: Node, y: Node) -> tuple[Mask | None, Node | None]:
    """1 where a < b, a half where they are equal."""
    return (_op("le", a, b), True), _half_when_equal(a, b)


def _half_when_equal(a: Node, b: Node) -> Node:
    return a.graph.apply("where", _op("eq", a, b), 0.5, 1.0)


#: op -> for each argument, (mask, partial) from a, b and y = f(a, b).
_BINARY: dict[str, tuple[_Rule, _Rule]] = {
    "add": (lambda a, b, y: (None, None), lambda a, b, y: (None, None)),
    "sub": (lambda a, b, y: (None, None), lambda a, b, y: (None, a.graph.constant(-1.0))),
    "mul": (lambda a, b, y: (None, b), lambda a, b, y: (None, a)),
    "div": (lambda a, b, y: (None, 1.0 / b), lambda a, b, y: (None, -(y * (1.0 / b)))),
    "pow": (_pow_base, _pow_exponent),
    "atan2": (
        lambda a, b, y: (None, b / (a * a + b * b)),
        lambda a, b, y: (None, -(a / (a * a + b * b))),
    ),
    "hypot": (lambda a, b, y: (None, a / y), lambda a, b, y: (None, b / y)),
    "max": (_larger, lambda a, b, y: _larger(b, a, y)),
    "min": (_smaller, lambda a, b, y: _smaller(b, a, y)),
}
