"""ATen operations along axes: sums, products, extrema, norms, cumulative sums, softmax."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from pontryagin.graph.aten_common import (
    NodeArray,
    NoFormula,
    elementwise,
    nodes_of,
    object_array,
    product,
    reduce,
    total,
)
from pontryagin.graph.nodes import Graph, Node

Axes = Any  # int, list of int, or None for all


def _folding(fold: Callable[[Graph, list[Node]], Any]) -> Callable[..., NodeArray]:
    """(x, dim, keepdim) -> the fold along dim."""

    def handler(graph: Graph, x: Any, dim: Axes = None, keepdim: bool = False, **_: Any) -> NodeArray:
        return reduce(nodes_of(graph, x), dim, keepdim, functools.partial(fold, graph))

    return handler


def _mean(graph: Graph, terms: list[Node]) -> Node:
    return total(graph, terms) * (1.0 / len(terms)) if terms else graph.constant(math.nan)


def largest(graph: Graph, terms: Sequence[Node]) -> Node:
    """The largest, as a chain of max."""
    return functools.reduce(lambda a, b: graph.apply("max", a, b), terms)


def _evenly_largest(graph: Graph, terms: list[Node]) -> Node:
    """The largest; the derivative is spread evenly over all that are equal to it.

    For three and more it is the mean of those equal to the largest: a chain of max would favour the last.
    """
    top = largest(graph, terms)
    if len(terms) < 3 or top.is_constant:
        return top
    equal = [graph.apply("eq", a, top) for a in terms]
    chosen = (graph.where(e, a, 0.0) for e, a in zip(equal, terms, strict=True))
    return total(graph, chosen) / total(graph, equal)


def _evenly_smallest(graph: Graph, terms: list[Node]) -> Node:
    return -_evenly_largest(graph, [-a for a in terms])


def _first_largest(graph: Graph, terms: list[Node]) -> Node:
    """The largest; of equal ones the first has the derivative; NaN wins."""

    def later_wins(best: Node, a: Node) -> Node:
        wins = graph.apply("max", graph.apply("lt", best, a), graph.apply("ne", a, a))
        return graph.where(wins, a, best)

    return functools.reduce(later_wins, terms)


def _first_smallest(graph: Graph, terms: list[Node]) -> Node:
    return -_first_largest(graph, [-a for a in terms])


def _extremum(
    all_of: Callable[[Graph, list[Node]], Node], along: Callable[[Graph, list[Node]], Node]
) -> Callable[..., Any]:
    """aten.max and aten.min: without dim spread evenly; with dim (values, indices), the indices without formula."""

    def handler(graph: Graph, x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
        if dim is None:
            return reduce(x, None, False, functools.partial(all_of, graph))
        return reduce(x, dim, keepdim, functools.partial(along, graph)), None

    return handler


def _any(graph: Graph, terms: list[Node]) -> Node:
    return functools.reduce(lambda a, b: graph.apply("max", a, b), (graph.apply("ne", a, 0.0) for a in terms))


def _all(graph: Graph, terms: list[Node]) -> Node:
    return product(graph, (graph.apply("ne", a, 0.0) for a in terms))


def _cumulative(op: str) -> Callable[..., NodeArray]:
    def handler(graph: Graph, x: Any, dim: int, **_: Any) -> NodeArray:
        result: NodeArray = nodes_of(graph, x).copy()
        if result.ndim:
            rows = np.moveaxis(result, dim, -1).reshape(-1, result.shape[dim])
            folded = np.empty_like(rows)
            for i, row in enumerate(rows):
                folded[i] = list(_running(graph, op, row))
            moved = np.moveaxis(result, dim, -1)
            moved[...] = folded.reshape(moved.shape)
        return result

    return handler


def _running(graph: Graph, op: str, terms: Iterable[Node]) -> Iterable[Node]:
    so_far: Node | None = None
    for term in terms:
        so_far = term if so_far is None else graph.apply(op, so_far, term)
        yield so_far


def safe_root(graph: Graph, a: Node) -> Node:
    """sqrt(a) whose derivative at a = 0 is 0, as torch has it for norms and standard deviations."""
    return graph.where(graph.apply("eq", a, 0.0), 0.0, graph.apply("sqrt", a))


def _norm_of(graph: Graph, order: float, terms: list[Node]) -> Node:
    sizes = [graph.apply("abs", a) for a in terms]
    if not terms:
        return graph.constant(0.0)
    if order == 2:
        return safe_root(graph, total(graph, (a * a for a in terms)))
    if order == 1:
        return total(graph, sizes)
    if order == 0:
        return total(graph, (graph.apply("ne", a, 0.0) for a in terms))
    if order in (math.inf, -math.inf):
        return _evenly_largest(graph, sizes) if order > 0 else _evenly_smallest(graph, sizes)
    powers = total(graph, (a**order for a in sizes))
    return graph.where(graph.apply("eq", powers, 0.0), 0.0, powers ** (1.0 / order))


def _vector_norm(
    graph: Graph, x: Any, order: float = 2, dim: Axes = None, keepdim: bool = False, **_: Any
) -> NodeArray:
    return reduce(nodes_of(graph, x), dim, keepdim, functools.partial(_norm_of, graph, float(order)))


def _old_norm(graph: Graph, x: Any, order: float | None = 2, *rest: Any, **options: Any) -> NodeArray:
    return _vector_norm(graph, x, 2 if order is None else order, *rest, **options)


def _variance(
    graph: Graph, x: Any, dim: Axes = None, correction: float | None = 1, keepdim: bool = False, **_: Any
) -> NodeArray:
    def fold(terms: list[Node]) -> Node:
        mean = _mean(graph, terms)
        squares = total(graph, ((a - mean) * (a - mean) for a in terms))
        return squares / max(0.0, len(terms) - (1 if correction is None else correction))

    return reduce(x, dim, keepdim, fold)


def _deviation(graph: Graph, x: Any, dim: Axes = None, **options: Any) -> NodeArray:
    return object_array(np.frompyfunc(functools.partial(safe_root, graph), 1, 1)(_variance(graph, x, dim, **options)))


def _logsumexp(graph: Graph, x: Any, dim: Axes, keepdim: bool = False) -> NodeArray:
    def fold(terms: list[Node]) -> Node:
        top = largest(graph, terms)
        return top + graph.apply("log", total(graph, (graph.apply("exp", a - top) for a in terms)))

    return reduce(x, dim, keepdim, fold)


def _softmax(graph: Graph, x: Any, dim: int, *_: Any) -> NodeArray:
    weights = elementwise(graph, "exp", elementwise(graph, "sub", x, _folding(largest)(graph, x, dim, True)))
    return elementwise(graph, "div", weights, _folding(total)(graph, weights, dim, True))


def _log_softmax(graph: Graph, x: Any, dim: int, *_: Any) -> NodeArray:
    return elementwise(graph, "sub", x, _logsumexp(graph, x, dim, True))


def _scatter_add(graph: Graph, x: Any, dim: int, index: Any, source: Any) -> NodeArray:
    return _added(graph, x, lambda places: np.take_along_axis(places, index, axis=dim), source)


def _index_add(graph: Graph, x: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> NodeArray:
    return _added(graph, x, lambda places: np.take(places, index, axis=dim), elementwise(graph, "mul", alpha, source))


def _index_put(graph: Graph, x: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> NodeArray:
    """Only with accumulate; without it, it is a move."""
    where = tuple(slice(None) if i is None else i for i in indices)
    return _added(graph, x, lambda places: places[where], values)


def _added(graph: Graph, x: Any, choose: Callable[[Any], Any], source: Any) -> NodeArray:
    """x with the source added at the chosen places, which may repeat."""
    result: NodeArray = nodes_of(graph, x).reshape(-1).copy()
    try:
        places = choose(np.arange(result.size).reshape(np.shape(x)))
    except (IndexError, TypeError):
        raise NoFormula("an index that depends on the inputs; use torch.where") from None
    addends = np.broadcast_to(nodes_of(graph, source)[tuple(slice(0, n) for n in places.shape)], places.shape)
    for place, addend in zip(places.flat, addends.flat, strict=True):
        result[place] = result[place] + addend
    return object_array(result.reshape(np.shape(x)))


def _select_backward(graph: Graph, slope: Any, sizes: Sequence[int], dim: int, index: int) -> NodeArray:
    """Zeros with the slope in the place that was selected; for functions that differentiate inside."""
    result = np.full(tuple(sizes), graph.constant(0.0), dtype=object)
    np.moveaxis(result, dim, 0)[index, ...] = slope
    return result


def _slice_backward(
    graph: Graph, slope: Any, sizes: Sequence[int], dim: int, start: int, end: int, step: int
) -> NodeArray:
    result = np.full(tuple(sizes), graph.constant(0.0), dtype=object)
    np.moveaxis(result, dim, 0)[start:end:step] = np.moveaxis(slope, dim, 0)
    return result


def _trace(graph: Graph, x: NodeArray) -> NodeArray:
    return object_array(total(graph, np.diagonal(x)))


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": _folding(total),
    "mean": _folding(_mean),
    "prod": _folding(product),
    "amax": _folding(_evenly_largest),
    "amin": _folding(_evenly_smallest),
    "max": _extremum(_evenly_largest, _first_largest),
    "min": _extremum(_evenly_smallest, _first_smallest),
    "any": _folding(_any),
    "all": _folding(_all),
    "cumsum": _cumulative("add"),
    "cumprod": _cumulative("mul"),
    "linalg_vector_norm": _vector_norm,
    "norm": _old_norm,
    "var": _variance,
    "std": _deviation,
    "logsumexp": _logsumexp,
    "_softmax": _softmax,
    "_log_softmax": _log_softmax,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "scatter_add": _scatter_add,
    "index_add": _index_add,
    "index_put": _index_put,
    "select_backward": _select_backward,
    "slice_backward": _slice_backward,
    "trace": _trace,
}
