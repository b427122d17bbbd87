"""The cut: what a stage of the forward pass keeps for the way back.

The pullback needs some values that the dynamics computed. A value is kept on the tape unless it is cheap to make again
from what is at hand there anyway: the inputs other than the state, and what is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from pontryagin.graph import Node, schedule

#: Operations that cost about as much as a load from the tape.
CHEAP = frozenset(("neg", "abs", "sign", "add", "sub", "mul", "min", "max", "lt", "le", "eq", "ne", "where"))

#: Inputs that the way back has too.
AT_HAND = frozenset(("t", "u", "theta", "d"))

_DEEPEST = 3  # cheap operations from inputs at hand that are made again


def choose_cut(pullback: Sequence[Node]) -> list[Node]:
    """The nodes to keep, in the order of their making."""
    order = schedule(pullback)
    adjoint: set[Node] = set()  # what the weights w and m enter
    depth: dict[Node, int] = {}  # operations from inputs at hand; absent where the state enters, or too many
    for node in order:
        if node.op == "input":
            if node.group in AT_HAND:
                depth[node] = 0
            elif node.group != "x":
                adjoint.add(node)
        elif node.is_constant:
            depth[node] = 0
        elif any(a in adjoint for a in node.args):
            adjoint.add(node)
        elif node.op in CHEAP and all(a in depth for a in node.args):
            steps = 1 + sum(depth[a] for a in node.args)
            if steps <= _DEEPEST:
                depth[node] = steps
    needed = {a for node in order if node in adjoint for a in node.args if a not in adjoint}
    needed.update(node for node in pullback if node not in adjoint)
    needed.difference_update(depth)
    for node in reversed(order):
        if node in needed and node.op in CHEAP and all(a in needed or a in depth for a in node.args):
            needed.discard(node)
    return [node for node in order if node in needed]
