"""Projected L-BFGS: Newton directions of the limited-memory Hessian B on the variables that no bound holds.

Pairs s = z_new - z, y = g_new - g, scaled to s.y = 1, are the rows of S and Y (M, n). With theta = y.y / s.y of the
last one and L the strictly lower triangle of S Y' (in the order of age),

    B = theta I - [Y' theta S'] [ -I    L'         ]^-1 [ Y       ]
                                [  L    theta S S' ]    [ theta S ]

The bounds that hold are those which the step c = P(z - g / theta) - z runs into: there d = c. On the free rest the
model q(d) = g.d + d.B.d / 2 is minimised, which the formula of Sherman, Morrison and Woodbury turns into a system of
order 2 M for the groups of a batch at once:

    K r = [Y c; S c],    d = c + free (Y' r_1 + S' r_2),    K = [ -theta I - Y_F Y_F'    L' - Y_F S_F' ]
                                                                [  L - S_F Y_F'          S_A S_A'      ]

F the free columns, A the others. P(z + d) - z is the direction where it descends, else c.

Sources: Byrd, Nocedal & Schnabel 1994 (compact form); Byrd, Lu, Nocedal & Zhu 1995 and Morales & Nocedal 2011
(L-BFGS-B and its projected subspace step); Hintermueller, Ito & Kunisch 2002 (the active set of one projected step,
as a semismooth Newton method).
"""

from __future__ import annotations

import torch
from torch import Tensor

from pontryagin.optim.lagrangian import Point
from pontryagin.optim.settings import MethodSettings
from pontryagin.optim.variables import Variables


class LbfgsRule:
    """Directions of projected L-BFGS, for G groups with their own pairs."""

    def __init__(self, variables: Variables, settings: MethodSettings, theta: Tensor) -> None:
        M, n = settings.memory, variables.unit.shape[0]
        self.variables, self.settings = variables, settings
        self.theta = theta  # (G,)
        self.pairs = theta.new_zeros(theta.shape[0], 2 * M, n)  # [Y; S], two rings of M rows, zero while empty
        self.gram = theta.new_zeros(theta.shape[0], 2 * M, 2 * M)  # pairs pairs'
        self.count = torch.zeros(
            theta.shape[0], dtype=torch.long, device=theta.device
        )  # pairs taken in since a restart
        self.signs, self.diagonals = _tables(M, theta)
        self._look_up()

    def direction(self, point: Point) -> Tensor:
        """(G, n) a feasible direction of descent: z + d lies inside the bounds."""
        variables, theta, z = self.variables, self.theta.unsqueeze(1), point.z
        target = z - point.gradient / theta
        bounded = variables.project(target)
        c = bounded - z
        K = self.gram * self.sign
        if variables.bounded:
            held = bounded != target
            active = self.pairs * held.unsqueeze(1)
            K = torch.baddbmm(K, active, active.mT)
        K.diagonal(dim1=1, dim2=2).add_(self.diagonal * theta)
        r = torch.linalg.solve_ex(K, torch.bmm(self.pairs, c.unsqueeze(2)))[0]
        change = torch.bmm(self.pairs.mT, r).squeeze(2)
        if variables.bounded:
            change = change.masked_fill(held, 0.0)
        d = variables.project(bounded + change) - z
        descends = torch.linalg.vecdot(point.gradient, d) <= 1e-3 * torch.linalg.vecdot(point.gradient, c)
        return d if bool(descends.all()) else torch.where(descends.unsqueeze(1), d, c)

    def learn(self, old: Point, new: Point, step: Tensor, accepted: Tensor) -> None:
        """Take in the pair of a step to `new`. A group that stood still, or moved along no curvature, gives none."""
        s, y = new.z - old.z, new.gradient - old.gradient
        sy, ss, yy = torch.linalg.vecdot(s, y), torch.linalg.vecdot(s, s), torch.linalg.vecdot(y, y)
        keep = sy > self.settings.curvature * (ss * yy).sqrt()
        if bool(keep.all()):
            rows = torch.arange(keep.shape[0], device=keep.device)
            self.theta = yy / sy
        else:
            longer = torch.where(accepted & (self.count == 0), self.theta / 4, self.theta)
            self.theta = torch.where(keep, yy / sy, longer)
            rows = keep.nonzero().squeeze(1)
            s, y, sy = s[rows], y[rows], sy[rows]
        M, root = self.settings.memory, sy.rsqrt().unsqueeze(1)
        slot = self.count[rows] % M
        self.pairs[rows, slot] = y * root
        self.pairs[rows, slot + M] = s * root
        self.gram = torch.bmm(self.pairs, self.pairs.mT)
        self.count = self.count + keep
        self._look_up()

    def restart(self, rows: Tensor) -> None:
        """Drop the pairs of the groups `rows`: their function has changed, or a search has failed. Theta stays."""
        self.pairs[rows] = 0.0
        self.gram[rows] = 0.0
        self.count[rows] = 0
        self._look_up()

    def select(self, rows: Tensor) -> None:
        self.theta, self.count = self.theta[rows], self.count[rows]
        self.pairs, self.gram = self.pairs[rows], self.gram[rows]
        self._look_up()

    def _look_up(self) -> None:
        M = self.settings.memory
        self.sign, self.diagonal = self.signs[self.count % M], self.diagonals[self.count.clamp(max=M)]


def _tables(M: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """What K adds to -gram, by the ring's next slot: see the formula above.

    signs (M, 2M, 2M): K = signs * gram where no bound holds; 0 where L, L' or S S' cancels -gram.
    diagonals (M+1, 2M), by the number of pairs: -theta in the rows of Y, one (times theta) in the empty rows of S.
    """
    slot = torch.arange(M, device=like.device)
    age = (slot.unsqueeze(1) - 1 - slot) % M  # (next slot, slot): 0 for the newest pair
    newer = age.unsqueeze(2) < age.unsqueeze(1)  # (next slot, i, j): s_i is newer than y_j, so L has s_i.y_j
    signs = like.new_full((M, 2 * M, 2 * M), -1.0)
    signs[:, M:, :M][newer] = 0.0
    signs[:, :M, M:][newer.mT] = 0.0
    signs[:, M:, M:] = 0.0
    diagonals = like.new_full((M + 1, 2 * M), -1.0)
    diagonals[:, M:] = (slot >= torch.arange(M + 1, device=like.device).unsqueeze(1)).to(like.dtype)
    return signs, diagonals
