"""Data d(t) of a problem: exogenous inputs and references on a grid of their own, shared or one set per problem.

"linear" data are interpolated between their times; of "constant" data, value k holds from time k until time k+1.
Before the first and after the last time the nearest value holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pontryagin.errors import ProblemError, unknown_name
from pontryagin.time_grid import CONTROL_KINDS
from pontryagin.values import numbers


@dataclass(frozen=True, eq=False)
class Data:
    """values (K, nd), or (B, K, nd) with one set per problem of a batch; (K,) is one series, nd = 1.

    `time` (K,) increases strictly, in units of time; None spreads the values evenly over the horizon: K nodes from t0
    to t1 for kind "linear", K equal intervals for kind "constant".
    Raises ProblemError for shapes that do not fit, times that do not increase, NaN and unknown kinds.
    """

    values: Any
    time: Any = None
    kind: str = "linear"

    def __post_init__(self) -> None:
        if self.kind not in CONTROL_KINDS:
            raise unknown_name("kind of data", self.kind, CONTROL_KINDS)
        values = numbers("data values", self.values)
        if values.dim() == 1:
            values = values.unsqueeze(-1)
        if values.dim() not in (2, 3):
            raise ProblemError(
                f"data values have shape {tuple(values.shape)}; give (times, components), or (batch, times, components)"
            )
        object.__setattr__(self, "values", values)
        if self.time is None:
            return
        time = numbers("data time", self.time).to(values.device, torch.float64)
        if time.shape != (self.length,):
            raise ProblemError(
                f"data time has shape {tuple(time.shape)}, but there are {self.length} values; give one time for each"
                + (" (of constant data, the start of its interval)" if self.kind == "constant" else "")
            )
        if not bool((time.diff() > 0).all()):
            k = int((~(time.diff() > 0)).nonzero()[0])
            raise ProblemError(
                f"data time {k + 1} is {float(time[k + 1]):g}, not after time {k}, {float(time[k]):g}; "
                "times must increase strictly"
            )
        object.__setattr__(self, "time", time)

    @property
    def length(self) -> int:
        """K."""
        return int(self.values.shape[-2])

    @property
    def size(self) -> int:
        """nd."""
        return int(self.values.shape[-1])

    @property
    def batch(self) -> int | None:
        """B, or None where the data are shared."""
        return int(self.values.shape[0]) if self.values.dim() == 3 else None

    def over(self, t0: float, t1: float) -> Data:
        """The same data with their times filled in for this horizon; refused where they do not cover it."""
        if self.time is None:
            nodes = self.length if self.kind == "linear" else self.length + 1
            if nodes < 2:
                raise ProblemError("linear data of a single value span no time; give two values or kind='constant'")
            time = torch.linspace(t0, t1, nodes, dtype=torch.float64, device=self.values.device)
            return Data(self.values, time[: self.length], self.kind)
        first, last = float(self.time[0]), float(self.time[-1])
        slack = 1e-9 * (t1 - t0)  # times computed by the caller in another order of rounding
        if first > t0 + slack or (self.kind == "linear" and last < t1 - slack):
            raise ProblemError(
                f"data run from {first:g} to {last:g}, the horizon from {t0:g} to {t1:g}; give data that cover it"
            )
        return self

    def at(self, times: Tensor) -> Tensor:
        """d at `times` (T,) or (B, T): (T, nd) or (B, T, nd)."""
        index, weight = self._place(times)
        left = self._pick(index)
        if self.kind == "constant" or self.length == 1:
            return left
        right = self._pick(index + 1)
        weight = weight.unsqueeze(-1).to(left.dtype)
        return (1 - weight) * left + weight * right

    def on_grid(self, times: Tensor) -> Tensor:
        """The data as a sweep wants them for nodes `times` (N+1,) or (B, N+1), with the batch axis where there is one.

        "linear": values at the nodes (N+1, nd). "constant": one value for each interval (N, nd), which is the mean
        over the interval, so that no part of finer data is skipped.
        """
        if self.kind == "linear":
            return self.at(times)
        times = times.to(self.values.device, torch.float64)
        begin, end = times[..., :-1], times[..., 1:]
        first = self._place(begin)[0]
        last = (torch.searchsorted(self._starts, end.contiguous()) - 1).clamp(0, self.length - 1)  # times < end
        mean = (self._integral(end) - self._integral(begin)) / (end - begin).unsqueeze(-1)
        whole = (first == last).unsqueeze(-1)  # the value itself, without the rounding of a mean
        return torch.where(whole, self._pick(first), mean.to(self.values.dtype))

    @property
    def _starts(self) -> Tensor:
        if self.time is None:
            raise ProblemError("the times of these data are not known yet; give them, or ask the Data of a Problem")
        time: Tensor = self.time
        return time

    def _place(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """Index k of the interval that holds each time, and where in it: 0 at its begin, 1 at its end."""
        start = self._starts
        times = times.to(start).clamp(float(start[0]), float(start[-1]) if self.kind == "linear" else math.inf)
        intervals = self.length - 1 if self.kind == "linear" else self.length
        index = (torch.searchsorted(start, times.contiguous(), right=True) - 1).clamp(0, max(intervals - 1, 0))
        after = (index + 1).clamp(max=self.length - 1)
        length = (start[after] - start[index]).where(after > index, start.new_ones(()))
        return index, (times - start[index]) / length

    def _pick(self, index: Tensor, values: Tensor | None = None) -> Tensor:
        """values[index] along time: (T, nd) or (B, T, nd) for index (T,) or (B, T)."""
        values = self.values if values is None else values
        if values.dim() == 2:
            return values[index]
        if index.dim() == 1:
            return values[:, index]
        if values.shape[0] not in (1, index.shape[0]) and index.shape[0] != 1:
            raise ProblemError(
                f"data are for {values.shape[0]} problems, the times for {index.shape[0]}; give one size"
            )
        rows = torch.arange(values.shape[0], device=values.device).unsqueeze(-1)
        return values[rows, index]

    def _integral(self, times: Tensor) -> Tensor:
        """Integral of constant data from their first time to each of `times`, in float64."""
        start, values = self._starts, self.values.double()
        parts = values[..., :-1, :] * start.diff().unsqueeze(-1)
        before = torch.cat([torch.zeros_like(values[..., :1, :]), parts.cumsum(-2)], -2)
        index, _ = self._place(times)
        elapsed = (times.clamp(min=float(start[0])) - start[index]).unsqueeze(-1)
        return self._pick(index, before) + self._pick(index, values) * elapsed
