"""The extremal of a net: state, costate, Hamiltonian and the gradient in the weights, over time.

    p_k = dJ/dx_k, the costate of the discrete problem,        p(t1) = phi_x
    H = L + p.f at the nodes,        g_k = (dJ/dw_k) / int phi_k dt, the L2 gradient of J in w(t)

J = phi(x(t1)) + int L dt, reduced over the batch. Each sample has its own costate, which carries the factor of the
reduction: with the mean over B samples p is the B-th part of what it is with their sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pontryagin.neural.batch import factor, reduced
from pontryagin.neural.flow import Flow
from pontryagin.neural.path_cost import PathCost
from pontryagin.neural.stage_weights import Weights
from pontryagin.neural.weight_spline import WeightSpline


@dataclass(frozen=True)
class Trajectory:
    """What `ODENet.trajectory` answers, all detached."""

    time: Tensor  # (N+1,) float64
    state: Tensor  # (B, N+1, ...)
    costate: Tensor  # (B, N+1, ...), of the objective as `reduction` says
    hamiltonian: Tensor  # (B, N+1), its L reduced as the objective
    weight_gradient: Mapping[str, Tensor]  # (K, ...) by parameter: the L2 gradient dJ/dw(t) at each basis function
    objective: Tensor  # scalar J
    reduction: str  # "mean" or "sum": whether J, and with it each costate, is divided by B


def trajectory(
    flow: Flow,
    x: Tensor,
    weights: Weights,
    spline: WeightSpline,
    loss: Callable[[Tensor], Tensor] | None,
    reduction: str,
) -> Trajectory:
    """By back-propagation through the unrolled steps, watched at the nodes."""
    nodes: list[Tensor] = []
    scale = factor(reduction, x.shape[0])
    watched = {name: w.detach().requires_grad_() for name, w in weights.items()}

    def watch(k: int, x_k: Tensor) -> Tensor:
        nodes.append(x_k if x_k.requires_grad else x_k.requires_grad_())
        return nodes[-1]

    with torch.inference_mode(False), torch.enable_grad():
        end, cost = flow.unrolled(x.detach().clone(), watched, watch)
        objective = scale * cost.sum()
        if isinstance(flow.running_cost, PathCost):
            by_weights = flow.running_cost.on_weights(watched, spline)
            if by_weights is not None:
                objective = objective + scale * x.shape[0] * by_weights
        if loss is not None:
            objective = objective + reduced(loss(end), x.shape[0], reduction)
        wanted = [*nodes, *watched.values()]
        if objective.requires_grad:
            found = torch.autograd.grad(objective, wanted, materialize_grads=True)
        else:
            found = tuple(torch.zeros_like(one) for one in wanted)
    state, costate = torch.stack(nodes, 1).detach(), torch.stack(found[: len(nodes)], 1)
    return Trajectory(
        torch.tensor(flow.nodes),
        state,
        costate,
        _hamiltonian(flow, state, costate, weights, scale),
        {name: g / _lumped(spline, g) for name, g in zip(watched, found[len(nodes) :], strict=True)},
        objective.detach(),
        reduction,
    )


def _hamiltonian(flow: Flow, state: Tensor, costate: Tensor, weights: Weights, scale: float) -> Tensor:
    """(B, N+1) L + p.f at the nodes; L is scaled as p is."""
    values = []
    with torch.no_grad():
        for k, t in enumerate(flow.nodes.tolist()):
            w = flow.stages.at_node(k).of(weights)
            x, p = state[:, k], costate[:, k]
            f = flow.field(t, x, w)
            H = (p * f).flatten(1).sum(1)
            rate = flow.cost_rate(t, x, f, w)
            if rate is not None:
                H = H + scale * rate
            if isinstance(flow.running_cost, PathCost):
                H = H + scale * _weight_rate(flow.running_cost, w)
            values.append(H)
    return torch.stack(values, 1)


def _weight_rate(cost: PathCost, w: Weights) -> float:
    """decay/2 |w|^2; the smoothness of weights is a cost on their slope, which is no part of H."""
    return 0.5 * cost.decay * sum(float(value.square().sum()) for value in w.values())


def _lumped(spline: WeightSpline, gradient: Tensor) -> Tensor:
    """(K, 1, ...) the integrals of the basis."""
    return torch.from_numpy(spline.integrals).to(gradient).reshape(-1, *[1] * (gradient.dim() - 1))
