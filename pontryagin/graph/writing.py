"""From sums of products back to nodes.

The order is the one that fused multiply-adds like: single summands first, then one product after the other.
"""

from __future__ import annotations

from collections import Counter

from pontryagin.graph.nodes import Graph, Node, integer_power
from pontryagin.graph.terms import Monomial, Operation, Sum, Term, Terms


def written(graph: Graph, terms: Terms, results: list[Term]) -> list[Node]:
    """The results as nodes."""
    return _Writer(graph, terms, results).write()


class _Writer:
    """Writes terms as nodes."""

    def __init__(self, graph: Graph, terms: Terms, results: list[Term]) -> None:
        self.graph = graph
        self.terms = terms
        self.results = results
        self.order = terms.needed(results)
        self.built: dict[int, Node] = {}
        whole = [monomial for _, monomial in results]
        parts = dict.fromkeys(monomial for atom in self.order for monomial in terms.parts(atom))
        self.uses = Counter(atom for monomial in dict.fromkeys((*whole, *parts)) for atom, _ in monomial)

    def write(self) -> list[Node]:
        for atom in self.order:
            self.built[atom] = self._atom(atom)
        return [self._term(term) for term in self.results]

    def _atom(self, atom: int) -> Node:
        content = self.terms.atoms[atom]
        if isinstance(content, Node):
            return content
        if isinstance(content, Operation):
            return self.graph.apply(content.op, *(self._term(a) for a in content.args))
        if atom in self.terms.sums:
            return self._sum(self.terms.sums[atom])
        return self._product(self.terms.products[atom])

    def _term(self, term: Term) -> Node:
        """A coefficient (a sign, or any number where there is no factor) times a product."""
        coefficient, monomial = term
        return coefficient * self._product(monomial)

    def _product(self, monomial: Monomial) -> Node:
        """Constants first; divided by a denominator that nothing else divides by."""
        product = self.graph.constant(1.0)
        denominators: list[Node] = []
        for atom, exponent in sorted(monomial, key=lambda f: (not self.built[f[0]].is_constant, f[0])):
            factor = self.built[atom]
            if factor.op == "reciprocal" and exponent == 1 and self.uses[atom] == 1:
                denominators.append(factor.args[0])
            else:
                product = product * integer_power(factor, exponent)
        for denominator in denominators:
            product = product / denominator
        return product

    def _sum(self, total: Sum) -> Node:
        """Single summands before products, positive before negative."""
        if all(c < 0 for c in total.values()):
            return -self._sum({monomial: -c for monomial, c in total.items()})
        terms = sorted(total.items(), key=lambda i: (sum(e for _, e in i[0]) + (abs(i[1]) != 1) > 1, i[1] < 0, i[0]))
        start = next(i for i, (_, c) in enumerate(terms) if c > 0)
        terms.insert(0, terms.pop(start))
        result = self.graph.constant(0.0)
        for monomial, coefficient in terms:
            term = self._term((abs(coefficient), monomial))
            result = result + term if coefficient > 0 else result - term
        return result
