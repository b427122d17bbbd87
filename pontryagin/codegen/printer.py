"""Formulas as C++ statements: one temporary for each value, in the order of evaluation.

A product that only one sum uses becomes a fused multiply-add: compilers are told never to fuse by themselves, so that
scalars and packs round alike. Sine and cosine of one angle are computed together. Everything is spelled with the
functions of csrc/include/pontryagin, for a type `Real` that may be a scalar or a pack.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pontryagin.codegen.order import CALL, LATENCY, needed, reordered
from pontryagin.graph import Node, schedule

INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
COMPARE = {"lt": "<", "le": "<=", "eq": "==", "ne": "!="}


class Body:
    """Statements that compute `outputs` (target -> node).

    `given` are the C++ names of nodes that are at hand. Those in `recalled` are loaded from the cut, each just before
    its first use; those in `kept` are stored to it as soon as they are known: few values wait in registers.
    """

    def __init__(
        self,
        outputs: Mapping[str, Node],
        *,
        given: Mapping[Node, str] | None = None,
        recalled: Sequence[Node] = (),
        kept: Sequence[Node] = (),
        outlined: bool = False,
        at_once: bool = False,
    ) -> None:
        self.outlined = outlined  # elementary functions out of line
        self.at_once = at_once  # results go to their targets as soon as they are known; else last, all together
        given = given or {}
        new = reordered([*outputs.values(), *kept], [*given, *recalled])
        self.names: dict[Node, str] = {new[node]: name for node, name in given.items() if node in new}
        self.recalled = {new[node]: i for i, node in enumerate(recalled) if node in new}
        known = frozenset((*self.names, *self.recalled))
        self.outputs = {target: new[node] for target, node in outputs.items()}
        self.kept = {new[node]: i for i, node in enumerate(kept)}
        ends = [*self.outputs.values(), *self.kept]
        self.order = [node for node in needed(ends, known) if node.args and node not in known]
        self.uses = Counter(a for node in self.order for a in node.args)
        self.uses.update(ends)
        self.fused = self._fuse()
        self.conditions = self._conditions()
        absorbed = {product for product, _ in self.fused.values()} | self.conditions
        self.order = [node for node in self.order if node not in absorbed]
        self.pairs = self._sines()
        self.operations = 0

    def lines(self) -> Iterator[str]:
        """The statements."""
        written: dict[Node, list[str]] = {}
        for target, node in self.outputs.items() if self.at_once else ():
            written.setdefault(node, []).append(target)
        for node in self.kept:
            if not node.args:
                yield f"cut.keep({self.kept[node]}, {self._name(node)});"
        for node in self.order:
            if node in self.names:
                continue
            yield from self._recall(self._operands(node))
            self.operations += 1
            name = f"v{self.operations}"
            made = [node]
            if node in self.pairs:
                made = list(self.pairs[node])
                self.names.update(zip(made, (f"sin_{name}", f"cos_{name}"), strict=True))
                yield f"Real sin_{name}, cos_{name};"
                call = "calls::sincos_into" if self.outlined else "sincos"
                yield f"{call}({self._name(node.args[0])}, sin_{name}, cos_{name});"
            else:
                expression = self._expression(node)
                self.names[node] = name
                yield f"const Real {name} = {expression};"
            for value in made:
                if value in self.kept:
                    yield f"cut.keep({self.kept[value]}, {self.names[value]});"
                yield from (f"{target} = {self.names[value]};" for target in written.get(value, ()))
        yield from self._recall(self.outputs.values())
        for target, node in self.outputs.items():
            if node not in self.order or not self.at_once:
                yield f"{target} = {self._name(node)};"

    def _operands(self, node: Node) -> Sequence[Node]:
        if node in self.fused:
            product, other = self.fused[node]
            return (*product.args, other)
        if node.args[0] in self.conditions:
            return (*node.args[0].args, *node.args[1:])
        return node.args

    def _recall(self, nodes: Iterable[Node]) -> Iterator[str]:
        for node in nodes:
            if node in self.recalled and node not in self.names:
                self.names[node] = f"k{self.recalled[node]}"
                yield f"const Real {self.names[node]} = cut.kept({self.recalled[node]});"

    def _fuse(self) -> dict[Node, tuple[Node, Node]]:
        """Sum -> (product, other summand): of two products the one that is ready later, so that nothing waits twice."""
        ready: dict[Node, int] = {}
        for node in self.order:
            ready[node] = max((ready.get(a, 0) for a in node.args), default=0) + LATENCY.get(node.op, CALL)
        fused: dict[Node, tuple[Node, Node]] = {}
        taken: set[Node] = set()
        inside = set(self.order)
        for node in self.order:
            if node.op not in ("add", "sub"):
                continue
            products = [
                (a, b)
                for a, b in (node.args, node.args[::-1])
                if a.op == "mul" and a in inside and self.uses[a] == 1 and a not in taken and a is not b
            ]
            if products:
                product, other = max(products, key=lambda pair: ready[pair[0]])
                fused[node] = product, other
                taken.add(product)
        return fused

    def _conditions(self) -> set[Node]:
        """Comparisons that nothing but selections ask for: they stay conditions and never become numbers."""
        asked = Counter(node.args[0] for node in self.order if node.op == "where")
        return {node for node in self.order if node.op in COMPARE and asked[node] == self.uses[node]}

    def _sines(self) -> dict[Node, tuple[Node, Node]]:
        """Each sine and cosine whose partner is needed too -> the pair."""
        by_angle: dict[tuple[str, Node], Node] = {(n.op, n.args[0]): n for n in self.order if n.op in ("sin", "cos")}
        pairs: dict[Node, tuple[Node, Node]] = {}
        for (op, angle), node in by_angle.items():
            partner = by_angle.get(("cos" if op == "sin" else "sin", angle))
            if partner is not None:
                pairs[node] = (node, partner) if op == "sin" else (partner, node)
        return pairs

    def _name(self, node: Node) -> str:
        if node in self.names:
            return self.names[node]
        if node.is_constant:
            return f"Real({literal(node.value)})"
        assert node.op == "input", node
        return input_name(node)

    def _expression(self, node: Node) -> str:
        if node in self.fused:
            product, other = self.fused[node]
            a, b, c = (self._name(x) for x in (*product.args, other))
            name = "fma" if node.op == "add" else "fnma" if product is node.args[1] else "fms"
            return f"{name}({a}, {b}, {c})"
        if node.op == "where" and node.args[0] in self.conditions:
            condition, *values = node.args
            a, b, x, y = (self._name(v) for v in (*condition.args, *values))
            return f"select({a} {COMPARE[condition.op]} {b}, {x}, {y})"
        args = [self._name(a) for a in node.args]
        if node.op in INFIX:
            return f"{args[0]} {INFIX[node.op]} {args[1]}"
        if node.op in COMPARE:
            return f"select({args[0]} {COMPARE[node.op]} {args[1]}, Real(1), Real(0))"
        if node.op == "where":
            return f"select({args[0]} != Real(0), {args[1]}, {args[2]})"
        if node.op == "neg":
            return f"-{args[0]}"
        if node.op == "reciprocal":
            return f"Real(1) / {args[0]}"
        call = f"calls::{node.op}_of" if self.outlined and node.op not in LATENCY else node.op
        return f"{call}({', '.join(args)})"


def literal(value: float) -> str:
    """A double as C++ reads it back, to the bit."""
    if math.isnan(value):
        return '__builtin_nan("")'
    if math.isinf(value):
        return "__builtin_inf()" if value > 0 else "-__builtin_inf()"
    return repr(value)


def input_name(node: Node) -> str:
    """An input as the functions of a Model name it; t and w are scalars."""
    return node.group if node.group in ("t", "w") else f"{node.group}[{node.index}]"


def formula(node: Node, longest: int = 90) -> str:
    """The whole formula on one line, or "" where that is too long."""
    texts: dict[Node, str] = {}
    for part in schedule([node]):
        if not part.args:
            texts[part] = f"{part.value:.6g}" if part.is_constant else input_name(part)
            continue
        args = [texts.get(a, "") for a in part.args]
        if not all(args) or sum(map(len, args)) > longest:
            return ""
        if part.op in INFIX:
            args = [
                f"({a})" if b.op in ("add", "sub") and part.op != "add" else a
                for a, b in zip(args, part.args, strict=True)
            ]
            texts[part] = f"{args[0]} {INFIX[part.op]} {args[1]}"
            if part.op == "div" and part.args[1].op in ("mul", "div"):
                texts[part] = f"{args[0]} / ({args[1]})"
        elif part.op == "neg":
            texts[part] = f"-({args[0]})"
        else:
            texts[part] = f"{part.op}({', '.join(args)})"
    return texts[node] if len(texts[node]) <= longest else ""
