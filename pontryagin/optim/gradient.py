"""Gradient directions d = P(z - g / theta) - z, and how theta, the inverse of the step length eta, goes on.

    fixed               eta of the settings, u <- P_U(u - eta H_u) in the units of the caller
    armijo              eta grows by two after a full step, and shrinks to what the line search accepted
    barzilai_borwein    1/eta = s.y / s.s and y.y / s.y by turns, s = z_new - z, y = g_new - g

Sources: Barzilai & Borwein 1988; Birgin, Martinez & Raydan 2000 (spectral projected gradient); Dai & Fletcher 2005
(alternating steps with bounds); Bertsekas 1999, section 2.3 (feasible directions).
"""

from __future__ import annotations

import torch
from torch import Tensor

from pontryagin.optim.lagrangian import Lagrangian, Point
from pontryagin.optim.settings import MethodSettings
from pontryagin.optim.variables import Variables


class GradientRule:
    """Directions of the projected gradient, for G groups with their own theta."""

    def __init__(self, variables: Variables, settings: MethodSettings, theta: Tensor, lam: Tensor) -> None:
        self.variables, self.settings = variables, settings
        self.theta = theta  # (G,)
        self.even = torch.zeros_like(theta, dtype=torch.bool)  # (G,) which of the two spectral steps is next

    def direction(self, point: Point, lagrangian: Lagrangian) -> Tensor:
        """(G, n) a feasible direction of descent: z + d lies inside the bounds."""
        target = point.z - point.gradient / self.theta.unsqueeze(1)
        return self.variables.project(target) - point.z

    def learn(self, old: Point, new: Point, step: Tensor, accepted: Tensor) -> None:
        """Take in a step to `new`, `step` times the direction, where it was accepted."""
        rule = self.settings.step_rule
        if rule == "fixed":
            return
        if rule == "armijo":
            theta = torch.where(step >= 1.0, self.theta / 2, self.theta / step)
        else:
            s, y = new.z - old.z, new.gradient - old.gradient
            sy, ss, yy = (s * y).sum(1), (s * s).sum(1), (y * y).sum(1)
            theta = torch.where(self.even, yy / sy, sy / ss)
            # No curvature along s: a longer step next time.
            theta = torch.where(sy > self.settings.curvature * (ss * yy).sqrt(), theta, self.theta / 4)
            self.even = self.even ^ accepted
        theta = theta.clamp(1 / self.settings.largest_step, 1 / self.settings.smallest_step)
        self.theta = torch.where(accepted, theta, self.theta)

    def predicted(self, lagrangian: Lagrangian, point: Point, step: Tensor) -> Tensor:
        """(G, R) multipliers at the point that a step led to."""
        return lagrangian.omega(point.terminal)

    def restart(self, which: Tensor) -> None:
        """Forget what was learnt of the groups `which`. Nothing but theta is, and theta adapts by itself."""

    def select(self, rows: Tensor) -> None:
        self.theta, self.even = self.theta[rows], self.even[rows]
