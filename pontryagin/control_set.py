"""The set U of admissible controls: a box low <= u <= high, infinite where there is no bound."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pontryagin.errors import ProblemError


@dataclass(frozen=True, eq=False)
class ControlSet:
    """U = {u : low <= u <= high}; low and high are float64 (m,), -inf and +inf where there is no bound.

    Raises ProblemError for shapes that differ, for NaN and for bounds that cross.
    """

    low: Tensor
    high: Tensor

    def __post_init__(self) -> None:
        low = torch.as_tensor(self.low, dtype=torch.float64)
        high = torch.as_tensor(self.high, dtype=torch.float64)
        if low.dim() != 1 or low.shape != high.shape:
            raise ProblemError(
                f"the bounds of a control set have shapes {tuple(low.shape)} and {tuple(high.shape)}; "
                "give two vectors of one length, the number of controls"
            )
        for i, (a, b) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
            if not a <= b or a == torch.inf or b == -torch.inf:
                raise ProblemError(
                    f"control {i} is bounded by {a:g} from below and {b:g} from above: "
                    "no control lies between; give low <= high, without NaN"
                )
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    @classmethod
    def unbounded(cls, size: int) -> ControlSet:
        """All of R^m."""
        bound = torch.full((size,), torch.inf, dtype=torch.float64)
        return cls(-bound, bound)

    @property
    def size(self) -> int:
        """m."""
        return self.low.shape[0]

    @cached_property
    def is_bounded(self) -> bool:
        """Whether any bound is finite, so that projection can change a control."""
        return bool((self.low.isfinite() | self.high.isfinite()).any())

    def project(self, u: Tensor) -> Tensor:
        """P_U(u), the nearest admissible control, component by component; u (..., m). NaN stays NaN."""
        return u.clamp(self.low.to(u), self.high.to(u))

    def projected_gradient(self, u: Tensor, gradient: Tensor) -> Tensor:
        """u - P_U(u - gradient), zero exactly where u satisfies the first-order condition; all (..., m).

        It is the gradient itself where no bound is nearer than one gradient step, in particular where there is none.
        (Bertsekas, Nonlinear Programming, 1999, section 2.3.)
        """
        low, high = self.low.to(u), self.high.to(u)
        # min/max instead of u - P(u - g): without cancellation, so that small gradients keep all their digits.
        return torch.maximum(torch.minimum(gradient, u - low), u - high)

    def middle(self) -> Tensor:
        """(m,) the middle of two bounds; with one bound or none, the admissible number nearest to zero."""
        return self._middle

    @cached_property
    def _middle(self) -> Tensor:
        both = self.low.isfinite() & self.high.isfinite()
        nearest = torch.zeros_like(self.low).clamp(self.low, self.high)
        return torch.where(both, self.low + (self.high - self.low) / 2, nearest)
