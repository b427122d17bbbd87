"""Projected L-BFGS: directions to the minimum of a limited-memory model within the bounds.

The model (quadratic_model.py) takes terminal constraints in with their Jacobian, where the Lagrangian knows it. Its
minimum is the direction where it descends, else a plain projected gradient step.

B starts from theta I, theta = (y.y / s.y)^(3/4) (s.y / s.s)^(1/4) of the last pair: between the largest and a mean
curvature. It grows while the active sets of the model do not settle, falls after steps along no curvature, as in
bang-bang problems, and keeps every gradient step below `LONGEST` scales of the control.

Sources: Byrd, Lu, Nocedal & Zhu 1995 (L-BFGS-B); Morales & Nocedal 2011 (projected subspace step).
"""

from __future__ import annotations

import torch
from torch import Tensor

from pontryagin.optim.lagrangian import Lagrangian, Point
from pontryagin.optim.quadratic_model import QuadraticModel
from pontryagin.optim.settings import MethodSettings
from pontryagin.optim.variables import Variables

LONGEST = 100.0  # gradient step, in scales of the control
RAISE, ATTEMPTS = 5.0, 4  # of theta for one direction
SHRINK = 2.0  # of theta after a step along no curvature
SLICE = 64  # groups whose models a processor minimises together: more would not fit into its cache
NOISE = 1e-6  # curvature below this part of the least theta is none


