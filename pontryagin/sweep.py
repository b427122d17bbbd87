"""The sweep as solvers see it: what it depends on, what it returns, and who can provide it.

A sweep integrates the state equation forward and its exact discrete transpose, the costate equation, backward.
Its numbers are those of the augmented Lagrangian

    J_a = phi(t1, x(t1)) + int L dt + sum_j a_j(e_j),      e = (psi, gamma) at t1,

with a_j(e) = nu e + rho/2 e^2 for a terminal equality psi = 0 and
a_j(e) = (max(0, nu + rho e)^2 - nu^2) / (2 rho) for a terminal inequality gamma <= 0 (nu e where rho = 0).
With nu = rho = 0 it is the objective J itself.

Shapes: batch B, steps N, state n, control m, parameters q, data nd, terminal constraints r, and
K = N values of a constant control or K = N + 1 nodes of a linear one.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

ControlKind = Literal["constant", "linear"]

#: Outputs that need the state equation alone.
FORWARD_OUTPUTS = frozenset({"objective", "lagrangian", "terminal", "state"})
#: Outputs that need the costate equation too.
BACKWARD_OUTPUTS = frozenset(
    {"costate", "control_derivative", "initial_state_derivative", "parameter_derivative", "final_time_derivative"}
)


@dataclass(frozen=True)
class Arguments:
    """Everything that the numbers of a sweep depend on, for a batch of B problems."""

    control: Tensor  # (B, K, m), or (K, m) shared by the batch
    initial_state: Tensor  # (B, n)
    final_time: Tensor  # (B,)
    parameters: Tensor  # (B, q)
    data: Tensor | None = None  # (B, K_d, nd), or (K_d, nd) shared by the batch; K_d = N constant, N + 1 linear
    multipliers: Tensor | None = None  # (B, r) nu; None means zero
    penalties: Tensor | None = None  # (B, r) rho >= 0; None means zero
    objective_cotangent: Tensor | None = None  # (B,) weight of phi + int L in what is differentiated; None means one
    state_cotangent: Tensor | None = None  # (B, N+1, n) added to the costate at every node; None means zero

    @property
    def batch(self) -> int:
        return self.initial_state.shape[0]


@dataclass(frozen=True)
class SweepResult:
    """What was asked for of one sweep; the rest is None. Derivatives are plain ones of J_a, not L2 gradients."""

    objective: Tensor | None = None  # (B,) phi + int L, the minimised J without constraint terms
    lagrangian: Tensor | None = None  # (B,) J_a: what the derivatives differentiate
    terminal: Tensor | None = None  # (B, r) psi, then gamma, at t1
    state: Tensor | None = None  # (B, N+1, n)
    costate: Tensor | None = None  # (B, N+1, n)
    control_derivative: Tensor | None = None  # like control; summed over the batch where the control is shared
    initial_state_derivative: Tensor | None = None  # (B, n) = p_0
    parameter_derivative: Tensor | None = None  # (B, q)
    final_time_derivative: Tensor | None = None  # (B,)


class SweepBackend(Protocol):
    """Sweeps over one problem on one grid with one scheme: the only thing that a method of optimisation sees."""

    name: str
    dtype: torch.dtype
    device: torch.device

    def evaluate(self, arguments: Arguments, outputs: Set[str]) -> SweepResult:
        """Sweep; `outputs` names the fields of the result to fill. Never raises for NaN: it stays visible."""
        ...

    def hamiltonian(
        self, time: Tensor, state: Tensor, costate: Tensor, control: Tensor, parameters: Tensor, data: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """H = L + p.f (P,), H_x (P, n) and H_u (P, m) at P points; time (P,), state (P, n), ... one row a point."""
        ...
