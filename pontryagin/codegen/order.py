"""The order of sums and products: what changes seldom first, what is ready late last.

Products and sums of many terms may be taken in any order. Factors that are the same for a whole sweep (constants,
parameters) come first, then those of a step (time, control, data), so that compilers move them out of loops and share
them between stages; within one kind, what is ready first comes first, so that nothing waits for a long chain twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pontryagin.graph import Graph, Node, schedule

#: How often an input changes: with constants (0), never within a sweep, once a step, at every stage.
_CHANGES = {"theta": 1, "omega": 1, "t": 2, "u": 2, "d": 2, "w": 1}
_EVERY_STAGE = 3

#: Cycles from operands to result on current processors, roughly; what is not here is a call of a function.
LATENCY = {"add": 4, "sub": 4, "mul": 4, "neg": 1, "abs": 1, "min": 8, "max": 8, "where": 3, "sign": 8,
           "lt": 4, "le": 4, "eq": 4, "ne": 4, "div": 13, "reciprocal": 13, "sqrt": 20,
           "floor": 8, "ceil": 8, "round": 8, "trunc": 8}  # fmt: skip
CALL = 40


#: Inputs that arrive late: the multipliers of a stage, which depend on the stage before it.
_ARRIVES = {"m": 20}


def reordered(outputs: Sequence[Node], given: Iterable[Node]) -> dict[Node, Node]:
    """Every node that the outputs need -> a node of the same value (to rounding) in the better order.

    Nodes in `given` are at hand: they become inputs "given" 0, 1, ... Values used more than once stay values of their
    own. The new nodes are of a graph of their own, so that what was built before in the old one changes nothing.
    """
    return _Order(outputs, given).run()


class _Order:
    def __init__(self, outputs: Sequence[Node], given: Iterable[Node]) -> None:
        self.graph = Graph()
        self.given = {node: i for i, node in enumerate(given)}
        self.order = needed(outputs, frozenset(self.given))
        self.uses = Counter(a for node in self.order if node not in self.given for a in node.args)
        self.uses.update(outputs)
        self.new: dict[Node, Node] = {}
        self.key: dict[Node, tuple[int, int]] = {}  # of new nodes: how often they change, when they are ready
        self.multiples: set[tuple[float, Node]] = set()  # constant times new node

    def run(self) -> dict[Node, Node]:
        self._write()
        self._write()  # now that all multiples are known
        return self.new

    def _write(self) -> None:
        for node in self.order:
            if node in self.given or not node.args:
                new = self.new[node] = self._leaf(node)
                changes = 0 if new.is_constant else _CHANGES.get(new.group, _EVERY_STAGE)
                self.key[new] = changes, _ARRIVES.get(new.group, 0)
            elif node.op == "mul":
                self.new[node] = self._product(self._factors(node))
            elif node.op in ("add", "sub"):
                self.new[node] = self._sum(self._terms(node, False))
            else:
                self.new[node] = self._make(node.op, *(self.new[a] for a in node.args))

    def _leaf(self, node: Node) -> Node:
        if node in self.given:
            return self.graph.input("given", self.given[node])
        return self.graph.constant(node.value) if node.is_constant else self.graph.input(node.group, node.index)

    def _constant(self, value: float) -> Node:
        node = self.graph.constant(value)
        self.key[node] = 0, 0
        return node

    def _inner(self, node: Node, *ops: str) -> bool:
        return node.op in ops and self.uses[node] == 1 and node not in self.given

    def _factors(self, node: Node) -> list[Node]:
        found: list[Node] = []
        for a in node.args:
            found += self._factors(a) if self._inner(a, "mul") else [self.new[a]]
        return found

    def _terms(self, node: Node, negative: bool) -> list[tuple[Node, bool]]:
        """The summands, and whether they are subtracted."""
        found: list[tuple[Node, bool]] = []
        for a, flips in zip(node.args, (False, node.op == "sub"), strict=True):
            sign = negative != flips
            found += self._terms(a, sign) if self._inner(a, "add", "sub") else [(self.new[a], sign)]
        return found

    def _product(self, factors: list[Node]) -> Node:
        factors.sort(key=self.key.__getitem__)
        twice = factors[0].is_constant and abs(factors[0].value) == 2.0 and len(factors) > 1
        result = factors[1 if twice else 0]
        rest = factors[2 if twice else 1 :]
        for i, factor in enumerate(rest, start=1):
            result = self._times(result, factor, last=i == len(rest))
        if twice:  # exact, and adders have less to do than multipliers
            result = self._make("add", result, result)
            if factors[0].value < 0.0:
                result = self._make("neg", result)
        return result

    def _times(self, a: Node, b: Node, last: bool) -> Node:
        """a b; twice another multiple of b by an addition, unless a sum may yet absorb the product."""
        if a.is_constant:
            if not last and (0.5 * a.value, b) in self.multiples:
                half = self._make("mul", self._constant(0.5 * a.value), b)
                return self._make("add", half, half)
            self.multiples.add((a.value, b))
        return self._make("mul", a, b)

    def _sum(self, terms: list[tuple[Node, bool]]) -> Node:
        terms.sort(key=lambda term: self.key[term[0]])
        first = next((i for i, (_, negative) in enumerate(terms) if not negative), None)
        if first is None:
            return self._make("neg", self._sum([(term, False) for term, _ in terms]))
        result, _ = terms.pop(first)
        for term, negative in terms:
            result = self._make("sub" if negative else "add", result, term)
        return result

    def _make(self, op: str, *args: Node) -> Node:
        node = self.graph.make(op, args)
        changes = max(self.key[a][0] for a in args)
        self.key[node] = changes, max(self.key[a][1] for a in args) + LATENCY.get(op, CALL)
        return node


def needed(outputs: Sequence[Node], given: frozenset[Node]) -> list[Node]:
    """What must be computed or be at hand for the outputs, arguments first; nothing that only leads to `given`."""
    wanted = set(outputs)
    order = schedule(outputs)
    for node in reversed(order):
        if node in wanted and node not in given:
            wanted.update(node.args)
    return [node for node in order if node in wanted]
