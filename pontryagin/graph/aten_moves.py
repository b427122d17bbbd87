"""Operations that only move elements: torch itself moves the numbers of the nodes, and they are looked up again.

Views are not here: they share memory with their source, and the tracer needs no formula for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_leaves, tree_map

from pontryagin.graph.aten_common import NodeArray, NoFormula, object_array
from pontryagin.graph.nodes import Graph, Node

#: Every element of the result is an element of an argument, or the number that the operation fills in.
MOVES = frozenset(
    (
        "_reshape_copy", "alias_copy", "as_strided_copy", "block_diag", "cat", "clone", "constant_pad_nd", "diag",
        "diag_embed", "diagonal_copy", "diagonal_scatter", "expand_copy", "flip", "gather", "index", "index_fill",
        "index_put", "index_select", "lift_fresh_copy", "masked_scatter", "masked_select", "narrow_copy",
        "permute_copy", "repeat", "repeat_interleave", "roll", "rot90", "scatter", "select_copy", "select_scatter",
        "slice_copy", "slice_scatter", "split_copy", "split_with_sizes_copy", "squeeze_copy", "stack", "t_copy",
        "take", "transpose_copy", "tril", "triu", "unbind_copy", "unfold_copy", "unsqueeze_copy", "view_copy",
    )
)  # fmt: skip

#: Operations that take the shape and type of a tensor and leave its values alone.
UNREAD = frozenset(
    (
        "_has_same_storage_numel", "empty_like", "full_like", "is_same_size", "new_empty", "new_empty_strided",
        "new_full", "new_ones", "new_zeros", "ones_like", "sym_numel", "sym_size", "sym_storage_offset", "sym_stride",
        "zeros_like",
    )
)  # fmt: skip

#: Variants in place that change how a tensor looks at its memory, and no value.
RESHAPES = frozenset(("as_strided", "detach", "squeeze", "swapaxes", "swapdims", "t", "transpose", "unsqueeze"))

_PLACES = frozenset(("index", "indices", "mask", "repeats"))  # arguments that say where, not what
_FILLED = frozenset(("value",))


def move(
    graph: Graph,
    nodes_in: Callable[[torch.Tensor], NodeArray],
    varies: Callable[[Any], bool],
    func: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> NodeArray | list[NodeArray]:
    """The nodes of the result, in its shape; for an operation in place, of its first argument.

    `nodes_in` gives the nodes of a tensor, `varies` tells whether a value depends on the inputs.
    """
    nodes: list[Node] = [graph.constant(0.0)]  # number 0: what tril and padding fill in

    def numbered(tensor: torch.Tensor) -> torch.Tensor:
        new = nodes_in(tensor)
        start = len(nodes)
        nodes.extend(new.flat)
        return torch.arange(start, len(nodes)).reshape(tensor.shape)

    def convert(name: str, value: Any) -> Any:
        if name in _PLACES:
            if varies(value):
                raise NoFormula("an index that depends on the inputs; use torch.where")
            return tree_map(lambda leaf: leaf.detach().cpu() if isinstance(leaf, torch.Tensor) else leaf, value)
        if name in _FILLED and isinstance(value, (int, float)):
            nodes.append(graph.constant(value))
            return len(nodes) - 1
        return tree_map(lambda leaf: numbered(leaf) if isinstance(leaf, torch.Tensor) else leaf, value)

    names = [argument.name for argument in func._schema.arguments]
    converted = [convert(name, value) for name, value in zip(names, args)]  # noqa: B905 (trailing defaults)
    extra = {name: convert(name, value) for name, value in kwargs.items() if name != "memory_format"}
    found = np.empty(len(nodes), dtype=object)
    results = func(*converted, **extra)
    found[:] = nodes
    parts = [object_array(found[leaf.numpy()]) for leaf in tree_leaves(results)]
    return parts[0] if isinstance(results, torch.Tensor) else parts
