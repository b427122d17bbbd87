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
NOISE = 1e-6  # curvature below this part of the least theta is none


class LbfgsRule:
    """Directions of projected L-BFGS, for G groups with their own pairs."""

    def __init__(self, variables: Variables, settings: MethodSettings, theta: Tensor, apart: int) -> None:
        G, M, n = theta.shape[0], settings.memory, variables.unit.shape[0]
        self.variables, self.settings = variables, settings
        self.theta = theta  # (G,)
        self.least = torch.zeros_like(theta)  # (G,) bound of theta at the point
        self.rows = theta.new_zeros(G, 2 * M + apart, n)  # [Y; S; A], two rings of M pairs, zero while empty
        self.count = torch.zeros(G, dtype=torch.long, device=theta.device)  # pairs since a restart
        self.lam = theta.new_zeros(G, apart)  # multipliers that the model predicted last
        self.signs, self.diagonals = _tables(M, apart, theta)

    def direction(self, point: Point, lagrangian: Lagrangian) -> Tensor:
        """(G, n) a feasible direction of descent: z + d lies inside the bounds."""
        M, gradient = self.settings.memory, point.objective_gradient
        if lagrangian.apart:
            self.rows[:, 2 * M :] = point.jacobian
            gradient = torch.baddbmm(gradient.unsqueeze(1), self.lam.unsqueeze(1), point.jacobian).squeeze(1)
        self.least = (gradient * self.variables.unit).abs().amax(1) / LONGEST
        self.theta = self.theta.maximum(self.least)
        signs, diagonal = self.signs[self.count % M], self.diagonals[self.count.clamp(max=M)]
        for _ in range(ATTEMPTS):
            theta = self.theta.unsqueeze(1)
            model = QuadraticModel(self.variables, lagrangian, point, theta, self.rows, signs, diagonal)
            end, lam, settled = model.minimise(self.lam)
            if bool(settled.all()):
                break
            self.theta = torch.where(settled, self.theta, self.theta * RAISE)
        d = end - point.z
        descends = torch.linalg.vecdot(point.gradient, d) < 0
        if bool(descends.all()):
            self.lam = lam
            return d
        if lagrangian.apart:
            self.lam = torch.where(descends.unsqueeze(1), lam, lagrangian.omega(point.terminal))
            theta = theta + torch.linalg.vecdot(lagrangian.rho, point.jacobian.square().sum(2)).unsqueeze(1)
        safe = self.variables.project(point.z - point.gradient / theta) - point.z
        return torch.where(descends.unsqueeze(1), d, safe)

    def learn(self, old: Point, new: Point, step: Tensor, moved: Tensor) -> None:
        """Take in the pair of a step to `new`. A group that stood still, or moved along no curvature, gives none."""
        s, y = new.z - old.z, new.objective_gradient - old.objective_gradient
        if self.lam.shape[1]:
            y = torch.baddbmm(y.unsqueeze(1), self.lam.unsqueeze(1), new.jacobian - old.jacobian).squeeze(1)
        sy, ss, yy = torch.linalg.vecdot(s, y), torch.linalg.vecdot(s, s), torch.linalg.vecdot(y, y)
        keep = sy > (self.settings.curvature * (ss * yy).sqrt()).maximum(NOISE * self.least * ss)
        theta = (yy / sy).sqrt() * (yy / ss) ** 0.25
        if bool(keep.all()):
            self.theta, rows = theta, torch.arange(keep.shape[0], device=keep.device)
        else:
            smaller = torch.where(moved, self.theta / SHRINK, self.theta)
            self.theta, rows = torch.where(keep, theta, smaller), keep.nonzero().squeeze(1)
            s, y, sy = s[rows], y[rows], sy[rows]
        M, root = self.settings.memory, sy.rsqrt().unsqueeze(1)
        slot = self.count[rows] % M
        self.rows[rows, slot] = y * root
        self.rows[rows, slot + M] = s * root
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

    def restart(self, rows: Tensor) -> None:
        """Drop the pairs of the groups `rows`: their function has changed, or a search has failed. Theta stays."""
        self.rows[rows] = 0.0
        self.count[rows] = 0

    def select(self, rows: Tensor) -> None:
        self.theta, self.least, self.count = self.theta[rows], self.least[rows], self.count[rows]
        self.rows, self.lam = self.rows[rows], self.lam[rows]


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
