"""The grid of a discretised horizon, on scaled time tau = (t - t0) / (t1 - t0) from 0 to 1.

    t_k = t0 + tau_k (t1 - t0),      h_k = dtau_k (t1 - t0),      dtau_k = tau_{k+1} - tau_k,      k = 0..N-1

Scaled time is what stays fixed when the final time moves. Of a control, value k belongs to interval k ("constant",
K = N values) or to node k ("linear", K = N + 1 values with hat functions as their basis).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pontryagin.errors import ProblemError, unknown_name

CONTROL_KINDS = ("constant", "linear")


@dataclass(frozen=True, eq=False)
class TimeGrid:
    """Nodes tau_0 = 0 < tau_1 < ... < tau_N = 1 of scaled time, float64 (N+1,).

    Raises ProblemError when the nodes do not run strictly upwards from 0 to 1.
    """

    nodes: Tensor

    def __post_init__(self) -> None:
        nodes = torch.as_tensor(self.nodes, dtype=torch.float64).detach().clone()
        if nodes.dim() != 1 or nodes.numel() < 2:
            raise ProblemError(
                f"the nodes of a time grid have shape {tuple(nodes.shape)}; give a list of at least two times"
            )
        if nodes[0] != 0.0 or nodes[-1] != 1.0:
            raise ProblemError(
                f"the nodes of a time grid run from {float(nodes[0]):g} to {float(nodes[-1]):g}; "
                "scaled time runs from exactly 0 to exactly 1"
            )
        steps = nodes.diff()
        if not bool((steps > 0).all()):
            k = int((~(steps > 0)).nonzero()[0])
            raise ProblemError(
                f"nodes {k} and {k + 1} of a time grid are {float(nodes[k]):g} and {float(nodes[k + 1]):g}; "
                "they must increase strictly"
            )
        object.__setattr__(self, "nodes", nodes)

    @classmethod
    def uniform(cls, steps: int) -> TimeGrid:
        """The grid of `steps` equal steps."""
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ProblemError(f"a time grid of {steps!r} steps does not exist; give a whole number from 1")
        return _uniform(steps)

    @cached_property
    def key(self) -> bytes:
        """Grids with the same nodes have the same."""
        return self.nodes.numpy().tobytes()

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """(N+1, 2) of the two ends of a straight line, in its points at the nodes."""
        tau: NDArray[np.float64] = self.nodes.numpy()
        return np.stack((1 - tau, tau), 1)

    @property
    def steps(self) -> int:
        """N."""
        return self.nodes.shape[0] - 1

    @property
    def lengths(self) -> Tensor:
        """dtau_k (N,): the lengths of the steps on scaled time; they sum to 1."""
        return self.nodes.diff()

    def times(self, t0: float, t1: Tensor | float) -> Tensor:
        """t_k = t0 + tau_k (t1 - t0): (B, N+1) for t1 (B,), (N+1,) for a single t1; first and last are exact."""
        end = torch.as_tensor(t1, dtype=torch.float64).unsqueeze(-1)
        nodes = self.nodes.to(end.device)
        return t0 * (1.0 - nodes) + end * nodes

    def refine(self, factor: int = 2) -> TimeGrid:
        """Every step split into `factor` equal ones; the old nodes stay nodes, to the bit."""
        if isinstance(factor, bool) or not isinstance(factor, int) or factor < 1:
            raise ProblemError(f"a grid cannot be refined by {factor!r}; give a whole number from 1")
        parts = torch.arange(factor, dtype=torch.float64) / factor
        inner = self.nodes[:-1, None] + self.lengths[:, None] * parts
        return TimeGrid(torch.cat([inner.flatten(), self.nodes[-1:]]))

    def basis_mass(self, kind: str) -> Tensor:
        """(K,) integral over scaled time of each basis function of a control.

        dtau_k for "constant"; (dtau_{k-1} + dtau_k) / 2 for "linear", half a step at both ends.
        """
        lengths = self.lengths
        if kind == "constant":
            return lengths
        if kind == "linear":
            zero = lengths.new_zeros(1)
            return (torch.cat([zero, lengths]) + torch.cat([lengths, zero])) / 2
        raise unknown_name("control kind", kind, CONTROL_KINDS)


@lru_cache(maxsize=64)
def _uniform(steps: int) -> TimeGrid:
    grid = TimeGrid.__new__(TimeGrid)  # nothing to check
    object.__setattr__(grid, "nodes", torch.arange(steps + 1, dtype=torch.float64) / steps)
    return grid
