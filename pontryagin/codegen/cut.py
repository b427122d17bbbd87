"""The cut: what a stage of the forward pass keeps for the way back.

The pullback needs values that the dynamics computed. Each is either kept on the tape or made again there, from inputs
that are at hand (time, control, parameters, data), from what is kept, and from what is made again. Keeping costs
memory traffic, making again costs operations; the cheapest choice is a minimum cut of a graph (Ford and Fulkerson
1956) with two vertices for each value v, "is there on the way back" and "is made there":

    there(v) -> made(v)     what keeping costs, paid where v is there and not made
    made(v) -> end          what the operation costs
    made(v) -> there(a)     infinite, for each argument a: whoever makes v needs its arguments
    start -> there(v)       infinite, where the pullback needs v
"""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx
from networkx.algorithms.flow import shortest_augmenting_path

from pontryagin.codegen.order import LATENCY
from pontryagin.graph import Node, schedule

#: Inputs that the way back has too; the state of a stage is not among them.
AT_HAND = frozenset(("t", "u", "theta", "d"))

#: A store and a load of one value, in operations; functions and divisions cost more than that.
KEEP, OPERATION, DIVISION, FUNCTION = 2, 1, 8, 20


def choose_cut(pullback: Sequence[Node]) -> list[Node]:
    """The nodes to keep, in the order of their making."""
    order = schedule(pullback)
    adjoint: set[Node] = set()  # what the weights w and m enter
    for node in order:
        late = node.op == "input" and node.group not in AT_HAND and node.group != "x"
        if late or any(a in adjoint for a in node.args):
            adjoint.add(node)
    early = [node for node in order if node not in adjoint and not _at_hand(node)]
    wanted = {a for node in order if node in adjoint for a in node.args} | set(pullback)
    index = {node: i for i, node in enumerate(early)}
    if not index:
        return []
    network = nx.DiGraph()
    start, end = "start", "end"
    network.add_nodes_from((start, end))
    for node, i in index.items():
        there, made = 2 * i, 2 * i + 1
        if node in wanted:
            network.add_edge(start, there)  # no capacity: infinite
        if not node.args:
            network.add_edge(there, end, capacity=KEEP)
            continue
        network.add_edge(there, made, capacity=KEEP)
        network.add_edge(made, there)
        network.add_edge(made, end, capacity=_cost(node))
        for a in node.args:
            if a in index:
                network.add_edge(made, 2 * index[a])
    _, (on_the_way_back, _) = nx.minimum_cut(network, start, end, flow_func=shortest_augmenting_path)
    return [node for node, i in index.items() if 2 * i in on_the_way_back and 2 * i + 1 not in on_the_way_back]


def _at_hand(node: Node) -> bool:
    return node.is_constant or (node.op == "input" and node.group in AT_HAND)


def _cost(node: Node) -> int:
    if node.op in ("div", "reciprocal", "sqrt"):
        return DIVISION
    return OPERATION if node.op in LATENCY else FUNCTION
