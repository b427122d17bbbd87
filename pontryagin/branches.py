"""Of all controls that minimise H at a time, those that make a continuous function of it.

A discretised problem does not see what a control does between two nodes. Where H has several minima in u, an angle and
the same angle after a turn, say, Newton's method may end with one at one node and another one at the next: a local
optimum of the steps, and none of the differential equation, on whatever grid. The minimum principle names the remedy.
With x and p as they are,

    u_k in argmin_U H(t_k, x_k, p_k, .)   with the smallest   sum_k |u_{k+1} - u_k|

is found by dynamic programming over the minima that lead on from controls of the same solution, and is a guess to start
from again. Where H falls by that, the minima are too far from each other for a local method. By the needle variations
of Pontryagin's proof the objective falls, too, where the other control is taken for a short part of the time; many such
parts are a comb.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from pontryagin.control_set import ControlSet
from pontryagin.minimum import lowest
from pontryagin.pointwise import Points, gradients, hamiltonian_value
from pontryagin.problem import Problem

#: Nodes whose controls are tried at all others, and iterations of the search for a minimum from each.
TRIED, ITERATIONS = 8, 12

#: So many jumps of the control are tried everywhere, either way.
JUMPS = 2

#: Teeth of a comb, and the part of the time that they take.
TEETH, PARTS = (2, 4, 8, 16), (0.25, 0.5)

#: By how much H may lie above its least value to count as another minimum, relative.
EQUAL = 1e-6

#: Part of its variation that a control has to lose to be worth another start, or by how much the mean of H has to fall.
CALMER, LOWER = 0.8, 1e-3


def calmer_branches(problem: Problem, points: Points, costate: Tensor) -> Tensor | None:
    """(B, K, m) the control, or another one that minimises H better, or as well and varies much less.

    points: (B, K, ...) at the nodes that belong to the control; costate (B, K, n). None where no problem has such a
    control, and where constraints along the path decide about u.
    """
    if problem.functions.path_constraint is not None:
        return None
    candidates, value, own = _minima(problem, points, costate)
    best = value.amin(2, keepdim=True)
    even = value <= best + EQUAL * (1 + best.abs())
    size = 1 + points.control.abs().amax(1, keepdim=True)  # (B, 1, m)
    chosen = _smoothest(candidates / size[:, None], even)
    picked = candidates.gather(2, chosen[:, :, None, None].expand(-1, -1, 1, candidates.shape[3])).squeeze(2)
    before, after = ((control / size).diff(dim=1).abs().sum((1, 2)) for control in (points.control, picked))
    falls = (own - best[:, :, 0]).mean(1) > LOWER * (1 + best[:, :, 0].abs().mean(1))
    changed = (after < CALMER * before) | falls
    return torch.where(changed[:, None, None], picked, points.control) if bool(changed.any()) else None


def combed(control: Tensor, other: Tensor) -> Tensor:
    """(B, C, K, m) the other control (B, K, m) for parts of the time, in more and more teeth, and for all of it."""
    nodes = control.shape[1]
    phase = torch.tensor(TEETH)[:, None] * torch.arange(nodes) % nodes
    taken = torch.cat([phase < part * nodes for part in PARTS] + [torch.ones(1, nodes, dtype=torch.bool)]).to(
        control.device
    )
    return torch.where(taken[:, :, None], other[:, None], control[:, None])


def _minima(problem: Problem, points: Points, costate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Local minima of H over U (B, K, C, m) from the control, the lowest of a few others and those of other nodes, H
    there (B, K, C), and H of the control (B, K)."""
    batch, nodes, m = points.control.shape
    others = points.control[:, torch.linspace(0, nodes - 1, TRIED).round().long()]
    at_nodes = Points(*(field.flatten(0, 1) for field in points.fields))

    def energy_at_nodes(controls: Tensor) -> Tensor:
        at = (replace(at_nodes, control=control) for control in controls)
        return torch.stack([hamiltonian_value(problem, p, costate.flatten(0, 1)).detach() for p in at])

    low, _ = lowest(energy_at_nodes, problem.control_set, at_nodes.control)
    low = low.reshape(batch, nodes, 1, m)
    everywhere = others[:, None].expand(-1, nodes, -1, -1)
    starts = torch.cat((points.control[:, :, None], low, everywhere, _beyond_jumps(points.control)), 2)
    starts = problem.control_set.project(starts)
    count = starts.shape[2]

    def flat(values: Tensor) -> Tensor:
        return values.repeat_interleave(count, 1).flatten(0, 1)

    t, x, theta, d, p = map(flat, (points.time, points.state, points.parameters, points.data, costate))

    def energy(u: Tensor) -> Tensor:
        return hamiltonian_value(problem, Points(t, x, u, theta, d), p)

    box, u, length = problem.control_set, starts.flatten(0, 2), torch.ones(batch * nodes * count, 1).to(starts)
    value = energy(u)
    own = value.reshape(batch, nodes, count)[:, :, 0]
    for _ in range(ITERATIONS):
        trial = box.project(u + length * _step(box, u, *_derivatives(energy, u)))
        found = energy(trial)
        lower = found < value
        u, value = torch.where(lower[:, None], trial, u), torch.where(lower, found, value)
        length = torch.where(lower[:, None], (2 * length).clamp(max=1), length / 4)
    return u.reshape(batch, nodes, count, m), value.reshape(batch, nodes, count).nan_to_num(torch.inf), own


