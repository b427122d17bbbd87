"""Simplification of whole formulas.

Sums and products are flattened and like terms collected, common factors taken out and common parts shared; reciprocals
of one denominator are shared, a/D and b/D become a*r and b*r. Values change by rounding only. Nothing moves into or out
of `where`, max and the like, so derivatives where branches meet stay what they were: formulas may be simplified before
they are differentiated and again afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence

from pontryagin.graph.nodes import Graph, Node
from pontryagin.graph.order import operation_count
from pontryagin.graph.reading import terms_of
from pontryagin.graph.sharing import factor, rescale, share_products, share_sums
from pontryagin.graph.terms import Term, Terms, times
from pontryagin.graph.writing import written

_MOST_ROUNDS = 4
_SMALL = 2000  # operations; above, one attempt is enough


def simplify(outputs: Sequence[Node]) -> list[Node]:
    """The same values in fewer operations, counted over all outputs together; each kind counts as one.

    Which common parts are named first decides what is left to find, and neither way is always better: both are tried,
    and the better one again until it finds nothing more.
    """
    best, count = list(outputs), operation_count(outputs)
    orders = (False, True) if count <= _SMALL else (False,)
    for _ in range(_MOST_ROUNDS):
        attempts = [(order, _attempt(best, order)) for order in orders]
        counted = [(operation_count(nodes), order, nodes) for order, nodes in attempts]
        found, order, nodes = min(counted, key=lambda attempt: attempt[0])
        if found >= count:
            break
        best, count, orders = nodes, found, (order,)
        if count > _SMALL:
            break
    return best


def _attempt(outputs: Sequence[Node], products_first: bool) -> list[Node]:
    if not outputs:
        return []
    graph = outputs[0].graph
    terms, results = terms_of(outputs)
    if products_first:
        results = _share_products(terms, results)
    factor(terms, terms.needed(results))
    share_sums({atom: terms.sums[atom] for atom in terms.needed(results) if atom in terms.sums}, terms.new_sum)
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
        size = abs(coefficient)
        if not monomial or size in (0.0, 1.0):
            return term
        return coefficient / size, times(monomial, ((terms.leaf(graph.constant(size)), 1),))

    terms.change(terms.needed(results), convert)
    return [convert(term) for term in results]
