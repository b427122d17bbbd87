"""Scalar formulas as a directed graph without duplicates.

A `Graph` owns `Node`s and holds every formula once: building the same operation on the same arguments again returns
the same node. Building also folds constants and absorbs 0 and 1 (see `local_rules`). Nodes are numbered in the order
of their making, arguments before users; every order in this package comes from these numbers, never from a hash, so
the same function gives the same graph in every run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Union

from pontryagin.errors import CaptureError
from pontryagin.graph.local_rules import reduced
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
        simpler = reduced(self, op, args)
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


def schedule(outputs: Sequence[Node]) -> list[Node]:
    """Every node that the outputs need, arguments before users; depth first: a value is used soon after it is made."""
    order: list[Node] = []
    done: set[Node] = set()
    for output in outputs:
        stack = [output]
        while stack:
            node = stack[-1]
            if node in done:
                stack.pop()
                continue
            waiting = [a for a in reversed(node.args) if a not in done]
            if waiting:
                stack.extend(waiting)
            else:
                done.add(node)
                order.append(node)
                stack.pop()
    return order


def dependents(outputs: Sequence[Node], wrt: Iterable[Node]) -> set[Node]:
    """The nodes below the outputs whose value involves any of `wrt` (which belong to it themselves)."""
    found = set(wrt)
    for node in schedule(outputs):
        if any(a in found for a in node.args):
            found.add(node)
    return found


def depends(output: Node, wrt: Iterable[Node]) -> bool:
    """Whether the output involves any of `wrt`."""
    return output in dependents([output], wrt)


def inputs(outputs: Sequence[Node]) -> list[Node]:
    """The inputs that the outputs need, by group and index."""
    return sorted((n for n in schedule(outputs) if n.op == "input"), key=lambda n: (n.group, n.index))


def count_operations(outputs: Sequence[Node]) -> Counter[str]:
    """How many of each operation the outputs need together; inputs and constants are free."""
    return Counter(node.op for node in schedule(outputs) if node.args)


def operation_count(outputs: Sequence[Node]) -> int:
    """How many operations the outputs need together, each counted as one."""
    return sum(count_operations(outputs).values())