def _beyond_jumps(u: Tensor) -> Tensor:
    """(B, K, 2 JUMPS, m) the control, moved by its largest jumps from one node to the next: the branch that goes on."""
    change = u.diff(dim=1)
    largest = change.abs().sum(2).topk(min(JUMPS, change.shape[1]), 1).indices
    jumps = change.gather(1, largest[..., None].expand(-1, -1, u.shape[2]))
    return u[:, :, None] + torch.cat((jumps, -jumps), 1)[:, None]


def _derivatives(energy: Callable[[Tensor], Tensor], u: Tensor) -> tuple[Tensor, Tensor]:
    """H_u (P, m) and H_uu (P, m, m), whose rows do not know of each other."""
    u = u.detach().clone().requires_grad_()
    with torch.enable_grad():
        total = energy(u).sum()
        slope = gradients(total, [u], curved=True)[0]
        rows = [gradients(slope[:, j].sum(), [u], keep=True)[0] for j in range(u.shape[1])]
    return slope.detach(), torch.stack(rows, 1)


def _step(box: ControlSet, u: Tensor, slope: Tensor, curvature: Tensor) -> Tensor:
    """Newton's, downhill along every eigenvector, no longer than the bounds are apart or than u is large."""
    curves, axes = torch.linalg.eigh(curvature.nan_to_num(0.0, 0.0, 0.0))  # of problems that are lost
    along = (axes.mT @ slope[..., None]).squeeze(-1) / curves.abs().clamp(min=1e-12)
    step = -(axes @ along[..., None]).squeeze(-1)
    width = (box.high - box.low).to(u)
    longest = torch.where(width.isfinite(), width, 1 + u.abs())
    return torch.minimum(torch.maximum(step, -longest), longest)


def _smoothest(u: Tensor, allowed: Tensor) -> Tensor:
    """(B, K) which of u (B, K, C, m) to take at each node for the smallest sum of changes, among those `allowed`."""
    barred = torch.where(allowed, 0.0, torch.inf).to(u)
    cost, choices = barred[:, 0], []
    for k in range(1, u.shape[1]):
        change = (u[:, k - 1, :, None] - u[:, k, None]).abs().sum(3)  # (B, from, to)
        cost, choice = (cost[:, :, None] + change).min(1)
        cost = cost + barred[:, k]
        choices.append(choice)
    last = cost.argmin(1)
    path = [last]
    for choice in reversed(choices):
        path.append(choice.gather(1, path[-1][:, None]).squeeze(1))
    return torch.stack(path[::-1], 1)
