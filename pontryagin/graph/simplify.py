"""Simplification of whole formulas.

Sums and products are flattened and like terms collected, common factors taken out and common parts shared; reciprocals
of one denominator are shared, a/D and b/D become a*r and b*r. Values change by rounding only. Nothing moves into or out
of `where`, max and the like, so derivatives where branches meet stay what they were: formulas may be simplified before
they are differentiated and again afterwards.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from pontryagin.graph.nodes import Graph, Node
from pontryagin.graph.order import schedule
from pontryagin.graph.reading import terms_of
from pontryagin.graph.sharing import factor, rescale, share_products, share_sums, take_out_sizes
from pontryagin.graph.terms import Term, Terms, tidy, times
from pontryagin.graph.writing import written

_MOST_ROUNDS = 4
_DIVISION = 4.0  # what a division costs beyond a product
_FUSED = 0.5  # what a fused multiply-add saves
_SMALL = 2000  # operations; above, one attempt is enough


def simplify(outputs: Sequence[Node]) -> list[Node]:
    """The same values at less `cost`, taken over all outputs together.

    Which common parts are named first decides what is left to find, and neither way is always better: both are tried,
    and the better one again until it finds nothing more.
    """
    best, lowest = list(outputs), cost(outputs)
    orders = (False, True) if lowest <= _SMALL else (False,)
    for _ in range(_MOST_ROUNDS):
        attempts = [(order, _attempt(best, order)) for order in orders]
        order, found = min(attempts, key=lambda attempt: cost(attempt[1]))
        if cost(found) >= lowest:
            break
        best, lowest, orders = found, cost(found), (order,)
        if lowest > _SMALL:
            break
    return best


def cost(outputs: Sequence[Node]) -> float:
    """Operations, where a division counts five and a product that is used only in one sum counts half (it fuses)."""
    order = schedule(outputs)
    uses = Counter(a for node in order for a in node.args)
    uses.update(outputs)
    divisions = sum(node.op in ("div", "reciprocal") for node in order)
    fused = sum(node.op in ("add", "sub") and any(a.op == "mul" and uses[a] == 1 for a in node.args) for node in order)
    return sum(bool(node.args) for node in order) + _DIVISION * divisions - _FUSED * fused


def _attempt(outputs: Sequence[Node], products_first: bool) -> list[Node]:
    if not outputs:
        return []
    graph = outputs[0].graph
    terms, results = terms_of(outputs)
    if products_first:
        results = _share_products(terms, results)
    factor(terms, terms.needed(results))
    share_sums({atom: terms.sums[atom] for atom in terms.needed(results) if atom in terms.sums}, terms.new_sum)
    take_out_sizes(terms, terms.needed(results))
    rescale(terms, terms.needed(results), results)
    results = _with_constants_as_factors(graph, terms, results)
    results = _share_products(terms, results)
    return written(graph, terms, results)


def _share_products(terms: Terms, results: list[Term]) -> list[Term]:
    """Names common parts of all products; the results with those names."""
    needed = terms.needed(results)
    monomials = dict.fromkeys(monomial for _, monomial in results)
    monomials.update(dict.fromkeys(monomial for atom in needed for monomial in terms.parts(atom)))
    shorter = share_products(monomials, terms.new_product)
    terms.change(needed, lambda term: (term[0], shorter.get(term[1], term[1])))
    return [(coefficient, shorter.get(monomial, monomial)) for coefficient, monomial in results]


def _with_constants_as_factors(graph: Graph, terms: Terms, results: list[Term]) -> list[Term]:
    """Leaves the signs as coefficients; magnitudes become factors, so that products with them can be shared."""

    def convert(term: Term) -> Term:
        coefficient, monomial = term
        size = abs(tidy(coefficient))
        if not monomial or size in (0.0, 1.0):
            return term
        return math.copysign(1.0, coefficient), times(monomial, ((terms.leaf(graph.constant(size)), 1),))

    terms.change(terms.needed(results), convert)
    return [convert(term) for term in results]
