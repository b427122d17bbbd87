"""The model of the augmented Lagrangian whose minimum is a quasi-Newton step: limited memory, constraints, bounds.

Pairs s = z_new - z, y = difference of the gradients of J + lam.e at fixed lam, scaled to s.y = 1, are the rows of S
and Y (M, n). With a number theta and the strictly lower triangle L of S Y' (in the order of age),

    B = theta I - [Y' theta S'] [ -I    L'         ]^-1 [ Y       ]
                                [  L    theta S S' ]    [ theta S ]

stands for the Hessian of J + lam.e. With the Jacobian A of the constraints the model of J_a is

    m(d) = g.d + d.B d / 2 + sum_j a_j(e + A d)        over  low <= z + d <= high

so that penalties, however large, spoil no curvature. Where the constraints do not come apart, g is the gradient of
J_a and A is empty. Let lam = nu + rho (e + A d) be the multipliers that the model predicts (zero for an inequality
where that is negative), and V = [Y; S; A]. Given the entries that a bound holds (H; there d = c = bound - z, on the
free rest F let c = -g / theta), the minimum is, by the formula of Sherman, Morrison and Woodbury,

    K r = V c + [0; 0; e + nu / rho],    d = c + free V' r,    lam = -theta r_A

        [ -theta I - Y_F Y_F'    L' - Y_F S_F'    -Y_F A_F'               ]
    K = [  L - S_F Y_F'          S_H S_H'         -S_F A_F'               ]
        [ -A_F Y_F'             -A_F S_F'         -A_F A_F' - theta / rho ]

and t = z - g / theta + V' r is z + d on F; on H it is beyond the bound where the multiplier has the right sign. So the
entries of t outside their bounds are held next, and the inequalities with positive lam are live next, until both sets
are the same twice: a semismooth Newton method for the 2 M + R equations

    (K + V V') r - V d(r) - [0; 0; e + nu / rho] = 0,    d(r) = P(z - g / theta + V' r) - z,

which after a few plain steps shortens its steps, so that the size of the left side falls.

Sources: Byrd, Nocedal & Schnabel 1994 (compact form); Hintermueller, Ito & Kunisch 2002 (active sets as a semismooth
Newton method); Tapia 1988 (structured secant updates of an augmented Lagrangian); Armand & Omheni 2017 (theta / rho:
the regularised Newton step of an augmented Lagrangian).
"""

from __future__ import annotations

import torch
from torch import Tensor

from pontryagin.optim.variables import Variables

ACTIVE_SETS = 10  # Newton steps before the sets count as unsettled
PLAIN = 2  # of these, the first that are not shortened
LENGTHS = 8  # step lengths 1, 1/2, 1/4 ... tried at once
UNASKED = 6  # Newton steps where nobody asks whether the sets have settled


