"""Multipliers and penalties of the terminal constraints: the outer method around gradient and L-BFGS.

    equality   e = 0:     omega = nu + rho e,            violation |e|
    inequality e <= 0:    omega = max(0, nu + rho e),    violation |max(e, -omega / rho)|

When the inner problem, J_a at fixed (nu, rho), is solved to its tolerance, nu becomes omega; where the violation has
not dropped by `violation_drop`, rho grows instead by `penalty_growth`. Constraint j is measured in units of c_j, the
Euclidean norm of its derivative in the scaled variables at the start, and J in units of sigma, so that the first
penalty is settings.penalty sigma / c_j^2.

Sources: Hestenes 1969, Powell 1969, Rockafellar 1973 (PHR function); Conn, Gould & Toint 1991 (tolerances tied to
the outer iteration); Andreani, Birgin, Martinez & Schuverdt 2007 (safeguards, growth of the penalty).
"""

from __future__ import annotations

import torch
from torch import Tensor

from pontryagin.optim.lagrangian import Lagrangian, Point
from pontryagin.optim.settings import MethodSettings

_FIRST_TOLERANCE = 1e-2  # of the first inner problem


class Multipliers:
    """The outer iteration of G groups, each at its own pace. The values themselves live in the Lagrangian."""

    def __init__(self, settings: MethodSettings, scale: Tensor, sigma: Tensor, floor: Tensor) -> None:
        self.settings = settings
        self.scale = scale  # (G, R) c_j
        self.sigma = sigma  # (G,)
        self.floor = floor  # (R,) smallest omega: -inf for equalities, 0 for inequalities
        self.rounding = 8 * torch.finfo(sigma.dtype).eps
        self.inequality = floor == 0 if bool((floor == 0).any()) else None
        self.unit = (scale / 1000).clamp(1, 1000)  # (G, R) a violation of tolerance * unit is accepted
        self.first_penalty = settings.penalty * sigma.unsqueeze(1) / scale.square()  # (G, R)
        self.tolerance = torch.full_like(sigma, max(_FIRST_TOLERANCE, settings.tolerance))  # (G,) of the inner problem
        self.last = torch.full_like(sigma, torch.inf)  # (G,) violation when the multipliers moved last
        self.count = torch.zeros_like(sigma)  # (G,) iterations since then

    def omega(self, lagrangian: Lagrangian, point: Point) -> Tensor:
        """(G, R) the multipliers with which the plain Lagrangian has the gradient of J_a."""
        if not lagrangian.constrained:
            return lagrangian.nu
        omega = torch.addcmul(lagrangian.nu, lagrangian.rho, point.terminal)
        return omega if self.inequality is None else torch.maximum(omega, self.floor)

    def violation(self, lagrangian: Lagrangian, point: Point, omega: Tensor) -> Tensor:
        """(G,) the largest scaled violation, zero without constraints."""
        e = point.terminal
        if not lagrangian.constrained:
            return torch.zeros_like(point.value)
        if self.inequality is not None:
            e = torch.where(self.inequality, torch.maximum(e, -omega / lagrangian.rho), e)
        return (e / self.unit).abs().amax(1)

    def noise(self, point: Point, omega: Tensor) -> Tensor:
        """(G,) rounding to be expected in J_a: of J, and of constraint values of the size of their scale."""
        size = point.objective.abs()
        if omega.shape[1]:
            size = size + torch.linalg.vecdot(omega.abs(), self.scale)
        return size * self.rounding

    def relative_penalty(self, lagrangian: Lagrangian) -> Tensor:
        """(G,) the largest penalty of a scaled constraint, zero without constraints."""
        if not lagrangian.constrained:
            return torch.zeros_like(self.sigma)
        return (lagrangian.rho / self.first_penalty).amax(1) * self.settings.penalty

    def shift(self, lagrangian: Lagrangian, point: Point, violation: Tensor, due: Tensor) -> Tensor:
        """Move the multipliers of the groups `due` (G,), raise their penalties where the violation has not dropped.

        Returns (G,) the groups whose penalties rose.
        """
        settings = self.settings
        largest = settings.largest_multiplier * self.sigma.unsqueeze(1) / self.scale
        omega = self.omega(lagrangian, point).clamp(-largest, largest)
        stuck = due & (violation > (settings.violation_drop * self.last).clamp(min=settings.tolerance))
        raised = (lagrangian.rho * settings.penalty_growth).minimum(self.first_penalty * settings.largest_penalty)
        lagrangian.nu = torch.where(due.unsqueeze(1), omega, lagrangian.nu)
        lagrangian.rho = torch.where(stuck.unsqueeze(1), raised, lagrangian.rho)
        tighter = (0.1 * self.tolerance).clamp(min=settings.tolerance)
        self.tolerance = torch.where(due, tighter, self.tolerance)
        self.last = torch.where(due, violation, self.last)
        self.count = self.count.masked_fill(due, 0)
        return stuck

    def exhausted(self, lagrangian: Lagrangian) -> Tensor:
        """(G,) groups whose penalties cannot grow any further."""
        return (lagrangian.rho >= self.first_penalty * self.settings.largest_penalty).any(1)

    def select(self, rows: Tensor) -> None:
        for name in ("scale", "sigma", "unit", "first_penalty", "tolerance", "last", "count"):
            setattr(self, name, getattr(self, name)[rows])
