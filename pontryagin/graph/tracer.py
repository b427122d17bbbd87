"""Runs a torch function on one sample and writes down, next to every number, the formula it came from.

Two modes of torch watch the function. The dispatch mode sees every ATen operation, after torch has taken composite
functions (einsum, linear, torch.func.grad, ...) apart. It runs the operation as usual and then builds its scalar
formulas. What belongs to a tensor is kept by *storage*: one array of nodes for each block of memory that holds traced
values. A tensor finds its nodes through its own offset and strides, so views, transposes and slices cost nothing and
writing into a view is seen by everybody who shares the memory, exactly as in torch. The function mode catches what
would leave torch silently: numbers taken out of tensors, torch.tensor of traced values, numpy.

Tensors that are in no such storage are constants. A trainable nn.Parameter becomes inputs of the group "theta".

make_fx of torch.fx sees the same operations; doing it directly loads no compiler, keeps the user's line at hand when
something goes wrong, and needs no rewriting of in-place operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch._decomp import decomposition_table
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from pontryagin.errors import CaptureError
from pontryagin.graph import aten, location
from pontryagin.graph.aten_common import NodeArray, elementwise, nodes_of
from pontryagin.graph.aten_moves import MOVES, RESHAPES, UNREAD, move
from pontryagin.graph.nodes import Graph, Node


class ImplicitParameters:
    """The nn.Parameters met while capturing the functions of one problem, in the order of their first use.

    Their entries are the inputs "theta" of index `declared`, `declared + 1`, ..., after the `declared` parameters of
    the problem, each Parameter flattened in row-major order.
    """

    def __init__(self, declared: int = 0) -> None:
        self.declared = declared
        self.parameters: list[torch.nn.Parameter] = []
        self.offsets: list[int] = []
        self.count = 0

    def offset(self, parameter: torch.nn.Parameter) -> int:
        """The first index of the Parameter in the group "theta"; a new one is put at the end."""
        for known, offset in zip(self.parameters, self.offsets, strict=True):
            if known is parameter:
                return offset
        self.parameters.append(parameter)
        self.offsets.append(self.declared + self.count)
        self.count += parameter.numel()
        return self.offsets[-1]

    def values(self) -> torch.Tensor:
        """(count,) float64: the present values, flat, in the order of their inputs."""
        parts = [p.detach().reshape(-1).to(device="cpu", dtype=torch.float64) for p in self.parameters]
        return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


class _Cells:
    """The nodes of one storage, one cell for each element; None where nothing was traced. Keeps the storage alive."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.storage = tensor.untyped_storage()
        self.nodes = np.full(self.storage.nbytes() // tensor.element_size(), None, dtype=object)


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """One trace of one function into `graph`; `name` stands in the messages."""

    def __init__(self, graph: Graph, name: str, parameters: ImplicitParameters) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = graph
        self.name = name
        self.parameters = parameters
        self.single = False  # some traced value was in single precision
        self.rounded_constant: float | None = None  # a float32 constant such as 0.1 that float64 would read otherwise
        self._cells: dict[int, _Cells] = {}
        self._inside: list[Any] = []  # the operations that are being taken apart

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Asked by torch: True would import the whole compiler at the first operation, two seconds for nothing."""
        return False

    # -- tensors and their nodes ----------------------------------------------------------------------------------

    def track(self, tensor: torch.Tensor, nodes: Sequence[Node] | NodeArray) -> None:
        """From now on these nodes are what the tensor holds."""
        if tensor.untyped_storage()._cdata not in self._cells:
            self._cells[tensor.untyped_storage()._cdata] = _Cells(tensor)
        self.write(tensor, np.asarray(nodes, dtype=object).reshape(tensor.shape))

    def is_traced(self, tensor: torch.Tensor) -> bool:
        """Whether the tensor shares memory with traced values; a trainable nn.Parameter becomes traced here."""
        if tensor.untyped_storage()._cdata in self._cells:
            return True
        if isinstance(tensor, torch.nn.Parameter) and tensor.requires_grad:
            start = self.parameters.offset(tensor)
            self.track(tensor, [self.graph.input("theta", start + i) for i in range(tensor.numel())])
            return True
        return False

    def varies(self, value: Any) -> bool:
        """Whether any tensor in the value depends on the inputs."""
        return any(
            isinstance(leaf, torch.Tensor)
            and self.is_traced(leaf)
            and any(node is None or not node.is_constant for node in self.read(leaf).flat)
            for leaf in tree_leaves(value)
        )

    def read(self, tensor: torch.Tensor) -> NodeArray:
        """The nodes of a traced tensor, in its shape; a copy."""
        nodes = self._cells[tensor.untyped_storage()._cdata].nodes
        return np.asarray(nodes[_places(tensor)], dtype=object).reshape(tensor.shape)

    def nodes(self, tensor: torch.Tensor) -> NodeArray:
        """The nodes of any tensor; constants where it is not traced."""
        if not self.is_traced(tensor):
            return nodes_of(self.graph, self.constant(tensor))
        found = self.read(tensor)
        if any(node is None for node in found.flat):
            raise self.error("uses a value that has no formula here (such as the factors of a decomposition)")
        return found

    def constant(self, tensor: torch.Tensor) -> np.ndarray[Any, Any]:
        """The numbers of a tensor that is not traced."""
        if tensor.is_complex():
            raise self.error("uses complex numbers; write the real and the imaginary part as two components")
        values: np.ndarray[Any, Any] = tensor.detach().cpu().resolve_neg().numpy()
        if tensor.dtype == torch.float32 and self.rounded_constant is None:
            self.rounded_constant = next((float(v) for v in values.flat if abs(float(v) - float(str(v))) > 0), None)
        return values

    def write(self, tensor: torch.Tensor, nodes: NodeArray) -> None:
        """Puts nodes, broadcast to its shape, where the tensor's elements are."""
        cells = self._cells[tensor.untyped_storage()._cdata].nodes
        cells[_places(tensor)] = np.broadcast_to(nodes, tensor.shape).reshape(-1)

    # -- operations -----------------------------------------------------------------------------------------------

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise self.error(
                f"draws random numbers (aten.{_base_name(func)}); a formula needs a fixed value: draw it beforehand, "
                "or put a module with dropout into eval()"
            )
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        traced = [tensor for tensor in tensors if self.is_traced(tensor)]
        if not traced or _base_name(func) in UNREAD:
            result = func(*args, **kwargs)
            return result.zero_() if "empty" in _base_name(func) else result  # the same numbers in every trace
        return self._operation(func, args, kwargs)

    def _operation(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One operation with traced arguments: its result, with its formulas written down."""
        name = _base_name(func)
        if name == "_local_scalar_dense":
            return self._number(func, args)
        if func._schema.is_mutable:
            return self._in_place(func, args, kwargs)
        if name not in aten.HANDLERS and name not in MOVES and func in decomposition_table and func not in self._inside:
            return self._taken_apart(func, args, kwargs)
        result = func(*args, **kwargs)
        tensors = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        if not tensors and result is None:
            return result  # a check of arguments
        if not tensors:
            raise self.error(f"decides by a value (aten.{name}); write torch.where(condition, a, b)")
        if all(t.untyped_storage()._cdata in self._cells for t in tensors):  # views
            self._refuse_other_type(args, tensors)
            return result
        formulas = self._formulas(func, args, kwargs)
        parts = [formulas] if isinstance(formulas, np.ndarray) else formulas
        for tensor, part in zip(tensors, parts, strict=True):
            if part is not None:
                self._record(tensor, part, args)
            elif tensor.numel():
                self._cells[tensor.untyped_storage()._cdata] = _Cells(tensor)
        return result

    def _taken_apart(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operation for which torch knows simpler ones, traced in turn."""
        self._inside.append(func)
        try:
            with self:
                return decomposition_table[func](*args, **kwargs)
        finally:
            self._inside.pop()

    def _number(self, func: Any, args: tuple[Any, ...]) -> Any:
        if self.varies(args):
            raise self.error(_TAKES_A_NUMBER)
        return func(*args)

    def _in_place(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operation that writes into its first argument, or into `out`."""
        target = kwargs.get("out", args[0] if args else None)
        if not isinstance(target, torch.Tensor):
            raise self._unknown(func)
        if _base_name(func) in RESHAPES:
            return func(*args, **kwargs)
        if not self.is_traced(target):  # a constant starts to hold traced values
            self._cells[target.untyped_storage()._cdata] = cells = _Cells(target)
            whole = torch.empty(0, dtype=target.dtype, device=target.device).set_(target.untyped_storage())
            cells.nodes[:] = nodes_of(self.graph, self.constant(whole))
        formulas = self._formulas(func, args, {k: v for k, v in kwargs.items() if k != "out"})
        if not isinstance(formulas, np.ndarray):
            raise self._unknown(func)
        result = func(*args, **kwargs)
        self._record(target, formulas, args)
        return result

    def _formulas(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The nodes of the result: an array, or one for each result (None where there is no formula)."""
        name = _base_name(func)
        try:
            if name in MOVES and not _accumulates(func, args, kwargs):
                return move(self.graph, self.nodes, self.varies, func, args, kwargs)
            if name not in aten.HANDLERS:
                raise self._unknown(func)
            operands = tree_map(self._operand, args)
            return aten.HANDLERS[name](self.graph, *operands, **tree_map(self._operand, kwargs))
        except aten.NoFormula as reason:
            raise self.error(f"uses aten.{name}: {reason}") from None

    def _operand(self, leaf: Any) -> Any:
        """What a handler sees of an argument: nodes of a traced tensor, numbers of a constant one."""
        if not isinstance(leaf, torch.Tensor):
            return leaf
        return self.nodes(leaf) if self.is_traced(leaf) else self.constant(leaf)

    def _record(self, tensor: torch.Tensor, nodes: NodeArray, args: tuple[Any, ...]) -> None:
        """Attaches formulas to a result, cast to its type."""
        if tensor.is_complex():
            raise self.error("computes with complex numbers; write the real and the imaginary part as two components")
        floating = any(isinstance(a, torch.Tensor) and a.is_floating_point() for a in tree_leaves(args))
        if tensor.dtype == torch.bool:
            nodes = elementwise(self.graph, "ne", nodes, 0.0)
        elif not tensor.is_floating_point() and floating:
            nodes = elementwise(self.graph, "trunc", nodes)
        elif tensor.is_floating_point() and tensor.dtype != torch.float64:
            self.single = True
        if tensor.untyped_storage()._cdata not in self._cells:
            self._cells[tensor.untyped_storage()._cdata] = _Cells(tensor)
        self.write(tensor, nodes)

    def _refuse_other_type(self, args: tuple[Any, ...], views: Sequence[torch.Tensor]) -> None:
        source = next(leaf for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor))
        if any(v.dtype != source.dtype for v in views):
            raise self.error("looks at the memory of traced values as another type; use .to(dtype)")

    # -- errors ---------------------------------------------------------------------------------------------------

    def error(self, what: str) -> CaptureError:
        """'dynamics <what>, in file.py:12 `source`'."""
        return CaptureError(f"{self.name} {what}{location.of_running_code()}")

    def _unknown(self, func: Any) -> CaptureError:
        func = self._inside[0] if self._inside else func
        return self.error(
            f"uses {func._schema.name.replace('::', '.')}, which has no formula here; write it with elementary "
            "operations, or leave this problem to the torch backend"
        )


_TAKES_A_NUMBER = (
    "takes a number out of a traced tensor; that number would be frozen: stay with tensors, "
    "torch.sin(x[0]) in place of math.sin(x[0]), x[0] in place of x[0].item() or float(x[0])"
)
_LEAVES_TORCH = "hands traced values to numpy or Python; their numbers would be frozen: use the functions of torch"

_Tensor = torch.Tensor
_REFUSED: dict[Any, str] = {
    _Tensor.__bool__: "decides by a value; the branch taken now would be taken for ever: "
    "write torch.where(condition, a, b)",
    **dict.fromkeys(
        (_Tensor.item, _Tensor.__float__, _Tensor.__int__, _Tensor.__index__, _Tensor.__complex__), _TAKES_A_NUMBER
    ),
    **dict.fromkeys((_Tensor.numpy, _Tensor.tolist, _Tensor.__array__), _LEAVES_TORCH),
    **dict.fromkeys(
        (torch.tensor, torch.as_tensor, torch.asarray, _Tensor.new_tensor),
        "builds a tensor out of the numbers of traced values; they would be frozen: "
        "write torch.stack([...]) in place of torch.tensor([...])",
    ),
    **dict.fromkeys(
        (_Tensor.detach, _Tensor.detach_, torch.detach, _Tensor.data.__get__),  # type: ignore[attr-defined]
        "detaches traced values; its derivatives would differ from those of the formula: leave out detach() and .data",
    ),
}


class Watch(TorchFunctionMode):
    """Refuses the functions that would freeze traced values, before torch turns them into numbers."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        reason = _REFUSED.get(func)
        returned = func in _COPIERS and isinstance(args[0], torch.Tensor)
        read = args[1:] if func is _Tensor.new_tensor else args
        if reason is not None and not returned and self.tracer.varies(read):
            raise self.tracer.error(reason)
        return func(*args, **(kwargs or {}))


#: These return the tensor itself when they are given one.
_COPIERS = (torch.as_tensor, torch.asarray)


def _base_name(func: Any) -> str:
    """'add' for aten.add.Tensor, aten.add_.Tensor and aten.add.out."""
    name: str = func._schema.name.split("::")[1]
    return name[:-1] if func._schema.is_mutable and name.endswith("_") else name


def _accumulates(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    named = dict(zip((a.name for a in func._schema.arguments), args)) | kwargs  # noqa: B905 (trailing defaults)
    return bool(named.get("accumulate", False) or named.get("reduce", False))


def _places(tensor: torch.Tensor) -> Any:
    """Where the elements of a tensor are in its storage, flat, in row-major order of the tensor."""
    if tensor.is_contiguous():
        return slice(tensor.storage_offset(), tensor.storage_offset() + tensor.numel())
    places = np.asarray(tensor.storage_offset())
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        places = np.add.outer(places, stride * np.arange(size))
    return places.reshape(-1)
