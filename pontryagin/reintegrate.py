"""The state equation of a control found, integrated again: every step for itself, and all of them at once.

A step of the grid is a flow x_{k+1} = phi_k(x_k) with a cost l_k(x_k), computed here by a Runge-Kutta method of order 5
in several parts. The flows of all N steps and B problems are one batch of calls of the user's functions, whatever
backend found the answer. What belongs together is put together by Newton's method on the nodes,

    e_{k+1} = Phi_k e_k + phi_k(x_k) - x_{k+1},    x_k <- x_k + e_k,    Phi_k = phi_kx

which from a good answer ends after two iterations with the trajectory that step after step would have given. The same
derivatives give the costates and the gradient of J + nu.e by p_k = Phi_k' p_{k+1} + l_kx,
and + w mu c_kx where there are path constraints.
(Multiple shooting: Bock & Plitt, A multiple shooting algorithm for direct solution of optimal control problems, 1984.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pontryagin import pointwise
from pontryagin.control import Control
from pontryagin.instances import Instances
from pontryagin.pointwise import Points
from pontryagin.tableau import Tableau

#: Newton iterations at most; an answer that needs more is none.
ITERATIONS = 8

#: Newton ends where no node moves by more, relative to its size.
SETTLED = 1e-12

#: Moves that are larger in the end are those of an answer that is none; smaller ones may be rounding.
UNSETTLED = 1e-9


@dataclass(frozen=True)
class Reintegration:
    """The trajectory of a control, from B initial states."""

    parts: int  # of every step
    state: Tensor  # (B, N+1, n)
    cost: Tensor  # (B,) int L dt
    costate: Tensor  # (B, N+1, n) of J + nu.e
    end: pointwise.End
    control_derivative: Tensor  # (B, K, m) of J + nu.e, the plain one


@dataclass(frozen=True)
class Linear:
    """Flows, costs and their derivatives at some nodes."""

    next: Tensor  # (B, N, n) phi_k(x_k)
    cost: Tensor  # (B, N) l_k
    by_state: Tensor  # (B, N, n + 1, n) Phi_k, then l_kx
    by_left: Tensor  # (B, N, n + 1, m) in the control at the begin of the step
    by_right: Tensor  # (B, N, n + 1, m) in the control at its end


@dataclass(frozen=True)
class Flows:
    """The flows of all steps. B problems, N steps."""

    instances: Instances
    control: Control  # (B, K, m)
    time: Tensor  # (B, N+1)
    tableau: Tableau
    parts: int

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """The control (B, N, m) at the begin and at the end of each step."""
        values = self.control.values
        return (values, values) if self.control.kind == "constant" else (values[:, :-1], values[:, 1:])

    def run(self, left: Tensor, right: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """phi_k (B, N, n) and l_k (B, N) for controls (B, N, m) at both ends of the steps and states (B, N, n)."""
        begin, h = self.time[:, :-1], self.time.diff(dim=1) / self.parts
        x, cost = state, torch.zeros_like(begin)
        for part in range(self.parts):
            slopes: list[Tensor] = []
            costs: list[Tensor] = []
            for row, c in zip(self.tableau.a, self.tableau.c, strict=True):
                share = (part + c) / self.parts
                stage = x + h[..., None] * weighted(row, slopes, x)
                points = self.points(begin + (part + c) * h, stage, (1 - share) * left + share * right)
                f, running = pointwise.equations(self.instances.problem, points)
                slopes.append(f.reshape(x.shape))
                costs.append(running.reshape(cost.shape))
            x = x + h[..., None] * weighted(self.tableau.b, slopes, x)
            cost = cost + h * weighted(self.tableau.b, costs, cost)
        return x, cost

    def linearise(self, state: Tensor) -> Linear:
        """At nodes (B, N+1, n)."""
        n = state.shape[-1]
        wanted = [part.detach().clone().requires_grad_() for part in (*self.ends, state[:, :-1])]
        with torch.enable_grad():
            after, cost = self.run(*wanted)
        rows = [pointwise.gradients(after[..., i].sum(), wanted, keep=True) for i in range(n)]
        rows.append(pointwise.gradients(cost.sum(), wanted))
        by_left, by_right, by_state = (torch.stack(column, 2) for column in zip(*rows, strict=True))
        return Linear(after.detach(), cost.detach(), by_state, by_left, by_right)

    def points(self, time: Tensor, state: Tensor, control: Tensor) -> Points:
        instances, (batch, steps) = self.instances, time.shape
        data = time.new_empty(batch, steps, 0)
        if instances.data is not None and instances.data.kind == "linear":
            data = instances.data.at(time)
        elif instances.data is not None:  # as every sweep takes them: the mean over each step
            data = instances.data.on_grid(self.time)
        theta = instances.parameters[:, None].expand(batch, steps, -1)
        return Points(*(value.flatten(0, 1) for value in (time, state, control, theta, data.to(state))))


@dataclass(frozen=True)
class Pushes:
    """What constraints at nodes add to the derivatives there: w mu c_x and w mu c_u, with the weight of each node."""

    state: Tensor  # (B, N+1, n)
    control: Tensor  # (B, K, m)


def reintegrate(flows: Flows, state: Tensor, multipliers: Tensor, pushes: Pushes | None = None) -> Reintegration:
    """From the first node of `state` (B, N+1, n), whose other nodes are where Newton's method begins."""
    x, size = state, state.new_full(state.shape[:1], torch.inf)
    for _ in range(ITERATIONS):
        linear = flows.linearise(x)
        moves = _propagated(linear, x)
        x = x + moves
        before, size = size, (moves.abs() / (1 + x.abs().amax(1, keepdim=True))).amax((1, 2))
        moving = size > SETTLED
        if not bool((moving & (size < before)).any()):  # done, or further away
            break
    lost = size > UNSETTLED  # no trajectory is near this one
    x = torch.where(lost[:, None, None], torch.nan, x)
    problem, parameters = flows.instances.problem, flows.instances.parameters
    end = pointwise.end(problem, flows.time[:, -1], x[:, -1], parameters, multipliers)
    costate = [end.by_state if pushes is None else end.by_state + pushes.state[:, -1]]
    for k in reversed(range(linear.next.shape[1])):
        p = torch.cat((costate[-1], torch.ones_like(costate[-1][:, :1])), 1)  # with the weight of the cost
        before = (p[:, None] @ linear.by_state[:, k])[:, 0]
        costate.append(before if pushes is None else before + pushes.state[:, k])
    p = torch.stack(costate[::-1], 1)
    weights = torch.cat((p[:, 1:], torch.ones_like(p[:, 1:, :1])), 2)[:, :, None]  # (B, N, 1, n + 1)
    left, right = ((weights @ part)[:, :, 0] for part in (linear.by_left, linear.by_right))
    if flows.control.kind == "constant":
        derivative = left + right
    else:
        none = torch.zeros_like(left[:, :1])
        derivative = torch.cat((left, none), 1) + torch.cat((none, right), 1)
    if pushes is not None:
        derivative = derivative + pushes.control
    return Reintegration(flows.parts, x, linear.cost.sum(1), p, end, derivative)


def _propagated(linear: Linear, x: Tensor) -> Tensor:
    """e (B, N+1, n) with e_0 = 0."""
    gaps = linear.next - x[:, 1:]
    moves = [torch.zeros_like(x[:, 0])]
    for k in range(gaps.shape[1]):
        moves.append((linear.by_state[:, k, :-1] @ moves[-1][..., None])[..., 0] + gaps[:, k])
    return torch.stack(moves, 1)


def weighted(coefficients: tuple[float, ...], values: list[Tensor], like: Tensor) -> Tensor:
    """sum_j coefficient_j value_j; zero where there is none."""
    total = torch.zeros_like(like)
    for coefficient, value in zip(coefficients, values, strict=True):
        if coefficient != 0.0:
            total = total + coefficient * value
    return total
