"""The augmented Lagrangian as a function of the scaled variables: the only caller of sweeps in this package.

    J_a(z) = J + sum_j a_j(e_j),    a_j = nu e + rho/2 e^2                          for psi_j = 0
                                    a_j = (max(0, nu + rho e)^2 - nu^2) / (2 rho)   for gamma_j <= 0
    gradient = J_z + sum_j omega_j e_jz,    omega = nu + rho e,  max(0, nu + rho e)

Where the constraints are `apart`, one batch of sweeps with r + 1 different ends gives J_z and every e_jz by itself;
else one sweep gives their sum.

Shapes: G groups of problems (see variables.py), R constraints of a group: r for a problem, B r under a shared control.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from pontryagin.errors import BackendError
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
    objective_gradient: Tensor  # (G, n) of J alone where the constraints are apart, else of J_a
    jacobian: Tensor  # (G, R, n) of e where the constraints are apart, else (G, 0, n)

    def select(self, rows: Tensor) -> Point:
        return Point(*(getattr(self, name)[rows] for name in _FIELDS))

    def merge(self, chosen: Tensor, other: Point) -> Point:
        """The groups of `other` where `chosen` (G,) says so, else those of this point."""
        masks = {1: chosen, 2: chosen[:, None], 3: chosen[:, None, None]}
        pairs = [(getattr(self, name), getattr(other, name)) for name in _FIELDS]
        return Point(*(torch.where(masks[mine.dim()], new, mine) for mine, new in pairs))

    def put(self, rows: Tensor, other: Point) -> Point:
        """This point with the groups `rows` replaced by those of `other`."""
        return Point(*(getattr(self, name).index_copy(0, rows, getattr(other, name)) for name in _FIELDS))


_FIELDS = tuple(field.name for field in fields(Point))


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
        self,
        backend: CountingBackend,
        variables: Variables,
        start: Arguments,
        nu: Tensor,
        rho: Tensor,
        inequality: Tensor | None,
        apart: bool,
    ) -> None:
        self.backend, self.variables, self.start = backend, variables, start
        self.nu, self.rho = nu, rho  # (G, R), R = 0 without constraints
        self.inequality = inequality  # (R,) bool, None where all constraints are equalities
        self.constrained = nu.shape[1] > 0
        self.apart = apart and self.constrained
        self.derivatives = {"control_derivative"} | ({"final_time_derivative"} if variables.times else set())
        self.ends: Arguments | None = None  # every problem once for each end, made at the first sweep

    def select(self, rows: Tensor) -> Lagrangian:
        """The groups `rows` alone, repeated where a row is. A shared control is one group, and stays as it is."""
        if self.variables.shared:
            return self
        start = select_problems(self.start, rows)
        return Lagrangian(
            self.backend, self.variables, start, self.nu[rows], self.rho[rows], self.inequality, self.apart
        )

    def omega(self, terminal: Tensor) -> Tensor:
        """(G, R) the multipliers with which the plain Lagrangian has the gradient of J_a."""
        omega = torch.addcmul(self.nu, self.rho, terminal)
        return omega if self.inequality is None else torch.where(self.inequality, omega.clamp(min=0.0), omega)

    def evaluate(self, z: Tensor) -> Point:
        """J_a, e and the derivatives at z (G, n)."""
        return self._evaluate_apart(z) if self.apart else self._evaluate_sum(z)

    def renew(self, point: Point) -> Point:
        """The same place under the multipliers and penalties of now; sweeps only where it must."""
        if not self.apart:
            return self.evaluate(point.z)
        value, gradient = self._combine(point.objective, point.terminal, point.objective_gradient, point.jacobian)
        return replace(point, value=value, gradient=gradient)

    def rollouts(self, z: Tensor) -> Tensor:
        """J_a (G, T) at T candidates z (G, T, n): the state equation alone, all in one batch of G T problems."""
        groups, trials, n = z.shape
        if self.variables.shared:  # the batch is as wide as it gets: one candidate after the other
            return torch.stack([self._value(z[:, t]) for t in range(trials)], 1)
        rows = torch.arange(groups, device=z.device).repeat_interleave(trials)
        return self.select(rows)._value(z.reshape(-1, n)).view(groups, trials)

    def objectives(self, z: Tensor) -> Tensor:
        """J (B,) of each problem at z (G, n), also under a shared control."""
        return _given(self.backend.evaluate(self._arguments(z), {"objective"}).objective)

    def _evaluate_sum(self, z: Tensor) -> Point:
        """One sweep of each problem."""
        arguments = self._arguments(z)
        values = {"objective", "lagrangian", "terminal"} if self.constrained else {"objective"}
        r = self.backend.evaluate(arguments, self.derivatives | values)
        gradient = self.variables.gradient(_given(r.control_derivative), r.final_time_derivative, arguments.final_time)
        objective = self._sum(_given(r.objective))
        none = gradient.new_empty(gradient.shape[0], 0, gradient.shape[1])
        if not self.constrained:
            return Point(z, objective, objective, self.nu, gradient, gradient, none)
        value, terminal = self._sum(_given(r.lagrangian)), _given(r.terminal).reshape(self.nu.shape)
        return Point(z, value, objective, terminal, gradient, gradient, none)

    def _evaluate_apart(self, z: Tensor) -> Point:
        """r + 1 sweeps of each problem: one ends with phi, the others with one e_j each."""
        variables, groups, ends = self.variables, z.shape[0], self.nu.shape[1] + 1
        if self.ends is None:
            self.ends = _one_row_an_end(self.start, self.nu.shape[1])
        final_time = self.ends.final_time
        if variables.times:
            final_time = variables.final_time(z).repeat_interleave(ends)
        arguments = replace(self.ends, control=variables.control(z).repeat_interleave(ends, 0), final_time=final_time)
        r = self.backend.evaluate(arguments, self.derivatives | {"objective", "terminal"})
        rows = variables.gradient(_given(r.control_derivative), r.final_time_derivative, final_time)
        rows = rows.view(groups, ends, -1)
        objective, terminal = _given(r.objective)[::ends], _given(r.terminal)[::ends]
        value, gradient = self._combine(objective, terminal, rows[:, 0], rows[:, 1:])
        return Point(z, value, objective, terminal, gradient, rows[:, 0], rows[:, 1:])

    def _combine(
        self, objective: Tensor, terminal: Tensor, objective_gradient: Tensor, jacobian: Tensor
    ) -> tuple[Tensor, Tensor]:
        """J_a and its gradient from their parts."""
        omega = self.omega(terminal)
        terms = (self.nu + 0.5 * self.rho * terminal) * terminal
        if self.inequality is not None:
            terms = torch.where(self.inequality & (omega == 0.0), -self.nu.square() / (2.0 * self.rho), terms)
        gradient = torch.baddbmm(objective_gradient.unsqueeze(1), omega.unsqueeze(1), jacobian).squeeze(1)
        return objective + terms.sum(1), gradient

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
        return self._sum(_given(r.lagrangian if self.constrained else r.objective))

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


def _one_row_an_end(start: Arguments, r: int) -> Arguments:
    """Every problem r + 1 times: weight one on J and none on e, then the other way round for each e_j."""
    like, batch = start.initial_state, start.batch
    rows = torch.arange(batch, device=like.device).repeat_interleave(r + 1)
    which = torch.eye(r + 1, dtype=like.dtype, device=like.device).repeat(batch, 1)
    repeated = select_problems(replace(start, multipliers=None, penalties=None), rows)
    return replace(repeated, objective_cotangent=which[:, 0].contiguous(), multipliers=which[:, 1:].contiguous())


def _given(tensor: Tensor | None) -> Tensor:
    """What a backend was asked for."""
    if tensor is None:
        raise BackendError("the backend left out an output that it was asked for")
    return tensor
