"""The sweep as a torch operator: tensors and an integer handle in, tensors out.

`pontryagin::sweep` is what autograd, torch.compile and torch.func see of a sweep. The handle is an index into a
registry of sweep calls that a problem holds on to; the registry itself holds nothing, and a graph of autograd holds
the call that its backward will need. Objective and state are differentiable: the backward is one costate sweep with
the cotangent of the objective as weight of the cost and the cotangent of the state added to the costate at every
node. Costate and derivatives are not: their derivatives would be second derivatives of the problem.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from pontryagin.backend.compiled import CompiledSweep
from pontryagin.backend.torch_sweep import TorchSweep
from pontryagin.diagnose import explain, is_finite
from pontryagin.errors import BackendError, NotYetSupported
from pontryagin.problem import Problem
from pontryagin.sweep import Arguments, ControlKind, SweepResult
from pontryagin.tableau import Tableau
from pontryagin.time_grid import TimeGrid

#: The outputs of the operator, in order; the first two are differentiable. What is not asked for has shape (0,).
OUTPUTS = (
    "objective",
    "state",
    "costate",
    "control_derivative",
    "initial_state_derivative",
    "parameter_derivative",
    "final_time_derivative",
)
#: What the backward can be asked for: the derivatives in the first four arguments of the operator.
DERIVATIVES = ("control_derivative", "initial_state_derivative", "final_time_derivative", "parameter_derivative")

#: The dispatcher's thread state outside of every operator: keys included, keys excluded.
_TOP_LEVEL = (torch._C._dispatch_tls_local_include_set(), torch._C._dispatch_tls_local_exclude_set())

_handles = itertools.count(1)


@dataclass(frozen=True, eq=False)
class SweepCall:
    """A backend, what it sweeps, and which outputs are wanted of it; `handle` is how the operator names it."""

    problem: Problem
    grid: TimeGrid
    control_kind: ControlKind
    tableau: Tableau
    backend: TorchSweep | CompiledSweep
    outputs: frozenset[str]
    moving_end: bool  # whether the final time is an argument, which may lie before the start
    handle: int = field(default_factory=_handles.__next__)

    def __post_init__(self) -> None:
        _registry[self.handle] = self

    def evaluate(self, arguments: Arguments) -> SweepResult:
        """The sweep, with every number finite. Raises NonFiniteError, and ProblemError for arguments that are not."""
        result = self.backend.evaluate(arguments, self.outputs)
        early = self.moving_end and not bool((arguments.final_time > self.problem.t0).all())
        if early or not is_finite(result):
            raise explain(self.problem, self.grid, self.control_kind, self.tableau, arguments, result)
        gradient, declared = result.parameter_derivative, arguments.parameters.shape[1]
        if gradient is not None and gradient.shape[1] > declared:  # the rest belongs to nn.Parameters
            result = replace(result, parameter_derivative=gradient[:, :declared])
        return result


_registry: WeakValueDictionary[int, SweepCall] = WeakValueDictionary()


def _call(handle: int) -> SweepCall:
    call = _registry.get(handle)
    if call is None:
        raise BackendError(
            f"the sweep with handle {handle} no longer exists: its problem was deleted, or belongs to another process; "
            "keep the problem, and call pontryagin.sweep there again"
        )
    return call


@torch.library.custom_op(
    "pontryagin::sweep",
    mutates_args=(),
    schema="(Tensor control, Tensor initial_state, Tensor final_time, Tensor parameters, Tensor? data, "
    "Tensor? multipliers, Tensor[] implicit, int handle) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def sweep_operator(
    control: Tensor,
    initial_state: Tensor,
    final_time: Tensor,
    parameters: Tensor,
    data: Tensor | None,
    multipliers: Tensor | None,
    implicit: Sequence[Tensor],
    handle: int,
) -> tuple[Tensor, ...]:
    """The OUTPUTS of the call behind `handle`. `implicit` are the nn.Parameters that the functions close over."""
    arguments = Arguments(control, initial_state, final_time, parameters, data, multipliers)
    with _autograd_inside():
        result = _call(handle).evaluate(arguments)
    return tuple(_own(getattr(result, name), initial_state) for name in OUTPUTS)


@sweep_operator.register_fake
def _(
    control: Tensor,
    initial_state: Tensor,
    final_time: Tensor,
    parameters: Tensor,
    data: Tensor | None,
    multipliers: Tensor | None,
    implicit: Sequence[Tensor],
    handle: int,
) -> tuple[Tensor, ...]:
    call, (batch, n) = _call(handle), initial_state.shape
    path = (batch, call.grid.steps + 1, n)
    shapes = ((batch,), path, path, control.shape, (batch, n), parameters.shape, (batch,))
    return tuple(
        initial_state.new_empty(shape if name in call.outputs else (0,))
        for name, shape in zip(OUTPUTS, shapes, strict=True)
    )


@torch.library.custom_op(
    "pontryagin::sweep_backward",
    mutates_args=(),
    schema="(Tensor control, Tensor initial_state, Tensor final_time, Tensor parameters, Tensor? data, "
    "Tensor[] implicit, Tensor? objective_cotangent, Tensor? state_cotangent, bool[] wanted, int handle) -> Tensor[]",
)
def sweep_backward_operator(
    control: Tensor,
    initial_state: Tensor,
    final_time: Tensor,
    parameters: Tensor,
    data: Tensor | None,
    implicit: Sequence[Tensor],
    objective_cotangent: Tensor | None,
    state_cotangent: Tensor | None,
    wanted: Sequence[bool],
    handle: int,
) -> list[Tensor]:
    """The DERIVATIVES of objective_cotangent.J + state_cotangent.x, (0,) where not wanted, then those in `implicit`.

    The objective holds no constraint terms, so there are no multipliers here.
    """
    backend = _call(handle).backend
    if objective_cotangent is None:
        objective_cotangent = torch.zeros_like(final_time)
    arguments = Arguments(
        control.detach(),
        initial_state.detach(),
        final_time.detach(),
        parameters.detach(),
        data,
        objective_cotangent=objective_cotangent,
        state_cotangent=state_cotangent,
    )
    outputs = {name for name, is_wanted in zip(DERIVATIVES, wanted, strict=True) if is_wanted}
    gradients: Sequence[Tensor] = ()
    if isinstance(backend, TorchSweep):
        with _autograd_inside():
            result, gradients = backend.evaluate_with_implicit(arguments, outputs, implicit=bool(implicit))
    else:
        result = backend.evaluate(arguments, outputs | {"parameter_derivative"} if implicit else outputs)
        theta = result.parameter_derivative
        if theta is not None:
            theta, rest = theta[:, : parameters.shape[1]], theta[:, parameters.shape[1] :].sum(0)
            parts = torch.split(rest, [source.numel() for source in implicit])
            gradients = [part.reshape(source.shape) for part, source in zip(parts, implicit, strict=True)]
            result = replace(result, parameter_derivative=theta)
    values = [getattr(result, name) if name in outputs else None for name in DERIVATIVES]
    return [_own(value, initial_state) for value in values] + [_own(part, initial_state) for part in gradients]


@sweep_backward_operator.register_fake
def _(
    control: Tensor,
    initial_state: Tensor,
    final_time: Tensor,
    parameters: Tensor,
    data: Tensor | None,
    implicit: Sequence[Tensor],
    objective_cotangent: Tensor | None,
    state_cotangent: Tensor | None,
    wanted: Sequence[bool],
    handle: int,
) -> list[Tensor]:
    sources = (control, initial_state, final_time, parameters)
    shapes = [source.shape if is_wanted else (0,) for source, is_wanted in zip(sources, wanted, strict=True)]
    return [control.new_empty(shape) for shape in shapes] + [torch.empty_like(source) for source in implicit]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    control, initial_state, final_time, parameters, data, _, implicit, handle = inputs
    ctx.save_for_backward(control, initial_state, final_time, parameters, data, *implicit)
    ctx.handle = handle
    ctx.call = _call(handle)  # alive until the backward has run
    ctx.mark_non_differentiable(*output[2:])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
    objective_cotangent, state_cotangent = (
        cotangent if name in ctx.call.outputs else None
        for name, cotangent in zip(OUTPUTS[:2], cotangents, strict=False)
    )
    control, initial_state, final_time, parameters, data, *implicit = ctx.saved_tensors
    needed = ctx.needs_input_grad
    wanted = [bool(needed[i]) for i in (0, 1, 2, 3)]
    sources = implicit if any(_flat(needed[6])) else []
    derivatives = sweep_backward_operator(
        control, initial_state, final_time, parameters, data, sources, objective_cotangent, state_cotangent,
        wanted, ctx.handle,
    )  # fmt: skip
    first = [value if is_wanted else None for value, is_wanted in zip(derivatives, wanted, strict=False)]
    return (*first, None, None, list(derivatives[4:]) if sources else [None] * len(implicit), None)


def _flat(needed: Any) -> Sequence[bool]:
    return needed if isinstance(needed, (list, tuple)) else (needed,)


def _no_second_derivative(ctx: Any, *cotangents: Any) -> tuple[Any, ...]:
    raise NotYetSupported(
        "a sweep can be differentiated once, not twice: its derivatives have no derivatives yet. Leave out "
        "create_graph=True, or differentiate TorchSweep.unrolled, which is plain autograd throughout"
    )


sweep_operator.register_autograd(_backward, setup_context=_setup_context)
sweep_backward_operator.register_autograd(_no_second_derivative, setup_context=lambda ctx, inputs, output: None)


def _autograd_inside() -> AbstractContextManager[None]:
    """Lets the torch backend use autograd and vmap inside an operator, where the dispatcher has switched them off."""
    return torch._C._ForceDispatchKeyGuard(*_TOP_LEVEL)


def _own(value: Tensor | None, like: Tensor) -> Tensor:
    """A contiguous tensor with memory of its own, as operators must return them."""
    if value is None:
        return like.new_empty(0)
    whole = value.untyped_storage().nbytes() == value.numel() * value.element_size()
    return value if whole and value.is_contiguous() else value.clone(memory_format=torch.contiguous_format)
