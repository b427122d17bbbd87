"""ATen operations of linear algebra: products, and determinant, inverse and solution of small systems.

Determinants and inverses up to 4 x 4 are written out by cofactors: no pivot has to be chosen, so they are formulas.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from pontryagin.graph.aten_common import NodeArray, NoFormula, elementwise, inner_product, nodes_of, object_array, total
from pontryagin.graph.nodes import Graph, Node

LARGEST_SYSTEM = 4


def _product(graph: Graph, a: Any, b: Any) -> NodeArray:
    """mm, mv, dot: the last axis of a with the first of b."""
    return inner_product(graph, nodes_of(graph, a), nodes_of(graph, b))


def _batched_product(graph: Graph, a: Any, b: Any) -> NodeArray:
    """bmm: (k, m, n) and (k, n, p)."""
    left, right = nodes_of(graph, a), nodes_of(graph, b)
    result = np.empty((left.shape[0], left.shape[1], right.shape[2]), dtype=object)
    for i in range(left.shape[0]):
        result[i] = inner_product(graph, left[i], right[i])
    return result


def _added(product: Callable[..., NodeArray]) -> Callable[..., NodeArray]:
    """addmm, addmv, baddbmm: beta c + alpha (a b)."""

    def handler(graph: Graph, c: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> NodeArray:
        scaled = elementwise(graph, "mul", alpha, product(graph, a, b))
        return elementwise(graph, "add", elementwise(graph, "mul", beta, c), scaled)

    return handler


def _outer_added(graph: Graph, c: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> NodeArray:
    """addr: beta c + alpha a b'."""
    outer = elementwise(graph, "mul", np.reshape(nodes_of(graph, a), (-1, 1)), nodes_of(graph, b))
    return elementwise(graph, "add", elementwise(graph, "mul", beta, c), elementwise(graph, "mul", alpha, outer))


def _cross(graph: Graph, a: Any, b: Any, dim: int | None = -1) -> NodeArray:
    left, right = np.broadcast_arrays(nodes_of(graph, a), nodes_of(graph, b))
    axis = next(i for i, n in enumerate(left.shape) if n == 3) if dim is None else dim
    left, right = np.moveaxis(left, axis, 0), np.moveaxis(right, axis, 0)
    result = np.empty(left.shape, dtype=object)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        forward, backward = elementwise(graph, "mul", left[j], right[k]), elementwise(graph, "mul", left[k], right[j])
        result[i, ...] = elementwise(graph, "sub", forward, backward)
    return np.moveaxis(result, 0, axis)


def _determinant(graph: Graph, a: NodeArray) -> Node:
    """By expansion along the first column; equal minors are the same node."""
    if len(a) == 0:
        return graph.constant(1.0)
    signed = (
        a[i, 0] * _determinant(graph, np.delete(a[:, 1:], i, axis=0)) * (-1.0 if i % 2 else 1.0) for i in range(len(a))
    )
    return total(graph, signed)


def _inverse(graph: Graph, a: NodeArray) -> NodeArray:
    """Adjugate over determinant."""
    n = len(a)
    scale = graph.apply("reciprocal", _determinant(graph, a))
    result = np.empty((n, n), dtype=object)
    for i, j in np.ndindex(n, n):
        minor = _determinant(graph, np.delete(np.delete(a, j, axis=0), i, axis=1))
        result[i, j] = scale * minor * (-1.0 if (i + j) % 2 else 1.0)
    return result


def _matrices(a: NodeArray) -> Any:
    """Indices of the leading axes of a batch of square matrices; refuses large ones."""
    if a.shape[-1] > LARGEST_SYSTEM:
        n = a.shape[-1]
        raise NoFormula(f"a system of {n} x {n}; written out are those up to {LARGEST_SYSTEM} x {LARGEST_SYSTEM}")
    return np.ndindex(*a.shape[:-2])


def _all_determinants(graph: Graph, x: NodeArray) -> tuple[NodeArray, None, None]:
    result = np.empty(x.shape[:-2], dtype=object)
    for at in _matrices(x):
        result[at] = _determinant(graph, x[at])
    return result, None, None


def _all_inverses(graph: Graph, x: NodeArray, **_: Any) -> tuple[NodeArray, None]:
    result = np.empty(x.shape, dtype=object)
    for at in _matrices(x):
        result[at] = _inverse(graph, x[at])
    return result, None


def _solutions(graph: Graph, a: Any, b: Any, *, left: bool = True, **_: Any) -> tuple[NodeArray, None, None, None]:
    """a^-1 b, or b a^-1 for left=False."""
    matrix, right = nodes_of(graph, a), nodes_of(graph, b)
    vector = right.ndim == 1 or (right.ndim == matrix.ndim - 1 and right.shape == matrix.shape[:-1])
    if vector:
        right = right[..., None]
    batch = np.broadcast_shapes(matrix.shape[:-2], right.shape[:-2])
    matrix = np.broadcast_to(matrix, batch + matrix.shape[-2:])
    right = np.broadcast_to(right, batch + right.shape[-2:])
    result = np.empty(right.shape, dtype=object)
    for at in _matrices(matrix):
        inverse = _inverse(graph, matrix[at])
        result[at] = inner_product(graph, inverse, right[at]) if left else inner_product(graph, right[at], inverse)
    return (result[..., 0] if vector else result), None, None, None


def _cholesky(graph: Graph, x: NodeArray, *, upper: bool = False, **_: Any) -> tuple[NodeArray, None]:
    """The lower factor L, x = L L', by columns."""
    result = np.full(x.shape, graph.constant(0.0), dtype=object)
    n = x.shape[-1]
    for at in _matrices(x):
        a, factor = x[at], result[at]
        for j, i in itertools.product(range(n), range(n)):
            if i < j:
                continue
            rest = a[i, j] - total(graph, (factor[i, k] * factor[j, k] for k in range(j)))
            factor[i, j] = graph.apply("sqrt", rest) if i == j else rest / factor[j, j]
    return object_array(np.swapaxes(result, -1, -2) if upper else result), None


LINALG: dict[str, Callable[..., Any]] = {
    "mm": _product,
    "mv": _product,
    "dot": _product,
    "vdot": _product,
    "bmm": _batched_product,
    "addmm": _added(_product),
    "addmv": _added(_product),
    "baddbmm": _added(_batched_product),
    "addr": _outer_added,
    "cross": _cross,
    "linalg_cross": _cross,
    "_linalg_det": _all_determinants,
    "linalg_inv_ex": _all_inverses,
    "_linalg_solve_ex": _solutions,
    "linalg_cholesky_ex": _cholesky,
}
