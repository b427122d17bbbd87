"""Formulas as sums of products: the form in which like terms, common factors and shared parts can be seen.

A *sum* is {monomial: coefficient}; a *monomial* is a tuple of (atom, exponent), sorted by atom, with exponents >= 1;
() is the monomial of a constant. An *atom* is what is neither a sum nor a product: an input, an operation such as
sin or reciprocal on simpler formulas, or a sum of several terms that is used as one. Atoms are numbers into `Terms`.

    0.3 s^2 + 1            {((s, 2),): 0.3, (): 1.0}
    a / (0.3 s^2 + 1)      {((a, 1), (r, 1)): 1.0}     r = the atom reciprocal of (the atom of the sum)

Numerators and reciprocals are never cancelled: x^2 / x stays NaN at 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pontryagin.graph.nodes import Node

Monomial = tuple[tuple[int, int], ...]
Sum = dict[Monomial, float]
Term = tuple[float, Monomial]


@dataclass(frozen=True)
class Operation:
    """An atom: an operation on terms."""

    op: str
    args: tuple[Term, ...]


@dataclass
class Terms:
    """All atoms of some formulas, each held once."""

    atoms: list[Node | Operation | None] = field(default_factory=list)  # None: a sum or a product, in the tables below
    sums: dict[int, Sum] = field(default_factory=dict)
    products: dict[int, Monomial] = field(default_factory=dict)
    _known: dict[object, int] = field(default_factory=dict)

    def leaf(self, node: Node) -> int:
        return self._atom(node, node)

    def operation(self, op: str, args: tuple[Term, ...]) -> int:
        content = Operation(op, args)
        return self._atom(content, content)

    def sum(self, terms: Sum) -> int:
        """The atom of a sum; two sums with the same terms are the same atom."""
        key = ("sum", tuple((m, rounded(c)) for m, c in sorted(terms.items())))
        atom = self._atom(key, None)
        self.sums.setdefault(atom, terms)
        return atom

    def product(self, monomial: Monomial) -> int:
        """An atom for a product, so that it is not looked into any more."""
        atom = self._atom(("product", monomial), None)
        self.products[atom] = monomial
        return atom

    def new_sum(self, terms: Sum) -> int:
        """An atom of its own for a sum."""
        self.atoms.append(None)
        self.sums[len(self.atoms) - 1] = terms
        return len(self.atoms) - 1

    def new_product(self, monomial: Monomial) -> int:
        """An atom of its own for a product."""
        self.atoms.append(None)
        self.products[len(self.atoms) - 1] = monomial
        return len(self.atoms) - 1

    def _atom(self, key: object, content: Node | Operation | None) -> int:
        if key not in self._known:
            self._known[key] = len(self.atoms)
            self.atoms.append(content)
        return self._known[key]

    def term(self, terms: Sum, scaled: bool = True) -> Term:
        """A sum as one term: itself if it is one, else coefficient times an atom (coefficient 1 if not `scaled`)."""
        if not terms:
            return 0.0, ()
        if len(terms) == 1:
            ((monomial, coefficient),) = terms.items()
            return coefficient, monomial
        scale = common_scale(terms) if scaled else 1.0
        if scale != 1.0:
            terms = {monomial: tidy(coefficient / scale) for monomial, coefficient in terms.items()}
        return scale, ((self.sum(terms), 1),)

    def parts(self, atom: int) -> Iterator[Monomial]:
        """The monomials that an atom is made of."""
        content = self.atoms[atom]
        if isinstance(content, Operation):
            yield from (monomial for _, monomial in content.args)
        elif atom in self.sums:
            yield from self.sums[atom]
        elif atom in self.products:
            yield self.products[atom]

    def needed(self, results: Sequence[Term]) -> list[int]:
        """The atoms that the results need, parts before wholes."""
        order: list[int] = []
        done: set[int] = set()
        for _, result in results:
            stack = [atom for atom, _ in reversed(result)]
            while stack:
                atom = stack[-1]
                if atom in done:
                    stack.pop()
                    continue
                waiting = [a for monomial in self.parts(atom) for a, _ in monomial if a not in done]
                if waiting:
                    stack.extend(reversed(waiting))
                else:
                    done.add(atom)
                    order.append(atom)
                    stack.pop()
        return order

    def change(self, atoms: Iterable[int], convert: Callable[[Term], Term]) -> None:
        """Rewrites every term that the atoms are made of; equal monomials stay equal."""
        for atom in atoms:
            content = self.atoms[atom]
            if isinstance(content, Operation):
                self.atoms[atom] = Operation(content.op, tuple(convert(a) for a in content.args))
            elif atom in self.sums:
                converted = (convert((c, m)) for m, c in self.sums[atom].items())
                self.sums[atom] = {monomial: coefficient for coefficient, monomial in converted}
            elif atom in self.products:
                self.products[atom] = convert((1.0, self.products[atom]))[1]


def common_scale(terms: Sum) -> float:
    """The coefficient to take out of a sum, the same for all its multiples but for itself.

    It is the most frequent magnitude, of equally frequent ones that of the first term, with the sign of the first.
    """
    sizes = Counter(rounded(abs(c)) for c in terms.values())
    first = min(terms)
    best = max(sizes.values())
    for monomial in sorted(terms):
        if sizes[rounded(abs(terms[monomial]))] == best:
            return math.copysign(terms[monomial], terms[first])
    raise ValueError("a sum without terms has no scale")


def rounded(value: float) -> float:
    """Without the last digit and a half: coefficients that differ by rounding are the same."""
    return float(f"{value:.14g}")


def tidy(value: float) -> float:
    """Undoes rounding: 0.9999999999999999, from 0.15 / (0.3 * 0.5), is 1."""
    short = float(f"{value:.12g}")
    return short if abs(short - value) <= 4.5e-16 * abs(value) else value


def times(a: Monomial, b: Monomial) -> Monomial:
    """The product of two monomials."""
    if not a or not b:
        return a or b
    exponents = dict(a)
    for atom, exponent in b:
        exponents[atom] = exponents.get(atom, 0) + exponent
    return tuple(sorted(exponents.items()))


def add_term(terms: Sum, coefficient: float, monomial: Monomial) -> None:
    """Adds a term to a sum, collecting like terms; what cancels is removed."""
    total = terms.get(monomial, 0.0) + coefficient
    if total == 0.0:
        terms.pop(monomial, None)
    else:
        terms[monomial] = total
