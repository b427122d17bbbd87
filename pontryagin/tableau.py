"""Explicit Runge-Kutta methods as data, each of which proves itself when it is constructed.

One step of length h from x_k, with stages i = 1..s:

    X_i = x_k + h sum_{j<i} a_ij f(t_k + c_i h, X_j),      x_{k+1} = x_k + h sum_i b_i f(t_k + c_i h, X_i)

A method has order p when sum_i b_i Phi_i(tau) = 1 / gamma(tau) for every rooted tree tau of at most p nodes, where
Phi of a single node is one, Phi_i([tau_1 .. tau_k]) = prod_j sum_l a_il Phi_l(tau_j), and
gamma([tau_1 .. tau_k]) = |tau| prod_j gamma(tau_j).  (Hairer, Norsett & Wanner, Solving Ordinary Differential
Equations I, 1993, section II.2.)

Steps are fixed, so the last stage of the pairs that reuse it in the next step (Bogacki-Shampine, Dormand-Prince,
Tsitouras), which has weight zero and serves the error estimate alone, is left out: 3, 6 and 6 stages remain.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache

from pontryagin.errors import ProblemError, unknown_name

Tree = tuple["Tree", ...]
Row = tuple[float, ...]

#: Residual that rounding of the coefficients leaves in an order condition; the largest coefficient is about 13.
ROUNDING = 1e-13


@dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method: nodes c (s,), strictly lower matrix a (row i holds i entries), weights b (s,).

    Raises ProblemError when it is not explicit, when c_i differs from the sum of row i, when the last stage has no
    weight, or when an order condition fails.
    """

    name: str
    order: int
    c: Row
    a: tuple[Row, ...]
    b: Row

    def __post_init__(self) -> None:
        s = len(self.b)
        if len(self.c) != s or [len(row) for row in self.a] != list(range(s)):
            raise ProblemError(f"{self.name}: with {s} weights an explicit method has {s} nodes and rows of 0..{s - 1}")
        if self.b[-1] == 0.0:
            raise ProblemError(f"{self.name}: the last stage has no weight; leave it out")
        for i, row in enumerate(self.a):
            if abs(math.fsum(row) - self.c[i]) > ROUNDING:
                raise ProblemError(f"{self.name}: row {i} of a sums to {math.fsum(row)}, its node is {self.c[i]}")
        for tree in trees_up_to(self.order):
            residual = self.order_residual(tree)
            if abs(residual) > ROUNDING:
                raise ProblemError(
                    f"{self.name}: condition of order {size(tree)} fails by {residual:.1e} for tree {tree}"
                )

    def __hash__(self) -> int:  # of the name alone: quick, as tableaus are keys on the way to every sweep
        return hash(self.name)

    @property
    def stages(self) -> int:
        return len(self.b)

    def order_residual(self, tree: Tree) -> float:
        """sum_i b_i Phi_i(tree) - 1 / gamma(tree)."""
        weight = math.fsum(b * phi for b, phi in zip(self.b, self._elementary_weights(tree), strict=True))
        return weight - 1.0 / density(tree)

    def _elementary_weights(self, tree: Tree) -> list[float]:
        branches = [self._elementary_weights(branch) for branch in tree]
        return [
            math.prod(math.fsum(a * phi[j] for j, a in enumerate(row)) for phi in branches) if branches else 1.0
            for row in self.a
        ]


def size(tree: Tree) -> int:
    """Number of nodes |tree|."""
    return 1 + sum(size(branch) for branch in tree)


def density(tree: Tree) -> int:
    """gamma(tree)."""
    return size(tree) * math.prod(density(branch) for branch in tree)


@cache
def trees_of(nodes: int) -> tuple[Tree, ...]:
    """All rooted trees of so many nodes, each as the sorted tuple of its branches: 1, 1, 2, 4, 9, 20, ... of them."""
    return tuple(sorted(_forests(nodes - 1, nodes - 1)))


def trees_up_to(nodes: int) -> tuple[Tree, ...]:
    return tuple(itertools.chain.from_iterable(trees_of(count) for count in range(1, nodes + 1)))


def _forests(nodes: int, largest: int) -> set[Tree]:
    """All multisets of trees with so many nodes in total and none larger than `largest`."""
    if nodes == 0:
        return {()}
    return {
        tuple(sorted((tree, *rest)))
        for first in range(1, min(nodes, largest) + 1)
        for tree in trees_of(first)
        for rest in _forests(nodes - first, first)
    }


EULER = Tableau("euler", 1, c=(0.0,), a=((),), b=(1.0,))

MIDPOINT = Tableau("midpoint", 2, c=(0.0, 1 / 2), a=((), (1 / 2,)), b=(0.0, 1.0))

HEUN = Tableau("heun", 2, c=(0.0, 1.0), a=((), (1.0,)), b=(1 / 2, 1 / 2))

RK4 = Tableau(
    "rk4",
    4,
    c=(0.0, 1 / 2, 1 / 2, 1.0),
    a=((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
)

#: Kutta's 3/8 rule.
RK38 = Tableau(
    "rk38",
    4,
    c=(0.0, 1 / 3, 2 / 3, 1.0),
    a=((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)),
    b=(1 / 8, 3 / 8, 3 / 8, 1 / 8),
)

#: Bogacki & Shampine, A 3(2) pair of Runge-Kutta formulas, Appl. Math. Lett. 2 (1989).
BOGACKI_SHAMPINE = Tableau(
    "bogacki_shampine",
    3,
    c=(0.0, 1 / 2, 3 / 4),
    a=((), (1 / 2,), (0.0, 3 / 4)),
    b=(2 / 9, 1 / 3, 4 / 9),
)

#: Dormand & Prince, A family of embedded Runge-Kutta formulae, J. Comp. Appl. Math. 6 (1980).
DORMAND_PRINCE = Tableau(
    "dormand_prince",
    5,
    c=(0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0),
    a=(
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    ),
    b=(35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)

#: Tsitouras, Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying assumption,
#: Comput. Math. Appl. 62 (2011).
TSITOURAS = Tableau(
    "tsitouras",
    5,
    c=(0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0),
    a=(
        (),
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
    ),
    b=(0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774),
)

TABLEAUS: dict[str, Tableau] = {
    tableau.name: tableau for tableau in (EULER, MIDPOINT, HEUN, RK4, RK38, BOGACKI_SHAMPINE, DORMAND_PRINCE, TSITOURAS)
}


def tableau_named(scheme: str | Tableau) -> Tableau:
    """The tableau of that name; a Tableau passes as it is. Raises ProblemError for an unknown name."""
    if isinstance(scheme, Tableau):
        return scheme
    if not isinstance(scheme, str) or scheme not in TABLEAUS:
        raise unknown_name("scheme", scheme, TABLEAUS)
    return TABLEAUS[scheme]
