"""What Newton's method found, in tensors and in the order of a Solution: each is made when somebody asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from pontryagin.answer import mean_of_jumps
from pontryagin.backend.linearise import ReferenceShooting
from pontryagin.optim import IterationInfo
from pontryagin.optim.newton import NewtonResult
from pontryagin.problem import Problem
from pontryagin.shooting import Array, Dual, Primal
from pontryagin.status import Status
from pontryagin.time_grid import TimeGrid


@dataclass(frozen=True)
class NewtonAnswer:
    """What Newton's method found for B problems: a point with all its multipliers.

    The fields of a MethodResult, and what else a Solution shows, follow from them without another sweep; each is made
    when somebody asks for it.
    """

    problem: Problem
    like: Tensor  # of the type and on the device that tensors are to have
    shooting: ReferenceShooting
    found: NewtonResult
    fixed_time: Array  # (B,) t1 where it is not free

    def pick(self, rows: Tensor) -> NewtonAnswer:
        """Problems `rows` of these."""
        index = rows.numpy(force=True)
        return replace(
            self, shooting=self.shooting.select(index), found=self.found.rows(index), fixed_time=self.fixed_time[index]
        )

    def joined(self, other: NewtonAnswer) -> NewtonAnswer:
        """These problems, then the others."""
        return replace(
            self,
            shooting=self.shooting.joined(other.shooting),
            found=self.found.joined(other.found),
            fixed_time=np.concatenate((self.fixed_time, other.fixed_time)),
        )

    def ended(self, status: list[Status]) -> NewtonAnswer:
        """The same with these statuses."""
        return replace(self, found=replace(self.found, status=status))

    @property
    def status(self) -> list[Status]:
        return self.found.status

    @property
    def worst(self) -> list[str]:
        """(B) which constraint is violated most."""
        return self.found.worst

    @property
    def history(self) -> Sequence[IterationInfo]:
        return self.found.history

    @property
    def name(self) -> str:
        """Where it ran."""
        return getattr(self.shooting, "backend", "torch")

    @property
    def reason(self) -> str:
        """Why it ran there."""
        return getattr(self.shooting, "reason", "The formulas are evaluated by numpy.")

    @cached_property
    def control(self) -> Tensor:
        """(B, K, m) inside the bounds exactly."""
        control, box = self._tensor(self.shooting.controls(self._point)), self.problem.control_set
        return box.project(control) if box.is_bounded else control

    @cached_property
    def final_time(self) -> Tensor:
        """(B,)"""
        return self._tensor(self._final_time)

    @cached_property
    def multipliers(self) -> Tensor:
        """(B, r) nu of psi, then of gamma."""
        paths = len(self.shooting.equations.path.values)
        gamma = self._mu[:, -1, paths : paths + self.problem.inequality_count]
        return self._tensor(np.concatenate((self.found.warm.end[:, : self.problem.equality_count], gamma), 1))

    @cached_property
    def penalties(self) -> Tensor:
        """(B, r) zero."""
        return torch.zeros_like(self.multipliers)

    @cached_property
    def residual(self) -> Tensor:
        """(B,) scaled dual infeasibility."""
        return self._tensor(self.found.residual)

    @cached_property
    def violation(self) -> Tensor:
        """(B,) scaled primal infeasibility."""
        return self._tensor(self.found.violation)

    @cached_property
    def objective(self) -> Tensor:
        """(B,) of the minimised problem."""
        return self._tensor(self.found.objective)

    @cached_property
    def state(self) -> Tensor:
        """(B, N+1, n)"""
        return self._tensor(self._point.state[..., : self.problem.state_dim])

    @property
    def initial_state(self) -> Tensor:
        """(B, n)"""
        return self.state[:, 0].contiguous()

    @cached_property
    def parameters(self) -> Tensor:
        """(B, q)"""
        return self._tensor(self.shooting.parameters(self._point))

    @cached_property
    def costate(self) -> Tensor:
        """(B, N+1, n)"""
        n = self.problem.state_dim
        return self._tensor(np.concatenate((self._derivatives[1][:, None, :n], self.found.warm.costate[:, 1:, :n]), 1))

    @cached_property
    def control_derivative(self) -> Tensor:
        """(B, K, m) of J + nu.psi + int mu.c, the plain one."""
        return self._tensor(self._derivatives[0])

    @cached_property
    def path_multipliers(self) -> Tensor:
        """(B, N+1, k) mu of the path constraints, per unit of time."""
        return self._tensor(self._mu[..., : len(self.shooting.equations.path.values)] / self._duration)

    @cached_property
    def state_multipliers(self) -> Tensor:
        """(B, N+1, n) of the state bounds, per unit of time: those of high minus those of low."""
        multiplier, n = self.found.warm.multiplier, self.problem.state_dim
        nz = self._point.state.shape[2] + self._point.control.shape[2]
        return self._tensor((multiplier[..., nz : nz + n] - multiplier[..., :n]) / self._duration)

    @cached_property
    def inner_costate(self) -> Tensor:
        """(B, N+1, n) p, the mean of both sides where it jumps at a bound of the state."""
        grid, duration = self.shooting.statement.nodes, self._tensor(self._duration[:, 0, 0])
        return mean_of_jumps(self.costate, self.state_multipliers, TimeGrid(torch.from_numpy(grid)), duration)

    @property
    def last_point(self) -> tuple[Tensor, ...]:
        """The numbers of a Warm, in its order."""
        return tuple(map(torch.from_numpy, self.found.warm.arrays))

    @property
    def _point(self) -> Primal:
        return self.found.warm.primal

    @cached_property
    def _mu(self) -> Array:
        active, multiplier = self.shooting.statement.active, self.found.warm.multiplier
        return np.where(active, multiplier[..., multiplier.shape[2] - active.shape[1] :], 0.0)

    @property
    def _final_time(self) -> Array:
        t1 = self.shooting.final_time(self._point)
        return self.fixed_time if t1 is None else t1

    @property
    def _duration(self) -> Array:
        return (self._final_time - self.problem.t0)[:, None, None]

    @cached_property
    def _derivatives(self) -> tuple[Array, Array]:
        warm = self.found.warm
        with np.errstate(all="ignore"):
            return self.shooting.derivatives(warm.primal, Dual(warm.costate, warm.end, self._mu))

    def _tensor(self, values: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.like)
