"""Arrays of nodes: what the tables of ATen operations share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pontryagin.graph.nodes import Graph, Node

#: An array whose elements are nodes (dtype object).
NodeArray = NDArray[Any]


class NoFormula(Exception):
    """A known operation with arguments that have no formula here; the message says which."""


def object_array(value: Any) -> NodeArray:
    """An object array of the value, also when it is a single node."""
    return np.asarray(value, dtype=object)


def nodes_of(graph: Graph, value: Any) -> NodeArray:
    """Nodes and numbers as an array of nodes."""
    array = object_array(value)
    return object_array(np.frompyfunc(graph.lift, 1, 1)(array))


def mapped(function: Callable[..., Any], *arguments: Any) -> NodeArray:
    """The function of scalars over broadcast arrays."""
    return object_array(np.frompyfunc(function, len(arguments), 1)(*map(object_array, arguments)))


def elementwise(graph: Graph, op: str, *arguments: Any) -> NodeArray:
    """One operation of the graph over broadcast arrays."""
    return mapped(functools.partial(graph.apply, op), *arguments)


def total(graph: Graph, terms: Iterable[Node]) -> Node:
    """The sum, from the left; 0 of none."""
    terms = iter(terms)
    first = next(terms, None)
    return graph.constant(0.0) if first is None else functools.reduce(lambda a, b: a + b, terms, first)


def product(graph: Graph, terms: Iterable[Node]) -> Node:
    """The product, from the left; 1 of none."""
    terms = iter(terms)
    first = next(terms, None)
    return graph.constant(1.0) if first is None else functools.reduce(lambda a, b: a * b, terms, first)


def axes_of(dim: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Non-negative axes; all of them for None or an empty list."""
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return tuple(range(ndim))
    wanted = (dim,) if isinstance(dim, int) else dim
    return tuple(d % ndim for d in wanted) if ndim else ()


def reduce(
    array: NodeArray, dim: int | Sequence[int] | None, keepdim: bool, fold: Callable[[list[Node]], Any]
) -> NodeArray:
    """The fold of the elements along the axes."""
    axes = axes_of(dim, array.ndim)
    rest = tuple(a for a in range(array.ndim) if a not in axes)
    shape = tuple(array.shape[a] for a in rest)
    count = int(np.prod([array.shape[a] for a in axes], dtype=int))
    rows = array.transpose(*rest, *axes).reshape(int(np.prod(shape, dtype=int)), count)
    folded = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        folded[i] = fold(list(row))
    if keepdim:
        shape = tuple(1 if a in axes else array.shape[a] for a in range(array.ndim))
    return folded.reshape(shape)


def inner_product(graph: Graph, a: NodeArray, b: NodeArray) -> NodeArray:
    """a (..., k) times b (k, ...), each entry a sum of products.

    Refuses at once what could not fit into the graph. This is where a loop node (MATVEC) would be made.
    """
    rows = a.reshape(-1, a.shape[-1])
    columns = b.reshape(b.shape[0], -1)
    work = rows.shape[0] * columns.shape[1] * columns.shape[0]
    if work > graph.limit:
        raise NoFormula(f"a product of {work} terms is more than {graph.limit} scalar operations")
    result = np.empty((rows.shape[0], columns.shape[1]), dtype=object)
    for i, j in np.ndindex(*result.shape):
        result[i, j] = total(graph, (x * y for x, y in zip(rows[i], columns[:, j], strict=True)))
    return result.reshape(a.shape[:-1] + b.shape[1:])
