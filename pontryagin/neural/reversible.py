"""Gradients in constant memory: a step that can be undone, and the adjoint equation integrated back.

Reversible (McCallum and Foster, Efficient, accurate and stable gradients for neural ODEs, 2024): with the increment
Psi_h(t, x) of any one-step method and a coupling 0 < l <= 1, from y_0 = z_0 = x_0,

    y_{n+1} = l y_n + (1 - l) z_n + Psi_h(t_n, z_n)          z_n = z_{n+1} + Psi_{-h}(t_{n+1}, y_{n+1})
    z_{n+1} = z_n - Psi_{-h}(t_{n+1}, y_{n+1})               y_n = (y_{n+1} - (1 - l) z_n - Psi_h(t_n, z_n)) / l

The net is y_N: another map than the plain method, of the same order, whose gradient is exact for it. Undoing a step
multiplies rounding of y by 1/l, so that N steps back lose a factor l^{-N}.

Continuous: p' = -L_x - p f_x integrated from t1 back to t0 beside the state, by the same method with the same steps. It
is the derivative of the differential equation, not of the number computed: inexact on every grid.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pontryagin.errors import ProblemError
from pontryagin.neural.field import once_differentiable
from pontryagin.neural.flow import Flow, Point

#: l above: a thousand steps lose a factor of e.
COUPLING = 0.999


def _refuse_others(flow: Flow, x: Tensor, weights: dict[str, Tensor]) -> None:
    """Derivatives reach x and the weights of the field alone; others that are wanted would be lost silently."""
    if not torch.is_grad_enabled():
        return
    t, x, row = float(flow.nodes[0]), x.detach(), flow.stages.rows[flow.rows(0)[0]]
    at = row.of({name: w.detach() for name, w in weights.items()})
    f = flow.field(t, x, at)
    rate = flow.cost_rate(t, x, f, at)
    if f.requires_grad or (rate is not None and rate.requires_grad):
        raise ProblemError(
            "the field or the running cost depends on tensors that require a gradient besides x and the weights of the "
            "field; gradient='reversible' and 'continuous' would lose it. Take 'discrete' or 'checkpoint'"
        )


def reversible(flow: Flow, x: Tensor, weights: dict[str, Tensor]) -> Point:
    """The end of the horizon by reversible steps; exact gradients of it, nothing kept but the end."""
    _refuse_others(flow, x, weights)
    point: Point = _Reversible.apply(flow, tuple(weights), x, *weights.values())  # type: ignore[no-untyped-call]
    return point


def continuous(flow: Flow, x: Tensor, weights: dict[str, Tensor]) -> Point:
    """The end of the horizon by plain steps; gradients by the adjoint equation, nothing kept but the end."""
    _refuse_others(flow, x, weights)
    point: Point = _Continuous.apply(flow, tuple(weights), x, *weights.values())  # type: ignore[no-untyped-call]
    return point


class _Reversible(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, flow: Flow, names: tuple[str, ...], x: Tensor, *weights: Tensor) -> Point:
        at = dict(zip(names, weights, strict=True))
        y, z, cost = x, x, x.new_zeros(x.shape[0])
        for n in range(flow.steps):
            added, spent = flow.increment(n, z, _rows(flow, n, at, back=False))
            y = COUPLING * y + (1 - COUPLING) * z + added
            z = z - flow.increment(n, y, _rows(flow, n, at, back=True), back=True)[0]
            cost = cost if spent is None else cost + spent
        ctx.flow, ctx.names = flow, names
        ctx.save_for_backward(y, z, *weights)
        return y.clone(), cost

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, end: Tensor, cost: Tensor) -> tuple[Tensor | None, ...]:
        flow: Flow = ctx.flow
        y, z, *kept = ctx.saved_tensors
        weights = dict(zip(ctx.names, kept, strict=True))
        gradients = {name: torch.zeros_like(w) for name, w in weights.items()}
        p_y, p_z = end, torch.zeros_like(end)
        for n in reversed(range(flow.steps)):
            # z_{n+1} = z_n - Psi_{-h}(t_{n+1}, y_{n+1})
            added, _, pull = _differentiable(flow, n, y, weights, back=True)
            z = z + added
            p_y = p_y + pull(-p_z, None, gradients)
            # y_{n+1} = l y_n + (1 - l) z_n + Psi_h(t_n, z_n)
            added, spent, pull = _differentiable(flow, n, z, weights, back=False)
            y = (y - (1 - COUPLING) * z - added) / COUPLING
            p_z = p_z + (1 - COUPLING) * p_y + pull(p_y, None if spent is None else cost, gradients)
            p_y = COUPLING * p_y
        return None, None, p_y + p_z, *_wanted(ctx, gradients)


class _Continuous(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, flow: Flow, names: tuple[str, ...], x: Tensor, *weights: Tensor) -> Point:
        end, cost = flow.unrolled(x, dict(zip(names, weights, strict=True)))
        ctx.flow, ctx.names = flow, names
        ctx.save_for_backward(end, *weights)
        return end.clone(), cost

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, end: Tensor, cost: Tensor) -> tuple[Tensor | None, ...]:
        flow: Flow = ctx.flow
        x, *kept = ctx.saved_tensors
        weights = dict(zip(ctx.names, kept, strict=True))
        gradients = {name: torch.zeros_like(w) for name, w in weights.items()}
        p = end
        for n in reversed(range(flow.steps)):
            x, p = _adjoint_step(flow, n, x, p, cost, weights, gradients)
        return None, None, p, *_wanted(ctx, gradients)


def _adjoint_step(
    flow: Flow, n: int, x: Tensor, p: Tensor, cost: Tensor, weights: dict[str, Tensor], gradients: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """x and p at t_n from those at t_{n+1}: a step of length -h; int H_w dt of it is added to the gradients."""
    start, h = float(flow.nodes[n + 1]), float(flow.nodes[n] - flow.nodes[n + 1])
    slopes: list[tuple[Tensor, Tensor]] = []
    x_new, p_new = x, p
    tableau = flow.tableau
    for c, a, b, row in zip(tableau.c, tableau.a, tableau.b, flow.rows(n, back=True), strict=True):
        X, P = x, p
        for a_j, (f_j, g_j) in zip(a, slopes, strict=True):
            X, P = torch.add(X, f_j, alpha=h * a_j), torch.add(P, g_j, alpha=h * a_j)
        with torch.enable_grad():
            X = X.detach().requires_grad_()
            at = _leaves(flow.stages.rows[row].of(weights))
            f = flow.field(start + c * h, X, at)
            rate = flow.cost_rate(start + c * h, X, f, at)
            hamiltonian = (P * f).sum() if rate is None else (P * f).sum() + (cost * rate).sum()
            wanted = [X, *at.values()]
            if hamiltonian.requires_grad:
                H_x, *H_w = torch.autograd.grad(hamiltonian, wanted, materialize_grads=True)
            else:
                H_x, *H_w = (torch.zeros_like(one) for one in wanted)
        slopes.append((f.detach(), -H_x))
        flow.stages.rows[row].add_transpose(gradients, {k: -h * b * g for k, g in zip(at, H_w, strict=True)})
        x_new, p_new = torch.add(x_new, slopes[-1][0], alpha=h * b), torch.add(p_new, slopes[-1][1], alpha=h * b)
    return x_new, p_new


def _rows(flow: Flow, n: int, weights: dict[str, Tensor], *, back: bool) -> dict[int, dict[str, Tensor]]:
    return {row: flow.stages.rows[row].of(weights) for row in set(flow.rows(n, back=back))}


def _leaves(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: w.detach().requires_grad_() for name, w in weights.items()}


def _differentiable(
    flow: Flow, n: int, x: Tensor, weights: dict[str, Tensor], *, back: bool
) -> tuple[Tensor, Any, Any]:
    """The increments of a step, and pull(p, cost, gradients) -> p dPsi/dx, which adds p dPsi/dw to the gradients."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        at = {row: _leaves(w) for row, w in _rows(flow, n, weights, back=back).items()}
        added, spent = flow.increment(n, x, at, back=back)

    def pull(p: Tensor, cost: Tensor | None, gradients: dict[str, Tensor]) -> Tensor:
        outputs, cotangents = [added], [p]
        if cost is not None and spent is not None and spent.requires_grad:
            outputs, cotangents = [added, spent], [p, cost]
        leaves = [leaf for w in at.values() for leaf in w.values()]
        if not any(output.requires_grad for output in outputs):
            return torch.zeros_like(x)
        g_x, *g_w = torch.autograd.grad(outputs, [x, *leaves], cotangents, materialize_grads=True)
        found = iter(g_w)
        for row, w in at.items():
            flow.stages.rows[row].add_transpose(gradients, {name: next(found) for name in w})
        return g_x

    return added.detach(), spent, pull


def _wanted(ctx: Any, gradients: dict[str, Tensor]) -> list[Tensor | None]:
    return [g if wanted else None for g, wanted in zip(gradients.values(), ctx.needs_input_grad[3:], strict=True)]
