"""Which weights each stage of each step reads: rows of the basis at the times of the stages.

A step of length h from t_n has its stage i at t_n + c_i h; taken backwards from its end, at t_{n+1} - c_i h. At a knot
where the weights jump, a stage belongs to the side on which its own step lies, so that step n of a residual network
reads weights n at all of its stages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from pontryagin.neural.weight_spline import WeightSpline
from pontryagin.tableau import Tableau

#: Coefficients (K, ...) by the name of the field's parameter, or their values (...) at one time.
Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Row:
    """phi_{first} .. at one time, the values of the basis that are not zero."""

    first: int
    values: tuple[float, ...]

    def of(self, weights: Weights) -> dict[str, Tensor]:
        """w(t)."""
        if len(self.values) == 1:
            return {name: w[self.first] for name, w in weights.items()}
        part = slice(self.first, self.first + len(self.values))
        return {name: torch.tensordot(w.new_tensor(self.values), w[part], 1) for name, w in weights.items()}

    def add_transpose(self, gradients: Weights, at_row: Weights) -> None:
        """gradients_k += phi_k dJ/dw(t), in place."""
        for name, gradient in at_row.items():
            for k, value in enumerate(self.values, self.first):
                gradients[name][k].add_(gradient, alpha=value)


class StageWeights:
    """Rows of the basis, and the tables [step][stage] that say which row a stage reads, forwards and backwards.

    Nodes of the state are t_0 .. t_N; node k reads `at_node(k)`.
    """

    def __init__(self, spline: WeightSpline, nodes: np.ndarray, tableau: Tableau) -> None:
        self.spline = spline
        self._index: dict[Row, int] = {}
        self.rows: list[Row] = []
        steps = list(zip(nodes[:-1].tolist(), nodes[1:].tolist(), strict=True))
        self.forward = [[self._row(a + c * (b - a), (a + b) / 2) for c in tableau.c] for a, b in steps]
        self.forward_count = len(self.rows)
        self.backward = [[self._row(b - c * (b - a), (a + b) / 2) for c in tableau.c] for a, b in steps]
        middles = [(a + b) / 2 for a, b in steps]
        self.nodes = [self._row(float(t), s) for t, s in zip(nodes, [*middles, middles[-1]], strict=True)]

    def _row(self, t: float, inside: float) -> int:
        interval = self.spline.interval(t, inside)
        row = Row(interval, tuple(self.spline.local(t, interval).tolist()))
        if row not in self._index:
            self._index[row] = len(self.rows)
            self.rows.append(row)
        return self._index[row]

    def at_node(self, k: int) -> Row:
        return self.rows[self.nodes[k]]

    @cached_property
    def plain(self) -> bool:
        """The rows that stages read forwards are the coefficients themselves, in order."""
        return [(row.first, row.values) for row in self.rows[: self.forward_count]] == [
            (k, (1.0,)) for k in range(self.spline.count)
        ]

    @cached_property
    def _table(self) -> tuple[Tensor, Tensor]:
        """(R,) the first coefficient of each row that stages read forwards, and (R, degree + 1) its values."""
        rows = self.rows[: self.forward_count]
        values = torch.tensor([row.values for row in rows], dtype=torch.float64)
        return torch.tensor([row.first for row in rows]), values

    def expanded(self, w: Tensor) -> Tensor:
        """(R, ...) the values of coefficients (K, ...) on all rows that stages read forwards."""
        first, values = self._table
        factors = values.to(w).reshape(*values.shape, *[1] * (w.dim() - 1))
        total = factors[:, 0] * w[first]
        for j in range(1, values.shape[1]):
            total = total + factors[:, j] * w[first + j]
        return total
