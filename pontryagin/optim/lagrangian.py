"""The augmented Lagrangian as a function of the scaled variables: the only caller of sweeps in this package.

    J_a(z) = J + sum_j a_j(e_j),    a_j = nu e + rho/2 e^2                          for psi_j = 0
                                    a_j = (max(0, nu + rho e)^2 - nu^2) / (2 rho)   for gamma_j <= 0

Shapes: G groups of problems (see variables.py), R constraints of a group: r for a problem, B r under a shared control.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pontryagin.optim.variables import Variables
from pontryagin.sweep import Arguments, SweepBackend, SweepResult


@dataclass(slots=True)
class Point:
    """Where G groups stand, with everything that one sweep tells there."""

    z: Tensor  # (G, n)
    value: Tensor  # (G,) J_a
    objective: Tensor  # (G,) J
    terminal: Tensor  # (G, R) e
    gradient: Tensor  # (G, n) of J_a in z

    def select(self, rows: Tensor) -> Point:
        return Point(self.z[rows], self.value[rows], self.objective[rows], self.terminal[rows], self.gradient[rows])

    def merge(self, chosen: Tensor, other: Point) -> Point:
        """The groups of `other` where `chosen` (G,) says so, else those of this point."""
        column = chosen.unsqueeze(1)
        return Point(
            torch.where(column, other.z, self.z),
            torch.where(chosen, other.value, self.value),
            torch.where(chosen, other.objective, self.objective),
            torch.where(column, other.terminal, self.terminal),
            torch.where(column, other.gradient, self.gradient),
        )

    def put(self, rows: Tensor, other: Point) -> Point:
        """This point with the groups `rows` replaced by those of `other`."""
        return Point(
            self.z.index_copy(0, rows, other.z),
            self.value.index_copy(0, rows, other.value),
            self.objective.index_copy(0, rows, other.objective),
            self.terminal.index_copy(0, rows, other.terminal),
            self.gradient.index_copy(0, rows, other.gradient),
        )


class CountingBackend:
    """A backend that counts the problems it has swept."""

    def __init__(self, backend: SweepBackend) -> None:
        self.backend = backend
        self.sweeps = 0

    def evaluate(self, arguments: Arguments, outputs: Set[str]) -> SweepResult:
        self.sweeps += arguments.batch
        return self.backend.evaluate(arguments, outputs)


class Lagrangian:
    """J_a of G groups, with the multipliers nu and penalties rho that they have at the moment."""

    def __init__(
        self, backend: CountingBackend, variables: Variables, start: Arguments, nu: Tensor, rho: Tensor
    ) -> None:
        self.backend, self.variables, self.start = backend, variables, start
        self.nu, self.rho = nu, rho  # (G, R), R = 0 without constraints
        self.constrained = nu.shape[1] > 0
        self.outputs = {"objective", "control_derivative"}
        if self.constrained:
            self.outputs |= {"lagrangian", "terminal"}
        if variables.times:
            self.outputs.add("final_time_derivative")

    def select(self, rows: Tensor) -> Lagrangian:
        """The groups `rows` alone, repeated where a row is. A shared control is one group, and stays as it is."""
        if self.variables.shared:
            return self
        return Lagrangian(
            self.backend, self.variables, select_problems(self.start, rows), self.nu[rows], self.rho[rows]
        )

    def evaluate(self, z: Tensor) -> Point:
        """J_a, e and the gradient at z (G, n): one sweep of each problem."""
        arguments = self._arguments(z)
        r = self.backend.evaluate(arguments, self.outputs)
        assert r.objective is not None and r.control_derivative is not None
        gradient = self.variables.gradient(r.control_derivative, r.final_time_derivative, arguments.final_time)
        objective = self._sum(r.objective)
        if not self.constrained:
            return Point(z, objective, objective, self.nu, gradient)
        assert r.lagrangian is not None and r.terminal is not None
        return Point(z, self._sum(r.lagrangian), objective, r.terminal.reshape(self.nu.shape), gradient)

    def rollouts(self, z: Tensor) -> Tensor:
        """J_a (G, T) at T candidates z (G, T, n): the state equation alone, all in one batch of G T problems."""
        groups, trials, n = z.shape
        if self.variables.shared:  # the batch is as wide as it gets: one candidate after the other
            return torch.stack([self._value(z[:, t]) for t in range(trials)], 1)
        rows = torch.arange(groups, device=z.device).repeat_interleave(trials)
        return self.select(rows)._value(z.reshape(-1, n)).view(groups, trials)

    def objectives(self, z: Tensor) -> Tensor:
        """J (B,) of each problem at z (G, n), also under a shared control."""
        objective = self.backend.evaluate(self._arguments(z), {"objective"}).objective
        assert objective is not None
        return objective

    def constraint_norms(self, z: Tensor) -> Tensor:
        """(G, R) Euclidean norms of the derivatives of the constraints in z: r sweeps of each problem."""
        start, variables = self.start, self.variables
        batch, r = start.batch, self.nu.numel() // start.batch
        rows = torch.arange(batch, device=z.device).repeat_interleave(r)
        plain = replace(self._arguments(z), multipliers=None, penalties=None)
        if variables.shared:  # one row for each constraint of each problem, so the control must be apart as well
            plain = replace(plain, control=plain.control.expand(batch, -1, -1))
        one_each = replace(
            select_problems(plain, rows),
            multipliers=torch.eye(r, dtype=z.dtype, device=z.device).repeat(batch, 1),
            objective_cotangent=z.new_zeros(batch * r),
        )
        result = self.backend.evaluate(one_each, self.outputs - {"objective", "lagrangian", "terminal"})
        assert result.control_derivative is not None
        squares = (result.control_derivative.reshape(batch * r, -1) * variables.weight).square().sum(1)
        if result.final_time_derivative is not None:
            squares = squares + (result.final_time_derivative * (one_each.final_time - variables.t0)).square()
        return squares.sqrt().view(self.nu.shape)

    def _arguments(self, z: Tensor) -> Arguments:
        start, shape = self.start, (self.start.batch, -1)
        return Arguments(
            control=self.variables.control(z),
            initial_state=start.initial_state,
            final_time=self.variables.final_time(z) if self.variables.times else start.final_time,
            parameters=start.parameters,
            data=start.data,
            multipliers=self.nu.view(shape) if self.constrained else None,
            penalties=self.rho.view(shape) if self.constrained else None,
        )

    def _value(self, z: Tensor) -> Tensor:
        """J_a (G,) at z (G, n), by one rollout of each problem."""
        r = self.backend.evaluate(self._arguments(z), {"lagrangian" if self.constrained else "objective"})
        value = r.lagrangian if self.constrained else r.objective
        assert value is not None
        return self._sum(value)

    def _sum(self, value: Tensor) -> Tensor:
        """(B,) -> (G,), the sum over the batch under a shared control."""
        return value.sum(0, keepdim=True) if self.variables.shared else value


def select_problems(arguments: Arguments, rows: Tensor) -> Arguments:
    """The problems `rows` of a batch; what the batch shares stays shared."""
    a = arguments
    return replace(
        a,
        control=a.control[rows] if a.control.dim() == 3 else a.control,
        initial_state=a.initial_state[rows],
        final_time=a.final_time[rows],
        parameters=a.parameters[rows],
        data=a.data[rows] if a.data is not None and a.data.dim() == 3 else a.data,
        multipliers=None if a.multipliers is None else a.multipliers[rows],
        penalties=None if a.penalties is None else a.penalties[rows],
    )
