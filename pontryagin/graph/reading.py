"""From nodes to sums of products."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from pontryagin.graph.nodes import Node
from pontryagin.graph.order import schedule
from pontryagin.graph.terms import Monomial, Operation, Sum, Term, Terms, add_term, times

#: A product that is used several times is expanded into its users as long as it has no more factors than this.
_MOST_SHARED_FACTORS = 8


def terms_of(outputs: Sequence[Node]) -> tuple[Terms, list[Term]]:
    """The outputs as terms: sums are flattened into the sums, products into the products that use them."""
    order = schedule(outputs)
    uses = Counter(a for node in order for a in node.args)
    uses.update(outputs)
    reader = _Reader(Terms(), uses)
    for node in order:
        reader.read(node)
    return reader.terms, [reader.closed(output, scaled=False) for output in outputs]


class _Reader:
    """Reads nodes into terms, arguments before users."""

    def __init__(self, terms: Terms, uses: Counter[Node]) -> None:
        self.terms = terms
        self.uses = uses
        self.forms: dict[Node, Sum] = {}
        self._closed: dict[tuple[Node, bool], Term] = {}

    def read(self, node: Node) -> None:
        rule = getattr(self, f"_{node.op}", None)
        if rule is None:
            atom = self.terms.operation(node.op, tuple(self.closed(a, scaled=False) for a in node.args))
            self.forms[node] = {((atom, 1),): 1.0}
        else:
            self.forms[node] = rule(node)

    def closed(self, node: Node, scaled: bool = True) -> Term:
        """The node as one term."""
        key = (node, scaled)
        if key not in self._closed:
            scale, monomial = self.terms.term(self.forms[node], scaled)
            if self.uses[node] > 1 and (len(monomial) > _MOST_SHARED_FACTORS or self._is_quotient(monomial)):
                monomial = ((self.terms.product(monomial), 1),)
            self._closed[key] = scale, monomial
        return self._closed[key]

    def _is_quotient(self, monomial: Monomial) -> bool:
        """Whether the product has a reciprocal among its factors; its own derivative will need it as it is."""
        atoms = (self.terms.atoms[atom] for atom, _ in monomial)
        return len(monomial) > 1 and any(isinstance(a, Operation) and a.op == "reciprocal" for a in atoms)

    def summands(self, node: Node) -> Sum:
        """The terms of a summand; a sum that others use, too, stays closed. The caller may change the result."""
        if self.uses[node] == 1:
            return self.forms.pop(node)
        scale, monomial = self.closed(node)
        return {monomial: scale} if scale else {}

    def _input(self, node: Node) -> Sum:
        return {((self.terms.leaf(node), 1),): 1.0}

    def _constant(self, node: Node) -> Sum:
        if not math.isfinite(node.value):
            return self._input(node)
        return {(): node.value} if node.value else {}

    def _add(self, node: Node) -> Sum:
        return self._sum(node.args, 1.0)

    def _sub(self, node: Node) -> Sum:
        return self._sum(node.args, -1.0)

    def _sum(self, args: tuple[Node, ...], sign: float) -> Sum:
        a, b = args
        if a is b:  # neither may be consumed twice
            scale, monomial = self.closed(a)
            return {monomial: 2.0 * scale} if sign > 0 else {}
        first, second = self.summands(a), self.summands(b)
        if sign > 0 and len(first) < len(second):
            first, second = second, first
        for monomial, coefficient in second.items():
            add_term(first, sign * coefficient, monomial)
        return first

    def _neg(self, node: Node) -> Sum:
        return {monomial: -coefficient for monomial, coefficient in self.summands(node.args[0]).items()}

    def _mul(self, node: Node) -> Sum:
        a, b = node.args
        if a.is_constant and math.isfinite(a.value):
            return {monomial: a.value * coefficient for monomial, coefficient in self.summands(b).items()}
        (first, m), (second, n) = self.closed(a), self.closed(b)
        return {times(m, n): first * second} if first * second else {}

    def _div(self, node: Node) -> Sum:
        scale, monomial = self.closed(node.args[0])
        inverse, atom = self._inverse(node.args[1])
        return {times(monomial, atom): scale * inverse}

    def _reciprocal(self, node: Node) -> Sum:
        inverse, atom = self._inverse(node.args[0])
        return {atom: inverse}

    def _inverse(self, node: Node) -> Term:
        scale, monomial = self.closed(node)
        factor = 1.0 / scale if scale else math.inf
        if not math.isfinite(factor) or not monomial:
            return 1.0, ((self.terms.operation("reciprocal", ((scale, monomial),)), 1),)
        return factor, ((self.terms.operation("reciprocal", ((1.0, monomial),)), 1),)
