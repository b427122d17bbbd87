"""What a solve found, as numbers: trajectories, costates, control and multipliers, and how they were found.

    H = L + p.f, minimised over u;    x' = H_p,    p' = -H_x,    p(t1) = phi_x + nu e_x,    e = (psi, gamma) at t1

Batch B, steps N, state n, control m, r terminal constraints, K = N rows of a constant control or N + 1 of a linear
one. Without a batch axis in what the caller gave there is none here either: the B of the shapes below falls away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from pontryagin import pointwise
from pontryagin.control import Control
from pontryagin.control_set import ControlSet
from pontryagin.data import Data
from pontryagin.errors import ProblemError
from pontryagin.optim.result import IterationInfo
from pontryagin.pointwise import Points
from pontryagin.problem import Problem
from pontryagin.records import Level, Report
from pontryagin.status import Status
from pontryagin.time_grid import TimeGrid
from pontryagin.values import numbers

Self = TypeVar("Self", bound="Answer")

#: Fields of an Answer that are tensors with the batch axis in front.
TENSORS = (
    "time", "state", "costate", "objective", "hamiltonian", "control_gradient", "multipliers", "penalties",
    "path_multipliers", "state_multipliers", "parameters", "iterations", "residual", "violation",
)  # fmt: skip

#: Those, and what else may be made when it is asked for.
LATER = (*TENSORS, "control", "history", "last_point")


@dataclass(frozen=True, eq=False, kw_only=True)
class Answer:
    """The fields of a Solution, what follows from them, and its functions of time.

    `objective` is in the sense of the problem; costates and H are those of the minimised -J where it maximises.
    Fields with numbers may be made when they are asked for first. Until then the answer keeps what they are made of.
    """

    problem: Problem | None  # None after load() without a problem
    name: str
    maximize: bool
    control_set: ControlSet
    time: Tensor  # (B, N+1)
    state: Tensor  # (B, N+1, n)
    costate: Tensor  # (B, N+1, n) p
    control: Control  # (B, K, m)
    objective: Tensor  # (B,)
    hamiltonian: Tensor  # (B, N+1) H at the nodes
    control_gradient: Tensor  # (B, K, m) L2 gradient of the Lagrangian: H_u, the switching function
    multipliers: Tensor  # (B, r) nu, of the equalities first
    penalties: Tensor  # (B, r) with which nu was found; only a warm start needs them
    path_multipliers: Tensor  # (B, N+1, k) mu >= 0 of path_constraint at the nodes, per unit of time
    state_multipliers: Tensor  # (B, N+1, n) of state_bounds: of the upper bound, or minus that of the lower one
    parameters: Tensor  # (B, q) theta
    data: Data | None
    status: Status | list[Status]
    iterations: Tensor  # (B,)
    residual: Tensor  # (B,) scaled optimality residual
    violation: Tensor  # (B,) scaled violation of the terminal constraints
    method: str
    scheme: str
    backend: str
    backend_reason: str
    accuracy: float  # that was asked for: limit of the defects in levels, and default of verify()
    timings: dict[str, float]  # seconds
    history: list[IterationInfo]
    last_point: tuple[Tensor, ...] | None  # (B, ...) of Newton's method with all multipliers, as its Warm; not in files
    levels: list[Level]  # the grids of a solve with steps=None; one entry otherwise
    worst: str | list[str] = ""  # which constraint is violated most, where and by how much; "" where all hold
    reference: float | None = None  # the known optimum, where there is one
    report: Report | None = None  # of the last verify()
    stored_slopes: tuple[Tensor, Tensor] | None = None  # (B, N, 2, n) x' and p' at the ends of the steps, from a file

    # -- fields that are made later --------------------------------------------------------------------------------

    @classmethod
    def later(cls: type[Self], source: Callable[[str], Any], **known: Any) -> Self:
        """With the fields `known`; `source` makes those of LATER from their names."""
        answer = cls.__new__(cls)
        vars(answer).update(known, _source=source)
        return answer

    if not TYPE_CHECKING:  # where it would hide what does not exist

        def __getattr__(self, name: str) -> Any:
            """A field that nobody has asked for yet."""
            source = vars(self).get("_source")
            if source is None or name not in LATER:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            value = vars(self)[name] = source(name)
            return value

    def complete(self) -> None:
        """Make all fields, and let go of what they are made of."""
        for name in LATER:
            getattr(self, name)
        vars(self).pop("_source", None)

    def __getstate__(self) -> dict[str, Any]:
        self.complete()
        return vars(self)

    # -- what follows from the fields ------------------------------------------------------------------------------

    @property
    def batch(self) -> int | None:
        """B, or None for a single problem."""
        return self.state.shape[0] if self.state.dim() == 3 else None

    @property
    def steps(self) -> int:
        """N."""
        return self.control.grid.steps

    @property
    def final_time(self) -> Tensor:
        """t1 (B,)."""
        return self.time[..., -1]

    @property
    def success(self) -> bool | Tensor:
        """Whether the optimality conditions hold to the tolerance: a bool, or (B,)."""
        if isinstance(self.status, Status):
            return self.status.success
        return torch.tensor([status.success for status in self.status])

    def state_at(self, t: Any) -> Tensor:
        """x at t, one time or (T,), or (B, T) with times for each problem: (n,), (T, n), with B in front for a batch.

        The cubic through states and their slopes f on each step. Raises ProblemError outside of the horizon.
        """
        return self._hermite(t, self.state, self.slopes[0])

    def costate_at(self, t: Any) -> Tensor:
        """p at t, shapes as in state_at; the cubic through costates and their slopes -H_x on each step."""
        return self._hermite(t, self.costate, self.slopes[1])

    def control_at(self, t: Any) -> Tensor:
        """u at t, shapes as in state_at: straight lines (linear) or the value of the step that begins (constant)."""
        times, shape = self._inside(t)
        grid, values = self.control.grid, self.batched().control.values
        rows = [Control(v, self.control.kind, grid).at(tau) for v, tau in zip(values, self._scaled(times), strict=True)]
        return self._shaped(torch.stack(rows), shape)

    @cached_property
    def slopes(self) -> tuple[Tensor, Tensor]:
        """x' = f and p' = -H_x (B, N, 2, n) at the begin and the end of each step, with that step's control."""
        if self.stored_slopes is not None:
            return self.stored_slopes
        problem, points, costate = self.need_problem("functions of time"), self.points(), self.costate_points()
        shape = (*self.state.shape[:-2], self.steps, 2, self.state.shape[-1])
        with torch.no_grad():
            x_slope, _ = pointwise.equations(problem, points)
        p_slope = -pointwise.hamiltonian(problem, points, costate).by_state
        return x_slope.to(self.state.dtype).reshape(shape), p_slope.to(self.state.dtype).reshape(shape)

    def points(self) -> Points:
        """Begin and end of every step, with that step's control and data: 2N points for each problem, in this order."""
        whole = self.batched()
        batch, data = whole.state.shape[0], whole.state.new_empty(whole.state.shape[0], self.steps, 2, 0)
        if whole.data is not None:
            data = ends_of_steps(whole.data.on_grid(whole.time).to(whole.state).expand(batch, -1, -1), self.steps)
        theta = whole.parameters[:, None].expand(-1, 2 * self.steps, -1)
        return Points(
            ends_of_steps(whole.time.to(whole.state)[..., None], self.steps).flatten(),
            ends_of_steps(whole.state, self.steps).flatten(0, 2),
            ends_of_steps(whole.control.values, self.steps).flatten(0, 2),
            theta.flatten(0, 1),
            data.flatten(0, 2),
        )

    def costate_points(self) -> Tensor:
        """p (P, n) at points()."""
        return ends_of_steps(self.batched().costate, self.steps).flatten(0, 2)

    def inner_costate_points(self) -> Tensor:
        """The same where p jumps at a node, at a bound of the state: the mean of both sides."""
        whole = self.batched()
        duration = whole.final_time - whole.time[:, 0]
        costate = mean_of_jumps(whole.costate, whole.state_multipliers, whole.control.grid, duration)
        return ends_of_steps(costate, self.steps).flatten(0, 2)

    def need_problem(self, what: str) -> Problem:
        """The problem, or the error that says how to give it."""
        if self.problem is None:
            raise ProblemError(
                f"{what} need the functions of the problem, which files do not hold; "
                "load with Solution.load(path, problem)"
            )
        return self.problem

    # -- batches ---------------------------------------------------------------------------------------------------

    def __getitem__(self: Self, index: int) -> Self:
        """Problem `index` of a batch, as a single solution."""
        if self.batch is None:
            raise ProblemError("this solution is of a single problem; solution[i] is for a batch")
        if not isinstance(index, int) or not -self.batch <= index < self.batch:
            raise ProblemError(f"there is no problem {index!r} in a batch of {self.batch}; give a whole number")
        assert isinstance(self.status, list)
        return self._each(lambda value: value[index], self.status[index], self._worst[index])

    def part(self: Self, first: int, last: int) -> Self:
        """Problems first to last - 1 of a batch, as a batch."""
        assert isinstance(self.status, list)
        return self._each(lambda value: value[first:last], self.status[first:last], self._worst[first:last])

    def batched(self: Self) -> Self:
        """The same with a batch axis: this, or a batch of one."""
        if self.batch is not None:
            return self
        assert isinstance(self.status, Status)
        return self._each(lambda value: value.unsqueeze(0), [self.status], self._worst)

    @property
    def _worst(self) -> list[str]:
        """(B)"""
        if isinstance(self.worst, list):
            return self.worst
        return [self.worst] * (1 if self.batch is None else self.batch)

    def _each(
        self: Self, change: Callable[[Tensor], Tensor], status: Status | list[Status], worst: str | list[str]
    ) -> Self:
        tensors: dict[str, Any] = {name: change(getattr(self, name)) for name in TENSORS}
        control = replace(self.control, values=change(self.control.values))
        data = self.data
        if data is not None and data.values.dim() == 3 and self.batch is not None:
            data = replace(data, values=change(data.values))
        slopes = self.stored_slopes
        if slopes is not None:
            slopes = (change(slopes[0]), change(slopes[1]))
        point = self.last_point and tuple(map(change, self.last_point))
        return replace(
            self, **tensors, control=control, data=data, status=status, worst=worst, report=None, stored_slopes=slopes,
            last_point=point,
        )  # fmt: skip

    # -- functions of time -----------------------------------------------------------------------------------------

    def _inside(self, t: Any) -> tuple[Tensor, tuple[int, ...]]:
        """Times (B, T) inside of the horizon, and the shape of what was given."""
        given = (t.detach() if isinstance(t, Tensor) else numbers("t", t)).to(self.time.device, torch.float64)
        ends = self.batched().time.double()
        if given.dim() > 2 or (given.dim() == 2 and given.shape[0] != self.batch):
            raise ProblemError(f"t has shape {tuple(given.shape)}; give one time, (T,), or (B, T) for a batch of B")
        times = given.reshape(-1, given.shape[-1]) if given.dim() else given.reshape(1, 1)
        first, last = ends[:, :1], ends[:, -1:]
        times = times.expand(ends.shape[0], -1)
        slack = 1e-12 * (last - first)  # times computed by the caller in another order of rounding
        outside = ~((times >= first - slack) & (times <= last + slack))
        if bool(outside.any()):
            b, i = outside.nonzero()[0].tolist()
            raise ProblemError(
                f"t = {float(times[b, i]):g} lies outside of the horizon, {float(first[b]):g} to {float(last[b]):g}; "
                "a solution is not extrapolated"
            )
        return times.clamp(first, last), tuple(given.shape[-1:])

    def _scaled(self, times: Tensor) -> Tensor:
        """tau (B, T)."""
        ends = self.batched().time.double()
        return ((times - ends[:, :1]) / (ends[:, -1:] - ends[:, :1])).clamp(0.0, 1.0)

    def _shaped(self, values: Tensor, shape: Sequence[int]) -> Tensor:
        """(B, T, n) with T as the caller gave it, and without B for a single problem."""
        values = values if shape else values.squeeze(1)
        return values if self.batch is not None else values.squeeze(0)

    def _hermite(self, t: Any, values: Tensor, slopes: Tensor) -> Tensor:
        """h00 v_k + h01 v_{k+1} + h (h10 s_k + h11 s_{k+1}) with s in [0, 1] on step k."""
        times, shape = self._inside(t)
        if self.batch is None:
            values, slopes = values.unsqueeze(0), slopes.unsqueeze(0)
        nodes = self.control.grid.nodes.to(times)
        tau = self._scaled(times)
        k = (torch.searchsorted(nodes, tau.contiguous(), right=True) - 1).clamp(0, self.steps - 1)  # (B, T)
        s = ((tau - nodes[k]) / (nodes[k + 1] - nodes[k])).unsqueeze(-1).to(values.dtype)
        ends = self.batched().time.double()
        h = ((nodes[k + 1] - nodes[k]) * (ends[:, -1:] - ends[:, :1])).unsqueeze(-1).to(values.dtype)
        rows = torch.arange(values.shape[0], device=values.device).unsqueeze(-1)
        left, right, slope = values[rows, k], values[rows, k + 1], slopes[rows, k]
        cubic = (1 + 2 * s) * (1 - s) ** 2 * left + s**2 * (3 - 2 * s) * right
        return self._shaped(cubic + h * s * (1 - s) * ((1 - s) * slope[..., 0, :] - s * slope[..., 1, :]), shape)


def ends_of_steps(values: Tensor, steps: int) -> Tensor:
    """(B, N, 2, k) values at the begin and the end of each step, from rows on nodes (N + 1) or on steps (N)."""
    if values.shape[1] == steps:
        return torch.stack((values, values), 2)
    return torch.stack((values[:, :-1], values[:, 1:]), 2)


def mean_of_jumps(costate: Tensor, push: Tensor, grid: TimeGrid, duration: Tensor) -> Tensor:
    """p (B, N+1, n) at the nodes, in the middle of the jumps that the multipliers `push` of constraints on the state,
    for each unit of time, make in it there. duration: (B,)."""
    mass = grid.basis_mass("linear").to(push)
    return costate - (mass * duration[:, None])[..., None] * push / 2
