"""The functions of a problem at many points at once: what a solution and its verification need beside sweeps.

Independent of every backend: the functions are called as they were written, under torch.vmap, or one point after the
other where vmap refuses them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pontryagin.problem import Problem


@dataclass(frozen=True)
class Points:
    """P points (t, x, u, theta, d), one a row."""

    time: Tensor  # (P,)
    state: Tensor  # (P, n)
    control: Tensor  # (P, m)
    parameters: Tensor  # (P, q)
    data: Tensor  # (P, nd)

    def __getitem__(self, rows: Tensor | slice) -> Points:
        return Points(*(field[rows] for field in self.fields))

    @property
    def fields(self) -> tuple[Tensor, ...]:
        return self.time, self.state, self.control, self.parameters, self.data


@dataclass(frozen=True)
class Hamiltonian:
    """H = L + p.f and its derivatives at P points."""

    value: Tensor  # (P,)
    by_time: Tensor  # (P,) H_t
    by_state: Tensor  # (P, n) H_x
    by_control: Tensor  # (P, m) H_u


@dataclass(frozen=True)
class End:
    """phi + nu.e at t1 and its derivatives in t1 and x(t1), for B problems."""

    cost: Tensor  # (B,) phi
    constraints: Tensor  # (B, r) e = (psi, gamma)
    by_time: Tensor  # (B,) phi_t + nu.e_t
    by_state: Tensor  # (B, n) phi_x + nu.e_x


def equations(problem: Problem, points: Points) -> tuple[Tensor, Tensor]:
    """f (P, n) and L (P,), in the autograd graph of the points."""
    functions = problem.functions
    return _rows(functions.dynamics, *points.fields), _rows(functions.running_cost, *points.fields)


def hamiltonian(problem: Problem, points: Points, costate: Tensor) -> Hamiltonian:
    """H, H_t, H_x and H_u for costates p (P, n)."""
    wanted = [field.detach().clone().requires_grad_() for field in points.fields[:3]]
    with torch.enable_grad():
        value = hamiltonian_value(problem, Points(*wanted, *points.fields[3:]), costate)
    by_time, by_state, by_control = gradients(value.sum(), wanted)
    return Hamiltonian(value.detach(), by_time, by_state, by_control)


def hamiltonian_value(problem: Problem, points: Points, costate: Tensor) -> Tensor:
    """H = L + p.f (P,) alone."""
    f, cost = equations(problem, points)
    return cost + (costate * f).sum(-1)


def path(problem: Problem, points: Points, multipliers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """c (P, k) of the path constraints, and mu.c_x (P, n) and mu.c_u (P, m) for multipliers (P, k)."""
    function = problem.functions.path_constraint
    assert function is not None
    wanted = [field.detach().clone().requires_grad_() for field in points.fields[1:3]]
    with torch.enable_grad():
        values = _rows(function, points.time, *wanted, *points.fields[3:])
    by_state, by_control = gradients((multipliers * values).sum(), wanted)
    return values.detach(), by_state, by_control


def initial_cost(problem: Problem, state: Tensor, parameters: Tensor) -> Tensor:
    """(B,) the cost of the initial states (B, n)."""
    return _rows(problem.functions.initial_cost, state, parameters).detach()


def end(problem: Problem, time: Tensor, state: Tensor, parameters: Tensor, multipliers: Tensor) -> End:
    """The terminal functions at t1 (B,), x (B, n) with multipliers nu (B, r)."""
    functions = problem.functions
    time, state = (value.detach().clone().requires_grad_() for value in (time, state))
    with torch.enable_grad():
        equality = _rows(functions.terminal_equality, time, state, parameters)
        inequality = _rows(functions.terminal_inequality, time, state, parameters)
        constraints = torch.cat((equality, inequality), -1)
        cost = _rows(functions.terminal_cost, time, state, parameters)
        total = cost.sum() + (multipliers * constraints).sum()
    by_time, by_state = gradients(total, [time, state])
    return End(cost.detach(), constraints.detach(), by_time, by_state)


def gradients(total: Tensor, wanted: list[Tensor], keep: bool = False, curved: bool = False) -> tuple[Tensor, ...]:
    """Derivatives of a scalar, zero where it is not reached; `keep` its graph for another call, `curved` to be derived
    themselves."""
    if not total.requires_grad:
        return tuple(torch.zeros_like(value) for value in wanted)
    return torch.autograd.grad(
        total, wanted, retain_graph=keep or curved, create_graph=curved, allow_unused=True, materialize_grads=True
    )


def _rows(function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    """A function of one sample at every row of its arguments."""
    try:
        return torch.vmap(function)(*arguments)
    except Exception:  # vmap refuses with many types; a mistake in the function itself is raised again below
        return torch.stack([function(*sample) for sample in zip(*(a.unbind(0) for a in arguments), strict=True)])
