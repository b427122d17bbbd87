"""What a caller gives to `sweep`, checked and turned into tensors that fit the problem and each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pontryagin.data import Data
from pontryagin.errors import NotYetSupported, ProblemError, unknown_name
from pontryagin.problem import Problem
from pontryagin.sweep import ControlKind
from pontryagin.time_grid import CONTROL_KINDS, TimeGrid
from pontryagin.values import numbers

#: What may be given, in order, and how many axes each has without a batch.
AXES = {"u": 2, "initial_state": 1, "parameters": 1, "data": 2, "final_time": 0, "multipliers": 1}

FLOATS = (torch.float64, torch.float32)


@dataclass(frozen=True)
class Layout:
    """How the arguments of one call are laid out."""

    like: Tensor  # empty, of the type and device of all tensors
    batch: int
    single: bool  # no argument has a batch axis, and the answer has none
    shared: bool  # one u for all problems of the batch
    plain: bool  # no tensor is of a subclass that wants to see what is done with it
    differentiable: bool  # some tensor requires grad


def read_control(u: Any, kind: Any) -> tuple[Any, ControlKind, TimeGrid | None]:
    """The values of u, their kind, and the grid where u brings one, as the control of a solution does."""
    known = isinstance(kind, str) and kind in CONTROL_KINDS
    if kind is not None and not known:
        raise unknown_name("control kind", kind, CONTROL_KINDS)
    if not isinstance(u, Tensor) and hasattr(u, "values") and hasattr(u, "kind") and hasattr(u, "grid"):
        if kind not in (None, u.kind):
            raise ProblemError(f'u is a {u.kind} control, but control="{kind}" was said; leave control out')
        return u.values, u.kind, u.grid
    if u is None:
        raise ProblemError("u is missing; give the control, (K, m) or (B, K, m)")
    if kind is None:
        raise ProblemError(
            'say how u is meant: control="constant" for one row per interval, or "linear" for one row per node'
        )
    return u, kind, None


def read_arguments(problem: Problem, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """All arguments in the order of AXES: tensors of one type on one device, or None; data may stay Data."""
    u, initial_state, parameters, data, final_time, multipliers = given
    if initial_state is None and bool(problem.initial_state.isnan().any()):
        free = problem.initial_state.isnan().nonzero().flatten().tolist()
        raise ProblemError(f"initial_state is free in components {free} of this problem; give initial_state to sweep")
    if isinstance(parameters, Mapping):
        parameters = problem.theta.vector(parameters)
    if final_time is not None and problem.data is not None:
        raise NotYetSupported("final_time together with data cannot be treated yet; sweep to the end of the horizon")
    own_data = _read_data(problem, data)
    if own_data is not None:
        data = own_data.values

    for name, value in (("data", data), ("multipliers", multipliers)):
        if isinstance(value, Tensor) and value.requires_grad:
            raise NotYetSupported(f"{name} requires grad, but a sweep has no derivative in it; give {name}.detach()")

    named = dict(zip(AXES, (u, initial_state, parameters, data, final_time, multipliers), strict=True))
    leader, like = _leader(problem, named)
    tensors = {name: None if value is None else _tensor(name, value, leader, like) for name, value in named.items()}
    shapes: dict[str, tuple[int | None, ...]] = {
        "u": (None, problem.control_dim),
        "initial_state": (problem.state_dim,),
        "parameters": (problem.parameter_dim,),
        "data": (None, problem.data_dim),
        "final_time": (),
        "multipliers": (problem.equality_count + problem.inequality_count,),
    }
    for name, value in tensors.items():
        if value is not None:
            _require_shape(name, value, shapes[name])
    return tuple(own_data if name == "data" and own_data is not None else value for name, value in tensors.items())


def layout_of(problem: Problem, given: tuple[Any, ...]) -> Layout:
    """The batch on which the arguments agree."""
    u: Tensor = given[0]
    sizes = {
        name: value.shape[0]
        for (name, axes), value in zip(AXES.items(), map(as_tensor, given), strict=True)
        if value is not None and value.dim() > axes
    }
    if problem.data is not None and problem.data.batch is not None and given[3] is None:
        sizes["data of the problem"] = problem.data.batch
    batch = max(sizes.values(), default=1)
    if any(size not in (1, batch) for size in sizes.values()) or sizes.get("u", batch) != batch:
        told = ", ".join(f"{name} of {size}" for name, size in sizes.items())
        raise ProblemError(
            f"batches differ: {told}; give one size, or leave the batch axis out where all share a value"
        )
    tensors = [value for value in given if isinstance(value, Tensor)]
    return Layout(
        like=u.detach().new_empty(0),
        batch=batch,
        single=not sizes,
        shared=bool(sizes) and u.dim() == 2,
        plain=all(type(value) in (Tensor, torch.nn.Parameter) for value in tensors),
        differentiable=any(value.requires_grad for value in tensors),
    )


def as_tensor(value: Tensor | Data | None) -> Tensor | None:
    return value.values if isinstance(value, Data) else value


def data_on(problem: Problem, values: Tensor) -> Data:
    """Data values on the times of the problem's own, or spread evenly over the horizon when they are more or fewer."""
    own = problem.data
    if own is None:
        raise ProblemError(f"{problem.name} has no data; declare them in Problem(data=...) so that functions take d")
    length = values.shape[-2]
    return Data(values, own.time if length == own.length else None, own.kind).over(problem.t0, problem.t1_guess)


