"""Scalar formulas as a directed graph without duplicates.

A `Graph` owns `Node`s and holds every formula once: building the same operation on the same arguments again returns
the same node. Building also folds constants and simplifies by rules that look at one operation and its arguments. A
constant 0 is structural: it absorbs (0 x = 0), whatever x may turn out to be. No rule changes a value by more than
rounding, nor a derivative where two branches meet.

Nodes are numbered in the order of their making, arguments before users; every order in this package comes from these
numbers, never from a hash, so the same function gives the same graph in every run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Union

from pontryagin.errors import CaptureError
from pontryagin.graph.operations import BINARY, COMMUTATIVE, TERNARY, UNARY, compute

Number = Union["Node", float, int]

ARITY = dict.fromkeys(UNARY, 1) | dict.fromkeys(BINARY, 2) | dict.fromkeys(TERNARY, 3)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Node:
    """One value: an input, a constant, or an operation on other nodes. Equality is identity."""

    graph: Graph
    number: int
    op: str
    args: tuple[Node, ...] = ()
    value: float = math.nan  # of a constant
    group: str = ""  # of an input
    index: int = -1  # of an input, within its group

    __array_ufunc__: ClassVar[None] = None  # numpy numbers leave arithmetic with nodes to the nodes

    @property
    def is_constant(self) -> bool:
        return self.op == "constant"

    def is_value(self, value: float) -> bool:
        """Whether this is the constant `value`."""
        return self.op == "constant" and self.value == value

    def __add__(self, other: Number) -> Node:
        return self.graph.apply("add", self, other)

    def __radd__(self, other: Number) -> Node:
        return self.graph.apply("add", other, self)

    def __sub__(self, other: Number) -> Node:
        return self.graph.apply("sub", self, other)

    def __rsub__(self, other: Number) -> Node:
        return self.graph.apply("sub", other, self)

    def __mul__(self, other: Number) -> Node:
        return self.graph.apply("mul", self, other)

    def __rmul__(self, other: Number) -> Node:
        return self.graph.apply("mul", other, self)

    def __truediv__(self, other: Number) -> Node:
        return self.graph.apply("div", self, other)

    def __rtruediv__(self, other: Number) -> Node:
        return self.graph.apply("div", other, self)

    def __pow__(self, other: Number) -> Node:
        return self.graph.apply("pow", self, other)

    def __rpow__(self, other: Number) -> Node:
        return self.graph.apply("pow", other, self)

    def __neg__(self) -> Node:
        return self.graph.apply("neg", self)

    def __repr__(self) -> str:
        if self.op == "constant":
            return f"{self.value:.17g}"
        if self.op == "input":
            return f"{self.group}[{self.index}]"
        return f"{self.op}({', '.join(f'%{a.number}' if a.args else repr(a) for a in self.args)})"


@dataclass(eq=False)
class Graph:
    """The store of nodes. `limit` bounds their number: beyond it, building raises CaptureError.

    A matrix-vector product is written out in scalars; above some hundred terms it should become one node with a loop
    (MATVEC). Until there is one, `limit` is what keeps a large learned model from growing without bound.
    """

    limit: int = 200_000
    nodes: list[Node] = field(default_factory=list)
    _index: dict[tuple[object, ...], Node] = field(default_factory=dict)

    def input(self, group: str, index: int) -> Node:
        """Component `index` of the input `group`; a scalar input is component 0."""
        return self._intern(("input", group, index), "input", group=group, index=index)

    def constant(self, value: float) -> Node:
        value = float(value) + 0.0  # one zero: -0.0 becomes 0.0
        return self._intern(("constant", value.hex()), "constant", value=value)

    def lift(self, value: Number) -> Node:
        """A number as a constant; a node as it is."""
        if isinstance(value, Node):
            if value.graph is not self:
                raise ValueError("a node of another graph; all nodes of a formula belong to one graph")
            return value
        return self.constant(float(value))

    def apply(self, op: str, *arguments: Number) -> Node:
        """The node of `op` on the arguments, after folding constants and local simplification."""
        if ARITY.get(op) != len(arguments):
            raise ValueError(f"operation {op!r} with {len(arguments)} arguments; known: {', '.join(ARITY)}")
        args = tuple(self.lift(a) for a in arguments)
        found = self._index.get((op, *(a.number for a in args)))
        if found is not None:
            return found
        if all(a.op == "constant" for a in args):
            return self.constant(compute(op, *(a.value for a in args)))
        simpler = _reduced(self, op, args)
        return self.make(op, args) if simpler is None else simpler

    def make(self, op: str, args: tuple[Node, ...]) -> Node:
        """The node of `op` on the arguments as they stand; constants come first where the order is free."""
        if op in COMMUTATIVE:
            a, b = args
            if (not a.is_constant, a.number) > (not b.is_constant, b.number):
                args = (b, a)
        return self._intern((op, *(a.number for a in args)), op, args)

    def where(self, condition: Node, a: Number, b: Number) -> Node:
        return self.apply("where", condition, a, b)

    def _intern(
        self,
        key: tuple[object, ...],
        op: str,
        args: tuple[Node, ...] = (),
        value: float = math.nan,
        group: str = "",
        index: int = -1,
    ) -> Node:
        node = self._index.get(key)
        if node is None:
            if len(self.nodes) >= self.limit:
                raise CaptureError(
                    f"the formulas need more than {self.limit} scalar operations; "
                    "large matrix products are better left to the torch backend"
                )
            node = Node(self, len(self.nodes), op, args, value, group, index)
            self.nodes.append(node)
            self._index[key] = node
        return node


# -- simplification of one operation ----------------------------------------------------------------------------------

Rule = Callable[[Graph, tuple[Node, ...]], Node | None]

_ODD = frozenset(("sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "erf", "sign", "round", "trunc"))
_EVEN = frozenset(("cos", "cosh", "abs"))
_LARGEST_POWER = 64  # written as products


def _reduced(graph: Graph, op: str, args: tuple[Node, ...]) -> Node | None:
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


def _ne(graph: Graph, args: tuple[Node, ...]) -> Node | None:
    """c != 0 is c itself where c is a comparison, which is 0 or 1."""
    for a, b in (args, args[::-1]):
        if a.is_value(0.0) and b.op in ("lt", "le", "eq", "ne"):
            return b
    return None


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
    "ne": _ne,
}
