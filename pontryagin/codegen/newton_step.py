"""A whole Runge-Kutta step with its derivatives of first and second order as formulas, for one tableau.

This is the recursion of csrc/include/pontryagin/newton_stages.hpp, which explains it, written out on the graph of a
stage: what is zero or one in Y_i and D_i is known here, and the Hessian of a stage shares its sines with the Jacobian.
Inputs of the graphs: s (x, u_k of a linear control, optimised theta, t1), v, d (at both ends where it is linear),
theta, tau, h, and for the Hessian the costate and the weight of the cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pontryagin.codegen.order import LATENCY
from pontryagin.graph import Graph, Node, count_operations, operation_count, schedule
from pontryagin.tableau import Tableau

Matrix = Mapping[tuple[int, int], Node]
Row = Mapping[int, Node]  # column -> what is not zero


#: Steps with more operations are left to the recursion over stages: compilers take long over so much code in one piece.
LARGEST_STEP = 3000


@dataclass(frozen=True)
class StageFormulas:
    """T f and T L of a stage with their derivatives in y = (x, u, optimised theta, t1); weights m and w."""

    values: Sequence[Node]  # n + 1
    jacobian: Matrix
    hessian: Matrix
    control_dim: int
    data_dim: int
    optimised: Sequence[int]  # entries of theta
    free_time: bool


@dataclass(frozen=True)
class StepKind:
    """What the formulas of a step depend on besides those of a stage."""

    tableau: Tableau
    linear_control: bool
    linear_data: bool


class StepFormulas:
    """F and l in `values`; F_z by rows, l_z times the weight, and the lower triangle of the Hessian, by rows."""

    def __init__(self, stage: StageFormulas, kind: StepKind) -> None:
        self.stage, self.kind, self.graph = stage, kind, Graph()
        self.n, self.m = len(stage.values) - 1, stage.control_dim
        self.moved = len(stage.optimised) + stage.free_time
        self.ns = self.n + self.moved + (self.m if kind.linear_control else 0)
        self.nz = self.ns + self.m
        self.known: list[dict[Node, Node]] = []  # of each stage: its nodes -> those of the step
        self.found: list[list[Node]] = []  # f_i, L_i
        self.entries: list[Matrix] = []  # (f, L)_y
        self.rows: list[list[Row]] = []  # Y_i
        self.slopes: list[list[Row]] = []  # D_i
        zero, h, tableau = self.graph.constant(0.0), self.graph.input("h", 0), kind.tableau
        for i in range(len(tableau.b)):
            self._enter(i, {j: h * a for j, a in enumerate(tableau.a[i][:i]) if a})
        self.shares = {i: h * b for i, b in enumerate(tableau.b) if b}
        weight = self.graph.input("weight", 0)
        start = [*(self.graph.input("s", a) for a in range(self.n)), zero]
        self.values = [_total(x, ((f, self.found[i][a]) for i, f in self.shares.items())) for a, x in enumerate(start)]
        last = [self._combined(a, self.shares) for a in range(self.n + 1)]
        self.jacobian = [row.get(c, zero) for row in last[: self.n] for c in range(self.nz)]
        self.gradient = [weight * last[self.n].get(c, zero) for c in range(self.nz)]
        terms = self._curvature(weight)
        self.hessian = [_total(zero, terms.get((a, b), ())) for a in range(self.nz) for b in range(a + 1)]

    @property
    def derivatives(self) -> dict[str, Sequence[Node]]:
        """By the arrays of the core that they are written to."""
        return {"jacobian": self.jacobian, "gradient": self.gradient, "hessian": self.hessian}

    @property
    def known_slopes(self) -> list[list[float | None]]:
        """Zeros and ones in F_z (n, nz)."""
        known = [node.value if node.is_value(0.0) or node.is_value(1.0) else None for node in self.jacobian]
        return [known[a * self.nz : (a + 1) * self.nz] for a in range(self.n)]

    @property
    def operations(self) -> int:
        """Of a step with all its derivatives."""
        return operation_count([*self.values, *self.jacobian, *self.gradient, *self.hessian])

    @property
    def calls(self) -> int:
        """Elementary functions among them; sine and cosine of one angle are one."""
        counted = count_operations([*self.values, *self.jacobian, *self.gradient, *self.hessian])
        return sum(count for op, count in counted.items() if op not in LATENCY and op != "cos")

    def _enter(self, i: int, factors: Mapping[int, Node]) -> None:
        """Stage i, X_i = x + sum factor_j f_j."""
        inner = [
            _total(self.graph.input("s", a), ((f, self.found[j][a]) for j, f in factors.items())) for a in range(self.n)
        ]
        self.known.append({self.stage.values[0].graph.input("x", a): node for a, node in enumerate(inner)})
        self.found.append(self._translated(i, self.stage.values))
        entries = self._translated(i, [*self.stage.jacobian.values()])
        self.entries.append(dict(zip(self.stage.jacobian, entries, strict=True)))
        self.rows.append(
            [*(self._combined(a, factors) for a in range(self.n)), *self._fixed_rows(self.kind.tableau.c[i])]
        )
        slopes: list[dict[int, list[tuple[Node, Node]]]] = [{} for _ in range(self.n + 1)]
        for (row, j), entry in self.entries[i].items():
            for column, value in self.rows[i][j].items():
                slopes[row].setdefault(column, []).append((entry, value))
        zero = self.graph.constant(0.0)
        self.slopes.append([{c: _total(zero, terms) for c, terms in row.items()} for row in slopes])

    def _fixed_rows(self, c: float) -> list[Row]:
        """Those of Y_i that belong to u, optimised theta and t1."""
        one = self.graph.constant
        rows: list[Row] = []
        for j in range(self.m):
            shares = {self.n + j: 1 - c, self.ns + j: c} if self.kind.linear_control else {self.ns + j: 1.0}
            rows.append({column: one(share) for column, share in shares.items() if share})
        return [*rows, *({self.ns - self.moved + j: one(1.0)} for j in range(self.moved))]

    def _combined(self, a: int, factors: Mapping[int, Node]) -> Row:
        """Row a of I + sum factor_j D_j, for a = n without I."""
        zero, one = self.graph.constant(0.0), self.graph.constant(1.0)
        row = {a: one} if a < self.n else {}
        for j, factor in factors.items():
            for c, slope in self.slopes[j][a].items():
                row[c] = row.get(c, zero) + factor * slope
        return row

    def _curvature(self, weight: Node) -> Mapping[tuple[int, int], Sequence[tuple[Node, Node]]]:
        """Of w l + p.F: the terms of each entry of the Hessian, backward over the stages."""
        zero, h, old = self.graph.constant(0.0), self.graph.input("h", 0), self.stage.values[0].graph
        pulled: dict[int, list[Node]] = {}  # g_i
        terms: dict[tuple[int, int], list[tuple[Node, Node]]] = {}
        for i in reversed(range(len(self.rows))):
            share = self.shares.get(i, zero)
            later = {j: h * self.kind.tableau.a[j][i] for j in pulled if self.kind.tableau.a[j][i]}
            m = [
                _total(share * self.graph.input("costate", a), ((f, pulled[j][a]) for j, f in later.items()))
                for a in range(self.n)
            ]
            weights = [*m, share * weight]
            columns: list[list[tuple[Node, Node]]] = [[] for _ in range(self.n)]
            for (row, column), entry in self.entries[i].items():
                if column < self.n:
                    columns[column].append((weights[row], entry))
            pulled[i] = [_total(zero, column) for column in columns]
            names = [*(old.input("m", a) for a in range(self.n)), old.input("w", 0)]
            self.known[i].update(zip(names, weights, strict=True))
            entries = self._translated(i, [*self.stage.hessian.values()])
            for place, term in self._folded(i, dict(zip(self.stage.hessian, entries, strict=True))):
                terms.setdefault(place, []).append(term)
        return terms

    def _folded(self, i: int, entries: Matrix) -> Iterable[tuple[tuple[int, int], tuple[Node, Node]]]:
        """Terms of the lower triangle of Y' E Y, by rows T = E Y."""
        rows, zero = self.rows[i], self.graph.constant(0.0)
        products: dict[int, dict[int, list[tuple[Node, Node]]]] = {}
        for (row, column), entry in entries.items():
            for a, b in {(row, column), (column, row)}:
                for c, value in rows[b].items():
                    products.setdefault(a, {}).setdefault(c, []).append((entry, value))
        for j in sorted(products):
            product = {c: _total(zero, terms) for c, terms in products[j].items()}
            for a, value in rows[j].items():
                yield from (((a, b), (value, product[b])) for b in sorted(product) if b <= a)

    def _translated(self, i: int, nodes: Sequence[Node]) -> list[Node]:
        """Formulas of a stage in terms of the step."""
        new = self.known[i]
        for node in schedule(nodes):
            if node in new:
                continue
            if node.op == "input":
                new[node] = self._input(self.kind.tableau.c[i], node)
            elif node.is_constant:
                new[node] = self.graph.constant(node.value)
            else:
                new[node] = self.graph.apply(node.op, *(new[a] for a in node.args))
        return [new[node] for node in nodes]

    def _input(self, c: float, node: Node) -> Node:
        graph, j, optimised = self.graph, node.index, list(self.stage.optimised)
        match node.group:
            case "u":
                end = graph.input("v", j)
                return _between(c, graph.input("s", self.n + j), end) if self.kind.linear_control else end
            case "theta" if j in optimised:
                return graph.input("s", self.ns - self.moved + optimised.index(j))
            case "t1":
                return graph.input("s", self.ns - 1)
            case "tau":
                return graph.input("tau", 0) + c * graph.input("h", 0)
            case "d" if self.kind.linear_data:
                return _between(c, graph.input("d", j), graph.input("d", self.stage.data_dim + j))
        return graph.input(node.group, j)


def _between(c: float, start: Node, end: Node) -> Node:
    return (1 - c) * start + c * end


def _total(first: Node, products: Iterable[tuple[Node, Node]]) -> Node:
    total = first
    for a, b in products:
        total = total + a * b
    return total