class LbfgsRule:
    """Directions of projected L-BFGS, for G groups with their own pairs."""

    def __init__(self, variables: Variables, settings: MethodSettings, theta: Tensor, lam: Tensor) -> None:
        G, M, n, apart = theta.shape[0], settings.memory, variables.unit.shape[0], lam.shape[1]
        self.variables, self.settings = variables, settings
        self.theta = theta.clone()  # (G,)
        self.least = torch.zeros_like(theta)  # (G,) bound of theta at the point
        self.rows = theta.new_zeros(G, 2 * M + apart, n)  # [Y; S; A], two rings of M pairs, zero while empty
        self.gram = theta.new_zeros(G, 2 * M + apart, 2 * M + apart)  # rows rows'
        self.count = torch.zeros(G, dtype=torch.long, device=theta.device)  # pairs since a restart
        self.lam = lam  # (G, R) multipliers that the model predicted last, at first those of the start
        self.signs, self.diagonals = _tables(M, apart, theta)

    def direction(self, point: Point, lagrangian: Lagrangian) -> Tensor:
        """(G, n) a feasible direction of descent: z + d lies inside the bounds."""
        gradient, W = point.objective_gradient, 2 * self.settings.memory
        offset = rho = self.lam
        if lagrangian.apart:
            A, rho = point.jacobian, lagrangian.rho
            offset = point.terminal + lagrangian.nu / rho
            gradient = torch.baddbmm(gradient.unsqueeze(1), self.lam.unsqueeze(1), A).squeeze(1)
            self.rows[:, W:] = A
            self.gram[:, W:] = torch.bmm(A, self.rows.mT)
            self.gram[:, :W, W:] = self.gram[:, W:, :W].mT
        self.least = (gradient * self.variables.unit).abs().amax(1) / LONGEST
        self.theta = self.theta.maximum(self.least)
        inequality = lagrangian.inequality if lagrangian.apart else None
        groups = point.z.shape[0]
        length = SLICE if point.z.device.type == "cpu" else groups
        parts = [self._minimise(slice(k, k + length), point, inequality, offset, rho) for k in range(0, groups, length)]
        d, lam = parts[0] if len(parts) == 1 else (torch.cat(part) for part in zip(*parts, strict=True))
        descends = torch.linalg.vecdot(point.gradient, d) < 0
        if self.settings.asks and bool(descends.all()):
            self.lam = lam
            return d
        theta = self.theta
        if lagrangian.apart:
            self.lam = torch.where(descends.unsqueeze(1), lam, lagrangian.omega(point.terminal))
            theta = theta + torch.linalg.vecdot(rho, point.jacobian.square().sum(2))
        safe = self.variables.project(point.z - point.gradient / theta.unsqueeze(1)) - point.z
        return torch.where(descends.unsqueeze(1), d, safe)

    def _minimise(
        self, part: slice, point: Point, inequality: Tensor | None, offset: Tensor, rho: Tensor
    ) -> tuple[Tensor, Tensor]:
        """d (G, n) and lam (G, R) of the models of some groups; raises theta until the active sets settle."""
        M, z, count, asks = self.settings.memory, point.z[part], self.count[part], self.settings.asks
        signs, diagonal = self.signs[count % M], self.diagonals[count.clamp(max=M)]
        for _ in range(ATTEMPTS if asks else 1):
            model = QuadraticModel(
                self.variables, inequality, z, point.objective_gradient[part], offset[part], rho[part],
                self.theta[part], self.rows[part], self.gram[part], signs, diagonal,
            )  # fmt: skip
            end, lam, settled = model.minimise(self.lam[part], asks)
            if settled is None:
                break
            self.theta[part] = torch.where(settled, self.theta[part], self.theta[part] * RAISE)
        return end - z, lam

    def learn(self, old: Point, new: Point, step: Tensor, moved: Tensor) -> None:
        """Take in the pair of a step to `new`. A group that stood still, or moved along no curvature, gives none."""
        M, W, asks = self.settings.memory, 2 * self.settings.memory, self.settings.asks
        s, y = new.z - old.z, new.objective_gradient - old.objective_gradient
        if self.lam.shape[1]:
            y = torch.baddbmm(y.unsqueeze(1), self.lam.unsqueeze(1), new.jacobian - old.jacobian).squeeze(1)
        sy, ss, yy = torch.linalg.vecdot(s, y), torch.linalg.vecdot(s, s), torch.linalg.vecdot(y, y)
        keep = sy > (self.settings.curvature * (ss * yy).sqrt()).maximum(NOISE * self.least * ss)
        theta = (yy / sy).sqrt() * (yy / ss) ** 0.25
        V, rows = self.rows, torch.arange(keep.shape[0], device=keep.device)
        if asks and bool(keep.all()):
            self.theta = theta
        else:
            self.theta = torch.where(keep, theta, torch.where(moved, self.theta / SHRINK, self.theta))
            if asks:
                rows = rows[keep]
                s, y, sy, V = s[rows], y[rows], sy[rows], V[rows]
        pair = torch.stack([y, s], 1) * sy.rsqrt().view(-1, 1, 1)
        first = self.count[rows] % M
        places = torch.stack([first, first + M], 1)  # of y and s
        index = places.unsqueeze(2).expand_as(pair)
        if not asks:  # what gives no pair writes the one that is there
            pair = torch.where(keep.view(-1, 1, 1), pair, V.gather(1, index))
        V.scatter_(1, index, pair)
        products = torch.bmm(pair, V[:, :W].mT)  # (g, 2, 2M)
        if V is not self.rows:
            self.rows[rows] = V
        each = rows.unsqueeze(1)
        self.gram[each, places, :W] = products
        self.gram[each, :W, places] = products
        self.count = self.count + keep

    def predicted(self, lagrangian: Lagrangian, point: Point, step: Tensor) -> Tensor:
        """(G, R) multipliers at the point that a step led to: those of the model after a full step, else omega."""
        omega = lagrangian.omega(point.terminal)
        if not lagrangian.apart:
            return omega
        lam = self.lam
        if lagrangian.inequality is not None:
            lam = torch.where(lagrangian.inequality, lam.clamp(min=0.0), lam)
        return torch.where((step == 1.0).unsqueeze(1), lam, omega)

    def restart(self, which: Tensor) -> None:
        """Drop the pairs of the groups `which` (G,): their function has changed, or a search failed. Theta stays."""
        self.rows.masked_fill_(which.view(-1, 1, 1), 0.0)
        self.gram.masked_fill_(which.view(-1, 1, 1), 0.0)
        self.count = self.count.masked_fill(which, 0)

    def select(self, rows: Tensor) -> None:
        self.theta, self.least, self.count = self.theta[rows], self.least[rows], self.count[rows]
        self.rows, self.gram, self.lam = self.rows[rows], self.gram[rows], self.lam[rows]


def _tables(M: int, apart: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """How K comes from V V', by the ring's next slot; see QuadraticModel.

    signs (M, 2M + R, 2M + R): -1, or 0 where L, L' or S S' cancels the product.
    diagonals (M + 1, 2M + R), by the number of pairs: -1 for Y, 1 for the empty rows of S, else K is singular.
    """
    slot, W = torch.arange(M, device=like.device), 2 * M
    age = (slot.unsqueeze(1) - 1 - slot) % M  # (next slot, slot): 0 for the newest pair
    newer = age.unsqueeze(2) < age.unsqueeze(1)  # (next slot, i, j): s_i is newer than y_j, so L has s_i.y_j
    signs = like.new_full((M, W + apart, W + apart), -1.0)
    signs[:, M:W, :M][newer] = 0.0
    signs[:, :M, M:W][newer.mT] = 0.0
    signs[:, M:W, M:W] = 0.0
    diagonals = like.new_zeros((M + 1, W + apart))
    diagonals[:, :M] = -1.0
    diagonals[:, M:W] = (slot >= torch.arange(M + 1, device=like.device).unsqueeze(1)).to(like.dtype)
    return signs, diagonals
