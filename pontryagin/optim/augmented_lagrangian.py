"""Multipliers and penalties of the terminal constraints: the outer method around gradient and L-BFGS.

    equality   e = 0:     omega = nu + rho e,            violation |e|
    inequality e <= 0:    omega = max(0, nu + rho e),    violation |max(e, -omega / rho)|

The inner method descends on J_a at fixed (nu, rho). When it has solved that to its tolerance, nu moves to omega, or to
the multipliers that the inner method predicts; where the violation has not dropped to `violation_drop` times that of
the last move, rho grows by `penalty_growth`. An inner method that knows the constraints apart moves nu already when
the violation has dropped.

Constraint j is measured in units of c_j, the Euclidean norm of its derivative in the scaled variables at the start,
and J in units of sigma, so that the first penalty is settings.penalty sigma / c_j^2. A violation is compared with the
tolerance as it is; where c_j exceeds 1e5, so that rounding (about 1e-16 c_j) comes near, in units of 1e-5 c_j.

Sources: Hestenes 1969, Powell 1969, Rockafellar 1973 (J_a); Conn, Gould & Toint 1991 (tolerances tied to the outer
iteration); Andreani, Birgin, Martinez & Schuverdt 2007 (safeguards, growth of the penalty); Armand & Omheni 2017
(multipliers that move during the inner iteration).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pontryagin.optim.lagrangian import Lagrangian, Point
from pontryagin.optim.settings import MethodSettings


@dataclass(frozen=True)
class Pace:
    """How the outer iteration goes, by what the inner method makes of a penalty."""

    penalty: float  # factor on the first penalty of the settings
    tolerance: float  # of the first inner problem
    tighten: float  # factor on it whenever one is solved


#: A quasi-Newton model that knows the constraints apart is not hurt by penalties; to others they are curvature.
APART = Pace(penalty=1.0, tolerance=1.0, tighten=0.3)
TOGETHER = Pace(penalty=0.1, tolerance=1e-2, tighten=0.1)
RELAX = 1e-2  # penalties fall again when the violation is below this part of the tolerance: they only add rounding


class Multipliers:
    """The outer iteration of G groups, each at its own pace. The values themselves live in the Lagrangian."""

    def __init__(self, settings: MethodSettings, scale: Tensor, sigma: Tensor, apart: bool) -> None:
        self.settings = settings
        self.scale = scale  # (G, R) c_j
        self.sigma = sigma  # (G,)
        self.pace = APART if apart else TOGETHER
        self.rounding = 8 * torch.finfo(sigma.dtype).eps
        self.unit = (1e-5 * scale).clamp(min=1)  # (G, R) of a violation
        self.first_penalty = settings.penalty * self.pace.penalty * sigma.unsqueeze(1) / scale.square()  # (G, R)
        self.tolerance = torch.full_like(sigma, max(self.pace.tolerance, settings.tolerance))  # (G,) of inner problems
        self.last = torch.full_like(sigma, torch.inf)  # (G,) violation when the multipliers moved last; first, at start
        self.count = torch.zeros_like(sigma)  # (G,) iterations since then

    def violation(self, lagrangian: Lagrangian, point: Point, omega: Tensor) -> Tensor:
        """(G,) the largest scaled violation, zero without constraints."""
        e = point.terminal
        if not lagrangian.constrained:
            return torch.zeros_like(point.value)
        if lagrangian.inequality is not None:
            e = torch.where(lagrangian.inequality, torch.maximum(e, -omega / lagrangian.rho), e)
        return (e / self.unit).abs().amax(1)

    def noise(self, point: Point, omega: Tensor) -> Tensor:
        """(G,) rounding to be expected in J_a: of J, and of constraint values of the size of their scale.

        One is added to |J| as in the residual: what J is a difference of is unknown here.
        """
        size = 1.0 + point.objective.abs()
        if omega.shape[1]:
            size = size + torch.linalg.vecdot(omega.abs(), self.scale)
        return size * self.rounding

    def relative_penalty(self, lagrangian: Lagrangian) -> Tensor:
        """(G,) the largest penalty of a scaled constraint."""
        return (lagrangian.rho / self.first_penalty).amax(1) * (self.settings.penalty * self.pace.penalty)

    def due(self, lagrangian: Lagrangian, violation: Tensor, solved: Tensor) -> bool:
        """Whether `shift` has anything to do."""
        if lagrangian.apart:
            solved = solved | self._dropped(violation) | (violation <= RELAX * self.settings.tolerance)
        return bool(solved.any())

    def _dropped(self, violation: Tensor) -> Tensor:
        """(G,) whether the violation has dropped enough since the multipliers moved last, or is as good as none."""
        return violation <= (self.settings.violation_drop * self.last).clamp(min=self.settings.tolerance)

    def shift(
        self, lagrangian: Lagrangian, predicted: Tensor, violation: Tensor, solved: Tensor, running: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Move the multipliers to `predicted` (G, R) and the penalties, where it is time to.

        `solved` (G,) marks the groups whose inner problem is solved, `running` (G,) those that are not done.
        Returns two masks (G,): the groups whose J_a has changed, and those of them whose penalties rose.
        """
        settings = self.settings
        dropped = self._dropped(violation)
        moved = running & (solved | dropped) if lagrangian.apart else running & solved
        raised = running & solved & ~dropped
        largest = settings.largest_multiplier * self.sigma.unsqueeze(1) / self.scale
        lagrangian.nu = torch.where(moved.unsqueeze(1), predicted.clamp(-largest, largest), lagrangian.nu)
        higher = (lagrangian.rho * settings.penalty_growth).minimum(self.first_penalty * settings.largest_penalty)
        lagrangian.rho = torch.where(raised.unsqueeze(1), higher, lagrangian.rho)
        self.tolerance = torch.where(
            running & solved, (self.pace.tighten * self.tolerance).clamp(min=settings.tolerance), self.tolerance
        )
        self.last = torch.where(moved, violation, self.last)
        self.count = self.count.masked_fill(moved, 0)
        if lagrangian.apart:
            lower = (lagrangian.rho / settings.penalty_growth).maximum(self.first_penalty)
            relaxed = running & (violation <= RELAX * settings.tolerance) & (lower < lagrangian.rho).any(1)
            lagrangian.rho = torch.where(relaxed.unsqueeze(1), lower, lagrangian.rho)
            moved = moved | relaxed
        return moved, raised

    def exhausted(self, lagrangian: Lagrangian) -> Tensor:
        """(G,) groups whose penalties cannot grow any further."""
        return (lagrangian.rho >= self.first_penalty * self.settings.largest_penalty).any(1)

    def select(self, rows: Tensor) -> None:
        for name in ("scale", "sigma", "unit", "first_penalty", "tolerance", "last", "count"):
            setattr(self, name, getattr(self, name)[rows])
