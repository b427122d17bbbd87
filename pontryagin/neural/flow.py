"""The discretised net: explicit Runge-Kutta steps of x' = f(t, x, w(t)) and of its running cost, in PyTorch.

    X_i = x_n + h sum_{j<i} a_ij f(t_n + c_i h, X_j, w(t_n + c_i h))
    x_{n+1} = x_n + h sum_i b_i f_i,      c_{n+1} = c_n + h sum_i b_i L_i

This is the readable twin of the fused kernels, and the path for every field that they do not know.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pontryagin.errors import ProblemError
from pontryagin.neural.field import FieldCall
from pontryagin.neural.path_cost import PathCost, RunningCost
from pontryagin.neural.stage_weights import StageWeights, Weights
from pontryagin.tableau import Tableau

#: State (B, ...) and running cost so far (B,).
Point = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Flow:
    """Steps between the nodes t_0..t_N (N+1,), of one forward pass: `field` keeps its random masks."""

    field: FieldCall
    tableau: Tableau
    nodes: np.ndarray
    stages: StageWeights
    running_cost: PathCost | RunningCost | None

    @property
    def steps(self) -> int:
        return len(self.nodes) - 1

    def rows(self, n: int, *, back: bool = False) -> list[int]:
        """The row of weights that each stage of step n reads."""
        return (self.stages.backward if back else self.stages.forward)[n]

    def increment(
        self, n: int, x: Tensor, at: Mapping[int, Mapping[str, Tensor]], *, back: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """What step n adds to the state and to the cost; with `back`, a step from t_{n+1} of length -h.

        `at` holds the weights of each row that the step reads.
        """
        start, h = float(self.nodes[n]), float(self.nodes[n + 1] - self.nodes[n])
        if back:
            start, h = float(self.nodes[n + 1]), -h
        slopes: list[Tensor] = []
        added, cost = torch.zeros_like(x), None
        for c, a, b, row in zip(self.tableau.c, self.tableau.a, self.tableau.b, self.rows(n, back=back), strict=True):
            stage = x
            for a_j, slope in zip(a, slopes, strict=True):
                if a_j:
                    stage = torch.add(stage, slope, alpha=h * a_j)
            t = start + c * h
            slopes.append(self.field(t, stage, at[row]))
            if not b:
                continue
            added = torch.add(added, slopes[-1], alpha=h * b)
            running = self.cost_rate(t, stage, slopes[-1], at[row])
            if running is not None:
                cost = h * b * running if cost is None else torch.add(cost, running, alpha=h * b)
        return added, cost

    def cost_rate(self, t: float, x: Tensor, f: Tensor, w: Mapping[str, Tensor]) -> Tensor | None:
        """L (B,) at one time, without what depends on weights of a PathCost; None where there is none."""
        if self.running_cost is None:
            return None
        if isinstance(self.running_cost, PathCost):
            return self.running_cost.on_path(x, f)
        rate = self.running_cost(t, x, w)
        if not isinstance(rate, Tensor) or rate.shape not in (x.shape[:1], torch.Size(())):
            got = tuple(rate.shape) if isinstance(rate, Tensor) else type(rate).__name__
            raise ProblemError(f"the running cost answers {got} for a batch of {len(x)}; L(t, x, w) is ({len(x)},)")
        return rate.expand(x.shape[:1])

    def step(self, n: int, point: Point, weights: Weights) -> Point:
        """The point at t_{n+1}."""
        x, cost = point
        at = {row: self.stages.rows[row].of(weights) for row in set(self.rows(n))}
        added, spent = self.increment(n, x, at)
        return x + added, cost if spent is None else cost + spent

    def unrolled(self, x: Tensor, weights: Weights, watch: Callable[[int, Tensor], Tensor] | None = None) -> Point:
        """The end of the horizon, differentiable by PyTorch as often as f is; `watch(k, x_k)` may replace each node."""
        point = (x, x.new_zeros(x.shape[0]))
        for n in range(self.steps):
            if watch is not None:
                point = (watch(n, point[0]), point[1])
            point = self.step(n, point, weights)
        return point if watch is None else (watch(self.steps, point[0]), point[1])

    def checkpointed(self, x: Tensor, weights: Weights) -> Point:
        """As `unrolled`, keeping the nodes of about sqrt(N) segments; each is run again for its derivative."""
        length = math.isqrt(max(self.steps - 1, 0)) + 1

        versions = [w._version for w in weights.values()]

        def segment(first: int, x: Tensor, cost: Tensor) -> Point:
            if versions != [w._version for w in weights.values()]:
                raise RuntimeError("weights were changed in place between the forward pass and backward()")
            point = (x, cost)
            for n in range(first, min(first + length, self.steps)):
                point = self.step(n, point, weights)
            return point

        point = (x, x.new_zeros(x.shape[0]))
        for first in range(0, self.steps, length):
            point = checkpoint(segment, first, *point, use_reentrant=False, preserve_rng_state=False)
        return point
