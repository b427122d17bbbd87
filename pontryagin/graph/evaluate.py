"""Numbers out of formulas, in numpy: the slow and readable twin of every compiled backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from pontryagin.graph.nodes import Node
from pontryagin.graph.operations import COMPUTE, Array
from pontryagin.graph.order import schedule


def evaluate(outputs: Sequence[Node], values: Mapping[str, ArrayLike]) -> Array:
    """The outputs at given inputs, in float64: shape (len(outputs), ...).

    `values` gives for each group an array (size, ...); the trailing axes, common to all groups, are evaluated together.
    A 0-d value stands for a group of one. Results are not checked: NaN and inf come out as in IEEE arithmetic.
    """
    groups = {name: np.atleast_1d(np.asarray(value, dtype=np.float64)) for name, value in values.items()}
    known: dict[Node, Array | np.float64] = {}
    with np.errstate(all="ignore"):
        for node in schedule(outputs):
            if node.op == "input":
                if node.group not in groups:
                    raise KeyError(f"the formulas use the inputs {node.group!r}; values has only {sorted(groups)}")
                known[node] = groups[node.group][node.index]
            elif node.op == "constant":
                known[node] = np.float64(node.value)
            else:
                known[node] = COMPUTE[node.op](*(known[a] for a in node.args))
    shape = np.broadcast_shapes(*(group.shape[1:] for group in groups.values()))
    result = np.empty((len(outputs), *shape))
    for i, node in enumerate(outputs):
        result[i] = known[node]
    return result
