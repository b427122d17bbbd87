"""A control as a value: numbers, how to read them between the nodes, and the grid on which they live.

Constant: row k holds on interval k (K = N rows). Linear: row k is the value at node k (K = N + 1 rows), straight lines
between. The grid is on scaled time, so one control serves every final time. This is what a solution hands out and
what `solve` takes as a guess and `sweep` as its control, as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from pontryagin.errors import ProblemError, unknown_name
from pontryagin.time_grid import CONTROL_KINDS, TimeGrid

Kind = Literal["constant", "linear"]


@dataclass(frozen=True, eq=False)
class Control:
    """values (K, m), or (B, K, m) for a batch, of kind "constant" (K = N) or "linear" (K = N + 1) on `grid` of N steps.

    Behaves like its tensor where one is read: `control[0]`, `control.shape`, `numpy.asarray(control)`,
    `torch.as_tensor(control)`; `control.values` is the tensor itself.
    Raises ProblemError for an unknown kind, and where the rows do not fit the grid.
    """

    values: Tensor
    kind: Kind
    grid: TimeGrid

    def __post_init__(self) -> None:
        if self.kind not in CONTROL_KINDS:
            raise unknown_name("control kind", self.kind, CONTROL_KINDS)
        rows = rows_of(self.kind, self.grid)
        if self.values.dim() not in (2, 3) or self.values.shape[-2] != rows:
            raise ProblemError(
                f"control values have shape {tuple(self.values.shape)}; a {self.kind} control on {self.grid.steps} "
                f"steps takes ({rows}, m), or (B, {rows}, m) for a batch"
            )

    def at(self, tau: Tensor) -> Tensor:
        """u at scaled times tau (T,): (T, m) or (B, T, m). A constant control takes the value that begins at a node."""
        nodes = self.grid.nodes.to(self.values.device)
        tau = tau.to(nodes)
        k = (torch.searchsorted(nodes, tau.contiguous(), right=True) - 1).clamp(0, self.grid.steps - 1)
        left = self.values[..., k, :]
        if self.kind == "constant":
            return left
        weight = ((tau - nodes[k]) / (nodes[k + 1] - nodes[k])).unsqueeze(-1).to(self.values.dtype)
        return (1 - weight) * left + weight * self.values[..., k + 1, :]

    def on(self, grid: TimeGrid, kind: Kind | None = None) -> Control:
        """The control on another grid, or of the other kind: read at the nodes (linear) or in mid-interval (constant).

        The same function of time where `grid` refines this one and the kind stays.
        """
        kind = self.kind if kind is None else kind
        if kind == self.kind and torch.equal(grid.nodes, self.grid.nodes):
            return self
        if kind not in CONTROL_KINDS:
            raise unknown_name("control kind", kind, CONTROL_KINDS)
        nodes = grid.nodes
        return Control(self.at(nodes if kind == "linear" else (nodes[:-1] + nodes[1:]) / 2), kind, grid)

    @property
    def shape(self) -> torch.Size:
        return self.values.shape

    @property
    def dtype(self) -> torch.dtype:
        return self.values.dtype

    @property
    def device(self) -> torch.device:
        return self.values.device

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Tensor:
        return self.values[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.values.detach().cpu().numpy(), dtype=dtype)

    def __dlpack__(self, **options: Any) -> Any:
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.values.__dlpack_device__()

    def __repr__(self) -> str:
        return f"Control({self.kind} on {self.grid.steps} steps, {tuple(self.shape)} {self.values.dtype})"


def rows_of(kind: str, grid: TimeGrid) -> int:
    """K, the number of rows of a control on this grid."""
    return grid.steps + (kind == "linear")


def rows_at_nodes(values: Tensor, rows: int) -> Tensor:
    """(..., rows, k) of rows on nodes or on steps, which may be one fewer: the last one stands at t1, too."""
    return values[..., :rows, :] if values.shape[-2] >= rows else torch.cat((values, values[..., -1:, :]), -2)
