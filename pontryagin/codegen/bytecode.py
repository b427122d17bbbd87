"""Graphs as arrays: what the compiled core reads.

A list of nodes in topological order, one row each: operation code, operands a, b, c (row numbers, -1 where absent) and
the value of a constant. An input holds its group in a and its index in b.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pontryagin.graph import Node, schedule

#: The order of the groups of inputs is the core's (Group in csrc/recorder/graph_model.hpp).
GROUPS = {name: code for code, name in enumerate(("t", "x", "u", "theta", "d", "w", "m", "omega"))}

Code = tuple[
    NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.float64], NDArray[np.int32]
]


def by_group(node: Node) -> tuple[int, int]:
    """An input as (group, index)."""
    return GROUPS[node.group], node.index


def flatten(
    outputs: Sequence[Node], operations: Mapping[str, int], place: Callable[[Node], tuple[int, int]] = by_group
) -> Code:
    """(op, a, b, c, value, outputs) of everything that the outputs need.

    `operations` gives the code of each name, `place` what stands in a and b of an input.
    """
    nodes = schedule(outputs)
    row = {node: i for i, node in enumerate(nodes)}
    op = np.empty(len(nodes), dtype=np.int32)
    operands = np.full((3, len(nodes)), -1, dtype=np.int32)
    value = np.zeros(len(nodes), dtype=np.float64)
    for i, node in enumerate(nodes):
        op[i] = operations[node.op]
        if node.op == "constant":
            value[i] = node.value
        elif node.op == "input":
            operands[0, i], operands[1, i] = place(node)
        else:
            for k, argument in enumerate(node.args):
                operands[k, i] = row[argument]
    return op, operands[0], operands[1], operands[2], value, np.array([row[node] for node in outputs], dtype=np.int32)


def digest_of_graphs(sizes: Mapping[str, int], graphs: Mapping[str, Code]) -> str:
    """SHA-256 over the arrays: equal digests, equal formulas, to the bit of every constant."""
    digest = hashlib.sha256(repr((sorted(sizes.items()), sorted(graphs))).encode())
    for name in sorted(graphs):
        for array in graphs[name]:
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()
