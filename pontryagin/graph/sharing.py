"""Common factors and common parts of sums of products.

`factor` takes out of each sum, again and again, the factor that most of its terms have: a b + a c = a (b + c).
`share_products` and `share_sums` look at all products (all sums) together and name the pair of factors (of terms) that
occurs most often, until none occurs twice. `rescale` chooses the multiple of each sum that needs fewest coefficients.
All choices go by count, then by number, so they are the same in every run.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pontryagin.graph.terms import Monomial, Sum, Term, Terms, add_term, rounded, tidy, times

_LONGEST_FACTORED = 200  # terms; longer sums are matrix products, whose terms have nothing in common
_LONGEST_SHARED = 40  # terms or factors; pairs are counted, so the work is quadratic in this


def factor(terms: Terms, needed: Iterable[int]) -> None:
    """Takes common factors out of all sums."""
    waiting = [atom for atom in needed if atom in terms.sums]
    while waiting:
        known = len(terms.atoms)
        for atom in waiting:
            if len(terms.sums[atom]) <= _LONGEST_FACTORED:
                terms.sums[atom] = _factored(terms, terms.sums[atom])
        waiting = [atom for atom in range(known, len(terms.atoms)) if atom in terms.sums]


def take_out_sizes(terms: Terms, needed: Iterable[int]) -> None:
    """k a + k b = k (a + b) in all sums."""
    for atom in needed:
        if atom in terms.sums and len(terms.sums[atom]) <= _LONGEST_FACTORED:
            terms.sums[atom] = _with_common_sizes(terms, terms.sums[atom])


def _factored(terms: Terms, total: Sum) -> Sum:
    while True:
        counts = Counter(atom for monomial in total for atom, _ in monomial)
        best = min(counts, key=lambda atom: (-counts[atom], atom), default=None)
        if best is None or counts[best] < 2:
            return total
        inner: Sum = {}
        rest: Sum = {}
        for monomial, coefficient in total.items():
            quotient = _without(monomial, best)
            if quotient is None:
                add_term(rest, coefficient, monomial)
            else:
                add_term(inner, coefficient, quotient)
        scale, monomial = terms.term(inner)
        add_term(rest, scale, times(monomial, ((best, 1),)))
        total = rest


def _without(monomial: Monomial, factor: int) -> Monomial | None:
    """The monomial divided by one power of the factor, or None where it has none."""
    if all(atom != factor for atom, _ in monomial):
        return None
    return tuple((atom, e - (atom == factor)) for atom, e in monomial if atom != factor or e > 1)


def _with_common_sizes(terms: Terms, total: Sum) -> Sum:
    """k a + k b = k (a + b) for coefficients of the same magnitude."""
    groups: dict[float, Sum] = {}
    for monomial, coefficient in total.items():
        groups.setdefault(rounded(abs(coefficient)), {})[monomial] = coefficient
    result: Sum = {}
    for size, group in groups.items():
        if len(group) > 1 and size != 1.0:
            scale, monomial = terms.term(group)
            add_term(result, scale, monomial)
        else:
            for monomial, coefficient in group.items():
                add_term(result, coefficient, monomial)
    return result


def rescale(terms: Terms, needed: Sequence[int], results: Iterable[Term]) -> None:
    """Multiplies each sum by the number that leaves fewest multiplications by constants, in it and where it is used.

    A multiple of a factor that another product has as well counts once: k a b and k a c are (k a) b and (k a) c. Only
    sums whose users are all sums are touched: elsewhere a coefficient would be an operation of its own.
    """
    users: dict[int, list[tuple[Sum, Monomial, int]]] = defaultdict(list)
    fixed = {atom for _, monomial in results for atom, _ in monomial}
    multiples = _Multiples()
    for atom in needed:
        for monomial in terms.parts(atom):
            for part, exponent in monomial:
                if atom in terms.sums:
                    users[part].append((terms.sums[atom], monomial, exponent))
                else:
                    fixed.add(part)
        for monomial, coefficient in terms.sums.get(atom, {}).items():
            multiples.add(coefficient, monomial)
    for atom in needed:
        if atom in terms.sums and atom not in fixed:
            _rescale(terms.sums[atom], users[atom], multiples)


class _Multiples:
    """Which multiples of atoms there are in products; each is one multiplication, whatever it is multiplied by."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[float, int]] = Counter()

    def add(self, coefficient: float, monomial: Monomial) -> int:
        """Whether that is one multiplication more."""
        size = rounded(abs(coefficient))
        if size == 1.0 or not monomial:
            return 0
        counts = [self.counts[size, atom] for atom, _ in monomial]
        self.counts.update((size, atom) for atom, _ in monomial)
        return max(counts) == 0

    def remove(self, coefficient: float, monomial: Monomial) -> int:
        """Whether that is one multiplication less."""
        size = rounded(abs(coefficient))
        if size == 1.0 or not monomial:
            return 0
        self.counts.subtract((size, atom) for atom, _ in monomial)
        return max(self.counts[size, atom] for atom, _ in monomial) == 0