class QuadraticModel:
    """m(d) around one point z (G, n), for G groups."""

    def __init__(
        self,
        variables: Variables,
        inequality: Tensor | None,  # (R,) as in the Lagrangian
        z: Tensor,
        gradient: Tensor,  # (G, n) g
        offset: Tensor,  # (G, R) e + nu / rho
        rho: Tensor,  # (G, R)
        theta: Tensor,  # (G,)
        rows: Tensor,  # (G, 2M + R, n) V
        gram: Tensor,  # (G, 2M + R, 2M + R) V V'
        signs: Tensor,  # (G, 2M + R, 2M + R) K = signs * (V V') + diagonal where nothing is held
        diagonal: Tensor,  # (G, 2M + R), in units of theta, zero for the constraints
    ) -> None:
        self.variables, self.z, self.offset, self.rows, self.gram = variables, z, offset, rows, gram
        self.theta = theta.unsqueeze(1)
        self.downhill = gradient / -self.theta  # (G, n) c on the free entries
        self.base = z + self.downhill
        self.constraints = offset.shape[1]
        diagonal = diagonal * self.theta
        if self.constraints:
            diagonal[:, -self.constraints :] = -self.theta / rho
        self.equality = None if inequality is None else ~inequality  # None where no constraint can come and go
        self.K = torch.addcmul(torch.diag_embed(diagonal), gram, signs)

    def minimise(self, lam: Tensor, asks: bool = True) -> tuple[Tensor, Tensor, Tensor | None]:
        """z + d (G, n) inside the bounds, lam (G, R), and which sets have settled (G,), None for all; guesses lam.

        Sets that have settled stay so: without asking, the others only take as many Newton steps as there are.
        """
        if not self.variables.bounded and self.equality is None:
            r = self._newton(self.base, None, None)
            end = torch.baddbmm(self.base.unsqueeze(1), r.unsqueeze(1), self.rows).squeeze(1)
            return end, self._lam(r), None
        r = torch.zeros_like(self.K[:, 0])
        if self.constraints:
            r[:, -self.constraints :] = lam / -self.theta
        end, side = self._end(r)
        live = None if self.equality is None else self.equality | (lam > 0)
        for count in range(ACTIVE_SETS if asks else UNASKED):
            newton = self._newton(end, side, live)
            end, new_side = self._end(newton)
            settled = (new_side == side).all(1)
            new_live = self._live(end)
            if new_live is not None and live is not None:
                settled = settled & (new_live == live).all(1)
            if asks and bool(settled.all()):
                return end, self._lam(newton), None
            if count >= PLAIN:
                newton = self._shortened(r, newton, settled)
                end, new_side = self._end(newton)
                new_live = self._live(end)
            r, side, live = newton, new_side, new_live
        return end, self._lam(r), settled

    def _newton(self, end: Tensor, side: Tensor | None, live: Tensor | None) -> Tensor:
        """r (G, 2M + R), K r = V c + offset, where `side` (G, n) is not zero held at `end`, for live constraints."""
        K, c = self.K, self.downhill
        if side is not None:
            held = side != 0
            fixed = self.rows * held.unsqueeze(1)
            K = torch.baddbmm(K, fixed, fixed.mT)
            c = torch.where(held, end - self.z, c)
        right = torch.bmm(self.rows, c.unsqueeze(2)).squeeze(2)
        if self.constraints:
            right[:, -self.constraints :] += self.offset
        if live is not None:
            mask = torch.ones_like(right)
            mask[:, -self.constraints :] = live.to(mask)
            right = right * mask
            K = K * mask.unsqueeze(1) * mask.unsqueeze(2) + torch.diag_embed(1.0 - mask)
        r: Tensor = torch.linalg.solve_ex(K, right)[0]
        return r

    def _end(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """P(t) (G, n) and the side on which t lies outside the bounds (G, n): -1, 0 or 1."""
        t = torch.baddbmm(self.base.unsqueeze(1), r.unsqueeze(1), self.rows).squeeze(1)
        end = self.variables.project(t)
        return end, (t - end).sign()

    def _live(self, end: Tensor) -> Tensor | None:
        """(G, R) which constraints take part at z + d = `end`: equalities, inequalities with nu + rho (e + A d) > 0."""
        if self.equality is None:
            return None
        A, d = self.rows[:, -self.constraints :], end - self.z
        return self.equality | (self.offset + torch.bmm(A, d.unsqueeze(2)).squeeze(2) > 0)

    def _lam(self, r: Tensor) -> Tensor:
        return r[:, r.shape[1] - self.constraints :] * -self.theta

    def _shortened(self, r: Tensor, newton: Tensor, settled: Tensor) -> Tensor:
        """The best of several points between r and its Newton step, which stays whole where the sets have settled."""
        lengths = 0.5 ** torch.arange(LENGTHS, dtype=r.dtype, device=r.device)
        trials = r.unsqueeze(1) + lengths.unsqueeze(1) * (newton - r).unsqueeze(1)  # (G, T, 2M + R)
        d = self.variables.project(torch.baddbmm(self.base.unsqueeze(1), trials, self.rows)) - self.z.unsqueeze(1)
        left = torch.bmm(trials, self.K + self.gram) - torch.bmm(d, self.rows.mT)
        if self.constraints:
            left[:, :, -self.constraints :] -= self.offset.unsqueeze(1)
        size = self.gram.diagonal(dim1=1, dim2=2).clamp(min=torch.finfo(r.dtype).tiny)
        best = (left.square() / size.unsqueeze(1)).sum(2).nan_to_num(torch.inf).argmin(1)
        best = best.masked_fill(settled, 0)
        return trials.gather(1, best.view(-1, 1, 1).expand(-1, 1, r.shape[1])).squeeze(1)
