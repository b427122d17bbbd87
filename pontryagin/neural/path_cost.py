"""Running costs of a net: what its trajectories and its weights cost on the way.

J = E[phi(x(t1)) + int L(t, x, w) dt]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from pontryagin.errors import ProblemError
from pontryagin.neural.weight_spline import WeightSpline


@dataclass(frozen=True)
class PathCost:
    """L = state/2 |x|^2 + velocity/2 |f|^2 + decay/2 |w|^2 + smoothness/2 |w'|^2, each factor from 0.

    `velocity` is the kinetic energy of Finlay, Jacobsen, Nurbekyan and Oberman (How to train your neural ODE, 2020);
    its integral is least on straight paths. `decay` and `smoothness` depend on time alone, so their integrals are
    exact quadratic forms of the coefficients; of piecewise constant weights, `smoothness` takes differences over steps.
    These costs stay on the fused path; any function L(t, x, w) -> (B,) is taken, too, by PyTorch.
    """

    state: float = 0.0
    velocity: float = 0.0
    decay: float = 0.0
    smoothness: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ProblemError(f"{field.name} of a PathCost is {value!r}; give a finite number from 0")

    def on_path(self, x: Tensor, f: Tensor) -> Tensor | None:
        """(B,) the part of x and f; None where there is none."""
        total: Tensor | None = None
        for factor, value in ((self.state, x), (self.velocity, f)):
            if factor:
                term = 0.5 * factor * value.square().flatten(1).sum(1)
                total = term if total is None else total + term
        return total

    def on_weights(self, weights: Mapping[str, Tensor], spline: WeightSpline) -> Tensor | None:
        """Scalar int decay/2 |w|^2 + smoothness/2 |w'|^2 dt; None where there is none."""
        if not (self.decay or self.smoothness) or not weights:
            return None
        form = torch.from_numpy(0.5 * (self.decay * spline.mass + self.smoothness * spline.stiffness))
        total: Tensor | None = None
        for w in weights.values():
            flat = w.reshape(len(w), w[0].numel())
            term = (flat * (form.to(w) @ flat)).sum()
            total = term if total is None else total + term
        return total


#: L(t, x, w) -> (B,), w the weights at that time by name.
RunningCost = Callable[[float, Tensor, Mapping[str, Tensor]], Tensor]