def _rescale(total: Sum, users: Sequence[tuple[Sum, Monomial, int]], multiples: _Multiples) -> None:
    def move(before: float, after: float) -> int:
        """The multiplications that more are needed where the sum is divided by `after` in place of `before`."""
        change = 0
        for monomial, coefficient in total.items():
            change -= multiples.remove(coefficient / before, monomial)
        for user, monomial, exponent in users:
            change -= multiples.remove(user[monomial] * before**exponent, monomial)
        for monomial, coefficient in total.items():
            change += multiples.add(coefficient / after, monomial)
        for user, monomial, exponent in users:
            change += multiples.add(user[monomial] * after**exponent, monomial)
        return change

    candidates = {abs(c): None for c in total.values()}
    candidates |= {abs(1.0 / user[m]): None for user, m, e in users if e == 1}
    best, lowest, change, scale = 1.0, 0, 0, 1.0
    for candidate in candidates:
        change += move(scale, candidate)
        scale = candidate
        if change < lowest:
            best, lowest = candidate, change
    move(scale, best)
    if best != 1.0:
        for monomial in total:
            total[monomial] = tidy(total[monomial] / best)
        for user, monomial, exponent in users:
            user[monomial] = tidy(user[monomial] * best**exponent)


_Bag = dict[Any, Any]  # factor -> exponent, or monomial -> coefficient
_Counted = Iterator[tuple[Any, int]]


def share_products(monomials: Iterable[Monomial], name: Callable[[Monomial], int]) -> dict[Monomial, Monomial]:
    """The same products with common pairs of factors replaced by the atoms that `name` gives to them."""

    def pairs(bag: _Bag) -> _Counted:
        factors = sorted(bag)
        for i, a in enumerate(factors):
            if bag[a] > 1:
                yield (a, a), bag[a] // 2
            for b in factors[i + 1 :]:
                yield (a, b), min(bag[a], bag[b])

    def replace(bag: _Bag, pair: tuple[int, int], atom: int) -> None:
        a, b = pair
        found = bag[a] // 2 if a == b else min(bag[a], bag[b])
        for part in pair:
            bag[part] -= found
            if not bag[part]:
                del bag[part]
        bag[atom] = bag.get(atom, 0) + found

    def named(pair: tuple[int, int]) -> int:
        a, b = pair
        return name(((a, 2),) if a == b else ((a, 1), (b, 1)))

    bags = {monomial: dict(monomial) for monomial in monomials if sum(e for _, e in monomial) > 1}
    _share(bags, pairs, replace, named)
    return {monomial: tuple(sorted(bag.items())) for monomial, bag in bags.items()}


def share_sums(sums: dict[int, Sum], name: Callable[[Sum], int]) -> None:
    """Replaces common pairs of terms, up to a common multiple, by the atoms that `name` gives to them: in place."""

    def pairs(total: _Bag) -> _Counted:
        monomials = sorted(total)
        for i, a in enumerate(monomials):
            for b in monomials[i + 1 :]:
                yield (a, b, rounded(total[b] / total[a])), 1

    def replace(total: _Bag, pair: tuple[Monomial, Monomial, float], atom: int) -> None:
        a, b, _ = pair
        scale = total.pop(a)
        del total[b]
        add_term(total, scale, ((atom, 1),))

    def named(pair: tuple[Monomial, Monomial, float]) -> int:
        a, b, ratio = pair
        return name({a: 1.0, b: ratio})

    _share({atom: total for atom, total in sums.items() if len(total) > 1}, pairs, replace, named)


def _share(
    bags: dict[Any, _Bag],
    pairs: Callable[[_Bag], _Counted],
    replace: Callable[[_Bag, Any, int], None],
    named: Callable[[Any], int],
) -> None:
    """Names the most frequent pair and replaces it, until no pair occurs twice.

    The heap may hold old counts, which are corrected when they come up; `holders` are dictionaries for their order.
    """
    counts: Counter[Any] = Counter()
    holders: dict[Any, dict[Any, None]] = defaultdict(dict)
    for key, bag in bags.items():
        if len(bag) <= _LONGEST_SHARED:
            for pair, count in pairs(bag):
                counts[pair] += count
                holders[pair][key] = None
    heap = [(-count, pair) for pair, count in counts.items() if count > 1]
    heapq.heapify(heap)
    while heap:
        count, pair = heapq.heappop(heap)
        if counts[pair] != -count:
            if counts[pair] > 1:
                heapq.heappush(heap, (-counts[pair], pair))
            continue
        atom = named(pair)
        touched: dict[Any, None] = {}
        for key in list(holders[pair]):
            bag = bags[key]
            for old, found in pairs(bag):
                counts[old] -= found
                holders[old].pop(key, None)
            replace(bag, pair, atom)
            for new, found in pairs(bag):
                counts[new] += found
                holders[new][key] = None
                touched[new] = None
        for new in touched:
            if counts[new] > 1:
                heapq.heappush(heap, (-counts[new], new))
