"""From a torch function to formulas.

`capture` traces the function once on one unbatched sample, and then compares the formulas with the function at random
points: tracing freezes what it cannot see (a number taken out with numpy, Python's own random numbers), and a formula
that differs from its function is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from pontryagin.errors import CaptureError, PontryaginError, ProblemError
from pontryagin.graph import location
from pontryagin.graph.evaluate import evaluate
from pontryagin.graph.nodes import Graph, Node
from pontryagin.graph.operations import Array
from pontryagin.graph.tracer import ImplicitParameters, Tracer, Watch

__all__ = ["Captured", "ImplicitParameters", "capture"]

#: (group, size); size None is a 0-d tensor, such as the time.
Argument = tuple[str, "int | None"]
Point = dict[str, Array]

_COMPARED_POINTS = 4
_MOST_DRAWS = 48
_DOUBLE_TOLERANCE = 1e-7  # of the largest output: far above rounding, far below a frozen value
_SINGLE_TOLERANCE = 1e-3  # where the function itself rounds to single precision


@dataclass(frozen=True)
class Captured:
    """The formulas of one function, flat in row-major order, and the nn.Parameters met so far."""

    outputs: tuple[Node, ...]
    parameters: ImplicitParameters


def capture(
    graph: Graph,
    function: Callable[..., Any],
    arguments: Sequence[Argument],
    *,
    name: str,
    shape: tuple[int, ...],
    probes: Sequence[Mapping[str, ArrayLike]] | None = None,
    parameters: ImplicitParameters | None = None,
) -> Captured:
    """The formulas of `function(*arguments)` as nodes of `graph`.

    arguments   (group, size) for each argument of the function: the input group that it becomes, and its length;
                None for a 0-d tensor
    name        of the function, for messages
    shape       of its result
    probes      points {group: values} near which the formulas are compared with the function, besides random ones
    parameters  collects the trainable nn.Parameters that the function closes over; shared by the functions of one
                problem. They become inputs of the group "theta" after the declared ones. Other tensors are constants.

    Raises CaptureError where the function cannot become formulas: an unknown operation, a branch on a value, numbers
    taken out of tensors, random numbers, formulas that differ from the function, more nodes than `graph.limit`;
    ProblemError where the function itself fails or returns another shape. Functions written for float32 modules are
    traced in float32; the formulas are float64 in any case.
    """
    if parameters is None:
        declared = [size for group, size in arguments if group == "theta" and size is not None]
        parameters = ImplicitParameters(declared[0] if declared else 0)
    draws = _points(arguments, probes or ())
    tracer, outputs, options = _traced(graph, function, arguments, name, shape, next(draws), parameters)
    _warn(tracer)
    _compare(outputs, function, arguments, name, draws, parameters, tracer, options)
    return Captured(outputs, parameters)


def _traced(
    graph: Graph,
    function: Callable[..., Any],
    arguments: Sequence[Argument],
    name: str,
    shape: tuple[int, ...],
    point: Point,
    parameters: ImplicitParameters,
) -> tuple[Tracer, tuple[Node, ...], dict[str, Any]]:
    """Traces with float64 numbers on the CPU; where the function refuses those, with the type and device it wants."""
    first: Exception | None = None
    for options in _tensor_options():
        tracer = Tracer(graph, name, parameters)
        sample = [torch.tensor(point[group], **options) for group, _ in arguments]
        for tensor, (group, size) in zip(sample, arguments, strict=True):
            tracer.track(tensor, [graph.input(group, i) for i in range(1 if size is None else size)])
        try:
            with torch.enable_grad(), tracer, Watch(tracer):  # the function may differentiate inside
                result = function(*sample)
        except PontryaginError:
            raise
        except Exception as reason:
            first = first or reason
            continue
        return tracer, _outputs(tracer, result, name, shape), options
    assert first is not None
    raise _failure(function, arguments, name, point, first) from first


def _tensor_options() -> Iterator[dict[str, Any]]:
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        for dtype in (torch.float64, torch.float32):
            yield {"dtype": dtype, "device": device}


def _failure(
    function: Callable[..., Any], arguments: Sequence[Argument], name: str, point: Point, reason: Exception
) -> PontryaginError:
    """The fault is the function's own if it fails without a trace, too."""
    where = location.of_exception(reason.__traceback__)
    try:
        with torch.enable_grad():
            function(*(torch.tensor(point[group], dtype=torch.float64) for group, _ in arguments))
    except Exception as plain:
        where = location.of_exception(plain.__traceback__)
        return ProblemError(f"{name} raised {type(plain).__name__}: {plain}{where}")
    return CaptureError(f"{name} cannot be traced: {type(reason).__name__}: {reason}{where}")


