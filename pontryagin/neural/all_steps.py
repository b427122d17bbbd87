"""All steps of a net at once, each from a state of its own: what a sweep leaves when states and costates are held.

    Psi_n = h sum_i b_i f_i,   S_n = h sum_i b_i L_i,       n = 0..N-1,  as in `flow`

In a sweep, step n waits for x_n. With x_0 .. x_{N-1} given the steps know nothing of each other and are one batch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, vmap

from pontryagin.errors import ProblemError
from pontryagin.neural.flow import Flow
from pontryagin.neural.stage_weights import Weights


class AllSteps:
    """The increments of all steps of a flow, as functions of the states before them and of the weights."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.table = torch.tensor(flow.stages.forward)  # (N, s)
        self.start = torch.from_numpy(flow.nodes[:-1])
        self.length = torch.from_numpy(np.diff(flow.nodes))

    def __call__(self, x: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
        """(N, B, ...) what each step adds to its state x (N, B, ...), and (N, B) to the cost; weights (K, ...)."""
        rows = self._rows(weights)
        tableau = self.flow.tableau
        start, h = self.start.to(x), self.length.to(x)
        h_x = h.reshape(-1, *[1] * (x.dim() - 1))
        slopes: list[Tensor] = []
        added, cost = torch.zeros_like(x), x.new_zeros(x.shape[:2])
        for i, (c, a, b) in enumerate(zip(tableau.c, tableau.a, tableau.b, strict=True)):
            stage = x
            for a_j, slope in zip(a, slopes, strict=True):
                if a_j:
                    stage = stage + a_j * h_x * slope
            f, rate = self._evaluate(start + c * h, stage, {name: w[self.table[:, i]] for name, w in rows.items()})
            slopes.append(f)
            if b:
                added = added + b * h_x * f
                cost = cost + b * h[:, None] * rate
        return added, cost

    def _rows(self, weights: Weights) -> Weights:
        """(R, ...) the weights that stages read."""
        if self.flow.stages.plain:
            return weights
        return {name: self.flow.stages.expanded(w) for name, w in weights.items()}

    def _evaluate(self, t: Tensor, x: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
        """f (N, B, ...) and L (N, B) at times t (N,)."""
        call = self.flow.field

        def one(t: Tensor, x: Tensor, w: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
            arguments = (torch.cat([x, t.expand(*x.shape[:-1], 1)], -1),) if call.column else (x,)
            f = functional_call(call.field, dict(w), (t, x) if call.timed else arguments)
            rate = self.flow.cost_rate(t, x, f, w)  # type: ignore[arg-type]  # a time of many at once
            return f, x.new_zeros(x.shape[0]) if rate is None else rate

        try:
            f, rate = vmap(one)(t, x, dict(weights))
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise ProblemError(
                f"the field, or the running cost, cannot be called for all steps at once by torch.func.vmap: {error}"
            ) from error
        return f, rate