def _read_data(problem: Problem, data: Any) -> Data | None:
    """Data on times of their own; None where the caller gave values alone, or nothing."""
    if data is not None and problem.data is None:
        raise ProblemError(f"{problem.name} has no data; declare them in Problem(data=...) so that functions take d")
    if problem.data is None or not isinstance(data, Data):
        return None
    if data.kind != problem.data.kind:
        raise ProblemError(f"data are {data.kind}, those of the problem {problem.data.kind}; give the same kind")
    return data.over(problem.t0, problem.t1_guess)


def _leader(problem: Problem, named: Mapping[str, Any]) -> tuple[str, Tensor]:
    """The first tensor given, which says type and device; float64 on the device of the problem where there is none."""
    for name, value in named.items():
        if isinstance(value, Tensor) and value.dtype in FLOATS:
            return name, value
    return "", torch.empty(0, dtype=torch.float64, device=problem.device)


def _tensor(name: str, value: Any, leader: str, like: Tensor) -> Tensor:
    """One argument in the type and on the device of `like`; all is converted but tensors of floats."""
    if not isinstance(value, Tensor):
        return numbers(name, value).to(like)
    if value.dtype in FLOATS:
        if value.dtype != like.dtype or value.device != like.device:
            raise ProblemError(
                f"{name} is {value.dtype} on {value.device}, but {leader} is {like.dtype} on {like.device}; "
                f"convert one of them, for instance {name}.to({leader})"
            )
        return value
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise ProblemError(f"{name} has type {value.dtype}; give float64 or float32")
    return value.to(like)


def _require_shape(name: str, value: Tensor, shape: tuple[int | None, ...]) -> None:
    """`shape`, or that with a batch axis in front; None is any length from one."""
    actual = tuple(value.shape)
    lead = len(actual) - len(shape)
    if (
        lead in (0, 1)
        and 0 not in actual[:lead]
        and all(size == want if want is not None else size > 0 for want, size in zip(shape, actual[lead:], strict=True))
    ):
        return
    if lead == 1 and actual[0] == 0:
        raise ProblemError(f"{name} has shape {actual}, a batch of no problems; give at least one row")
    words = ["K" if size is None else str(size) for size in shape]
    plain, batch = (f"({', '.join(part)}{',' if len(part) == 1 else ''})" for part in (words, ["B", *words]))
    hint = ""
    if name == "u":
        hint = ", with K = N rows for a constant control on N steps and K = N + 1 for a linear one"
        if len(actual) == 1 and shape[-1] == 1:
            hint += "; a single control has its axis too: u[:, None]"
    raise ProblemError(f"{name} has shape {actual}; give {plain}, or {batch} for a batch{hint}")
