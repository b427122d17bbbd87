"""The B problems of one call: one statement with B initial states, parameters and data sets, on one device.

Everything that a caller may give per problem is read here, checked against the others and spread over the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pontryagin.control import Control
from pontryagin.data import Data
from pontryagin.errors import ProblemError
from pontryagin.hamiltonian import remembered
from pontryagin.problem import Problem
from pontryagin.shooting import Array
from pontryagin.sweep import Arguments
from pontryagin.time_grid import TimeGrid
from pontryagin.values import as_array, numbers


@dataclass(frozen=True)
class Instances:
    """B problems; `single` says that the caller gave no batch axis anywhere."""

    problem: Problem
    initial_state: Tensor  # (B, n)
    parameters: Tensor  # (B, q)
    data: Data | None
    single: bool

    @property
    def batch(self) -> int:
        return self.initial_state.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        return self.initial_state.dtype

    @property
    def device(self) -> torch.device:
        return self.initial_state.device

    def arguments(
        self, control: Control, final_time: Tensor, multipliers: Tensor | None = None, penalties: Tensor | None = None
    ) -> Arguments:
        """The arguments of a sweep on the control's grid, with the data read off on it."""
        return Arguments(
            control=control.values,
            initial_state=self.initial_state,
            final_time=final_time,
            parameters=self.parameters,
            data=self.data_on(control.grid),
            multipliers=multipliers,
            penalties=penalties,
        )

    def data_on(self, grid: TimeGrid) -> Tensor | None:
        """The data read off on a grid."""
        if self.data is None:
            return None
        return self.data.on_grid(grid.times(self.problem.t0, self.problem.t1_guess)).to(self.initial_state)

    @cached_property
    def arrays(self) -> tuple[Array, Array]:
        """Initial states and parameters in float64."""
        return as_array(self.initial_state), as_array(self.parameters)

    def pick(self, rows: Tensor) -> Instances:
        """Problems `rows` (B',) of these, in that order; a row may come more than once."""
        data = self.data
        if data is not None and data.batch is not None:
            data = replace(data, values=data.values[rows])
        return replace(self, initial_state=self.initial_state[rows], parameters=self.parameters[rows], data=data)

    def double(self) -> Instances:
        """The same in float64."""
        return replace(self, initial_state=self.initial_state.double(), parameters=self.parameters.double())


def read_instances(
    problem: Problem, initial_state: Any = None, parameters: Mapping[str, Any] | Tensor | None = None, data: Any = None
) -> Instances:
    """What the caller gives, over the batch: x0 (n,) or (B, n), theta (q,) or (B, q), data shared or (B, ...).

    Raises ProblemError for shapes that do not fit, batches of different sizes or none, and wrong devices.
    """
    if initial_state is None and parameters is None and data is None:
        return remembered(problem, "instances", _read)
    return _read(problem, initial_state, parameters, data)


def _read(
    problem: Problem, initial_state: Any = None, parameters: Mapping[str, Any] | Tensor | None = None, data: Any = None
) -> Instances:
    x0 = _initial_state(problem, initial_state)
    theta = problem.theta.vector(parameters).to(x0.dtype)
    if theta.requires_grad:
        raise ProblemError(
            "parameters require grad, but a solve has no derivative in them yet: give parameters.detach() here, and "
            "the tensor itself to pontryagin.sweep"
        )
    exogenous = _data(problem, data)
    sizes = {"initial_state": x0.shape[0] if x0.dim() == 2 else None,
             "parameters": theta.shape[0] if theta.dim() == 2 else None,
             "data": None if exogenous is None else exogenous.batch}  # fmt: skip
    given = {what: size for what, size in sizes.items() if size is not None}
    for what, size in given.items():
        if size == 0:
            raise ProblemError(f"{what} is a batch of no problems; give at least one row")
    batch = max(given.values(), default=1)
    if any(size not in (1, batch) for size in given.values()):
        told = ", ".join(f"{what} of {size}" for what, size in given.items())
        raise ProblemError(
            f"batches differ: {told}; give one size, or leave the batch axis out where all share a value"
        )
    for what, tensor in (("parameters", theta), ("data", None if exogenous is None else exogenous.values)):
        if tensor is not None and tensor.numel() and tensor.device != x0.device:
            raise ProblemError(f"initial_state is on {x0.device}, {what} on {tensor.device}; move them to one device")
    return Instances(
        problem,
        x0.expand(batch, -1).contiguous(),
        theta.to(x0.device).expand(batch, -1).contiguous(),
        exogenous,
        single=not given,
    )


def _initial_state(problem: Problem, given: Any) -> Tensor:
    """(n,) or (B, n); lists in the type of the problem, tensors in their own."""
    n = problem.state_dim
    if given is None:
        return problem.initial_state.to(problem.dtype)
    if isinstance(given, Tensor) and given.dim() == 2 and given.shape[0] == 0:
        raise ProblemError("initial_state is a batch of no problems; give at least one row")
    x0 = numbers("initial_state", given)
    if not isinstance(given, Tensor):
        x0 = x0.to(problem.device, problem.dtype)
    if x0.dim() not in (1, 2) or x0.shape[-1] != n:
        raise ProblemError(f"initial_state has shape {tuple(x0.shape)}; give ({n},), or (B, {n}) for a batch")
    return x0


def _data(problem: Problem, given: Any) -> Data | None:
    if given is None:
        return problem.data
    if problem.data is None:
        raise ProblemError(f"{problem.name} has no data; declare them in Problem(data=...) so that functions take d")
    data = given if isinstance(given, Data) else Data(given, kind=problem.data.kind)
    if not isinstance(given, Data) and data.length == problem.data.length:
        data = replace(data, time=problem.data.time)  # the problem's own times, as in a sweep
    if data.size != problem.data_dim:
        raise ProblemError(f"data have {data.size} components; {problem.name} was declared with {problem.data_dim}")
    return data.over(problem.t0, problem.t1_guess)
