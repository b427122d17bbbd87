"""Walks over formulas: the order of evaluation, what depends on what, and how many operations there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pontryagin.graph.nodes import Node


def schedule(outputs: Sequence[Node]) -> list[Node]:
    """Every node that the outputs need, arguments before users; depth first: a value is used soon after it is made."""
    order: list[Node] = []
    done: set[Node] = set()
    for output in outputs:
        stack = [output]
        while stack:
            node = stack[-1]
            if node in done:
                stack.pop()
                continue
            waiting = [a for a in reversed(node.args) if a not in done]
            if waiting:
                stack.extend(waiting)
            else:
                done.add(node)
                order.append(node)
                stack.pop()
    return order


def dependents(outputs: Sequence[Node], wrt: Iterable[Node]) -> set[Node]:
    """The nodes below the outputs whose value involves any of `wrt` (which belong to it themselves)."""
    found = set(wrt)
    for node in schedule(outputs):
        if any(a in found for a in node.args):
            found.add(node)
    return found


def depends(output: Node, wrt: Iterable[Node]) -> bool:
    """Whether the output involves any of `wrt`."""
    return output in dependents([output], wrt)


def inputs(outputs: Sequence[Node]) -> list[Node]:
    """The inputs that the outputs need, by group and index."""
    return sorted((n for n in schedule(outputs) if n.op == "input"), key=lambda n: (n.group, n.index))


def count_operations(outputs: Sequence[Node]) -> Counter[str]:
    """How many of each operation the outputs need together; inputs and constants are free."""
    return Counter(node.op for node in schedule(outputs) if node.args)


def operation_count(outputs: Sequence[Node]) -> int:
    """How many operations the outputs need together, each counted as one."""
    return sum(count_operations(outputs).values())
