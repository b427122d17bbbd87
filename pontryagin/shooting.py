"""Multiple shooting as Newton's method sees it: states at all nodes are unknowns beside the controls.

    minimise   J = sum_k l_k(s_k, v_k) + phi(s_N)
    subject to s_{k+1} = F_k(s_k, v_k),           k = 0..N-1      multipliers p_{k+1}, the costates
               c_k(s_k, v_k) <= 0,                k = 0..N        multipliers w mu_k
               low_k <= (s_k, v_k) <= high_k                      multipliers w zeta_k
               psi(s_N) = 0                                       multipliers nu
               s_0 given where it is not free

The states s hold everything that is carried along: x, the values y of integral constraints, the node value u_k of a
linear control (then v_k = u_{k+1}), optimised parameters and a free t1. So a linear control, parameters, a free final
time and partly free initial states are nothing special. The weights w of the nodes in scaled time sum to one:
multipliers with a weight in front do not depend on the mesh, neither does a barrier that has it.

Arrays are numpy, float64. Batch B, steps N, sizes ns of s, nv of v, nz = ns + nv, rows mi of c and r of psi. At the
last node there is no v: its columns are zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]

Self = TypeVar("Self", bound="Shooting")


@dataclass(frozen=True)
class Primal:
    """The unknowns."""

    state: Array  # (B, N+1, ns) s
    control: Array  # (B, N, nv) v

    @property
    def z(self) -> Array:
        """(B, N+1, nz), with zeros for the v that the last node does not have."""
        batch, _, nv = self.control.shape
        return np.concatenate((self.state, np.concatenate((self.control, np.zeros((batch, 1, nv))), 1)), 2)


@dataclass(frozen=True)
class Dual:
    """The multipliers of the equalities and of c."""

    costate: Array  # (B, N+1, ns) p; p_0 belongs to the initial state
    end: Array  # (B, r) nu
    path: Array  # (B, N+1, mi) mu, without the weight of the node


@dataclass(frozen=True)
class Values:
    """Of one point."""

    cost: Array  # (B,) J
    next: Array  # (B, N, ns) F_k
    path: Array  # (B, N+1, mi) c
    end: Array  # (B, r) psi


@dataclass(frozen=True)
class Linearisation:
    """Values and derivatives of one point."""

    values: Values
    jacobian: Array  # (B, N, ns, nz) F_z
    gradient: Array  # (B, N+1, nz) J_z
    hessian: Array  # (B, N+1, nz, nz) of J + sum p F + sum w mu c + nu psi, w those of path_weights
    path_jacobian: Array  # (B, N+1, mi, nz) c_z
    end_jacobian: Array  # (B, r, ns) psi_s


@dataclass(frozen=True)
class Statement:
    """What stays the same at all points, and for all problems of a batch."""

    nodes: Array  # (N+1,) scaled times
    weights: Array  # (N+1,) w
    bound_weights: Array  # (N+1, nz) w, but one for what is the same at all nodes: parameters and t1
    path_weights: Array  # (N+1, mi) w, but one for constraints that the last node alone has
    free: Mask  # (ns,) components of s_0 that are free
    low: Array  # (N+1, nz) -inf where there is no bound
    high: Array  # (N+1, nz)
    active: Mask  # (N+1, mi) where the rows of c exist
    state_names: tuple[str, ...]  # (ns)
    control_names: tuple[str, ...]  # (nv)
    path_names: tuple[str, ...]  # (mi)
    end_names: tuple[str, ...]  # (r)


class Shooting(Protocol):
    """A batch of problems on one grid; all that the Newton method knows of them."""

    @property
    def statement(self) -> Statement:
        """The same for all problems."""
        ...

    @property
    def initial(self) -> Array:
        """(B, ns) of s_0; what stands in free components means nothing."""
        ...

    def values(self, point: Primal) -> Values:
        """NaN stays visible."""
        ...

    def linearise(self, point: Primal, dual: Dual, weight: Array, exact: bool) -> Linearisation:
        """`weight` (B,) stands before J, here alone; without `exact`, curvature of F, c and psi is left out."""
        ...

    def follow(self, point: Primal, dz: Array, alpha: Array, defect: Array, gain: Array) -> Primal:
        """The nonlinear path along a step dz (B, N+1, nz) of length alpha (B,): from s_0 + alpha ds_0,

            v'_k = v_k + alpha dv_k + K_k (s'_k - s_k - alpha ds_k),    s'_{k+1} = F_k(s'_k, v'_k) - (1 - alpha) d_k

        with the gains K (B, N, nv, ns) of the step and the defects d (B, N, ns) of the point, of which 1 - alpha stays.
        """
        ...

    def select(self: Self, rows: Rows) -> Self:
        """These problems of the batch."""
        ...