def _outputs(tracer: Tracer, result: Any, name: str, shape: tuple[int, ...]) -> tuple[Node, ...]:
    if isinstance(result, (int, float)):
        result = torch.tensor(float(result), dtype=torch.float64)
    if not isinstance(result, torch.Tensor):
        raise ProblemError(f"{name} returned a {type(result).__name__}; return one tensor: torch.stack([...])")
    if tuple(result.shape) != tuple(shape):
        raise ProblemError(f"{name} returned shape {tuple(result.shape)}; expected {tuple(shape)}")
    return tuple(tracer.nodes(result).flat)


def _warn(tracer: Tracer) -> None:
    if tracer.rounded_constant is not None:
        warnings.warn(
            f"{tracer.name} uses float32 constants; the formulas take them as they are stored, for example "
            f"{tracer.rounded_constant!r}. Create them with dtype=torch.float64.",
            UserWarning,
            stacklevel=3,
        )


# -- comparison of the formulas with the function ----------------------------------------------------------------------


def _points(arguments: Sequence[Argument], probes: Sequence[Mapping[str, ArrayLike]]) -> Iterator[Point]:
    """Sample points without end: first moderate positive ones, then near the probes, of either sign, and larger."""
    random = np.random.default_rng(0)

    def drawn(draw: Callable[[tuple[int, ...]], Any]) -> Point:
        return {g: np.asarray(draw(() if size is None else (size,)), dtype=np.float64) for g, size in arguments}

    def near(probe: Mapping[str, ArrayLike]) -> Point:
        point = drawn(random.standard_normal)
        for group in point:
            if group in probe:
                centre = np.nan_to_num(np.asarray(probe[group], dtype=np.float64)).reshape(point[group].shape)
                point[group] = centre + 0.05 * (1.0 + np.abs(centre)) * point[group]
        return point

    yield drawn(lambda shape: random.uniform(0.25, 0.75, shape))
    while True:
        for probe in probes:
            yield near(probe)
        yield drawn(random.standard_normal)
        yield drawn(lambda shape: random.uniform(0.1, 1.0, shape))
        yield drawn(lambda shape: 3.0 * random.standard_normal(shape))
        yield drawn(lambda shape: random.uniform(1.0, 4.0, shape))


def _compare(
    outputs: tuple[Node, ...],
    function: Callable[..., Any],
    arguments: Sequence[Argument],
    name: str,
    draws: Iterator[Point],
    parameters: ImplicitParameters,
    tracer: Tracer,
    options: dict[str, Any],
) -> None:
    """Refuses formulas that differ from the function. Points where the function is not finite are drawn again."""
    single = tracer.single or options["dtype"] != torch.float64
    tolerance = _SINGLE_TOLERANCE if single else _DOUBLE_TOLERANCE
    compared = 0
    for _, point in zip(range(_MOST_DRAWS), draws):  # noqa: B905 (the draws have no end)
        sample = [torch.tensor(point[group], **options) for group, _ in arguments]
        values = {  # as rounded to the type of the sample; copies, because the function may write into its arguments
            group: np.array(tensor.numpy(force=True), dtype=np.float64)
            for (group, _), tensor in zip(arguments, sample, strict=True)
        }
        values["theta"] = _theta(values.get("theta"), parameters)
        try:
            with torch.enable_grad():
                expected = torch.as_tensor(function(*sample)).numpy(force=True).astype(np.float64).reshape(-1)
        except Exception:  # such as a singular matrix: as good as not finite
            continue
        found = evaluate(outputs, values)
        scale = np.abs(expected[np.isfinite(expected)]).max(initial=1.0)
        both = np.isfinite(expected) & np.isfinite(found)
        with np.errstate(invalid="ignore"):
            wrong = np.where(both, np.abs(found - expected) > tolerance * scale, np.isnan(found) != np.isnan(expected))
        if wrong.any():
            raise CaptureError(_difference(name, int(np.argmax(wrong)), values, found, expected))
        compared += bool(both.all())
        if compared == _COMPARED_POINTS:
            return
    if compared == 0:
        raise CaptureError(f"{name} was not finite at any of {_MOST_DRAWS} sample points, so it could not be checked")


def _theta(declared: Array | None, parameters: ImplicitParameters) -> Array:
    """The declared parameters, then the present values of the implicit ones."""
    first = np.zeros(parameters.declared)
    if declared is not None:
        first[: declared.size] = declared
    return np.concatenate([first, parameters.values().numpy()])


def _difference(name: str, i: int, values: Mapping[str, Array], found: Array, expected: Array) -> str:
    at = ", ".join(f"{group} = {np.array2string(v, precision=4)}" for group, v in values.items() if 0 < v.size <= 8)
    return (
        f"{name} differs from its formulas: component {i} is {expected[i]:.6g}, the formula gives {found[i]:.6g} "
        f"at {at}. Something was frozen while tracing. Likely causes: torch.tensor([x[0], ...]) of traced values "
        "(write torch.stack), .detach().numpy() (stay in torch), random numbers, or state that changes between calls"
    )
