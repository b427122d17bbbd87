"""The unknowns of a first-order method: control values and log t1 - t0, scaled, as one vector for each problem.

    u_k = scale z_k / sqrt(mass_k),      t1 = t0 + exp(z_last)

so that the Euclidean product of two vectors z is the L2 product of two controls over scaled time, whatever the mesh:
step lengths and curvatures of a method then belong to the problem in continuous time (Nocedal & Wright 2006, section
6.1 on scale invariance; Hinze et al. 2009, section 2.3 on the choice of the inner product). `scale` is half the width
of the bounds of a control, one where a bound is missing. The logarithm builds t1 > t0 in.

G groups are optimised apart: each problem of a batch (G = B), or all of them under one shared control (G = 1).
n = K m entries of the control, then B / G final times where these are free.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pontryagin.control_set import ControlSet


@dataclass(frozen=True)
class Variables:
    """Packing, scaling, bounds and the optimality residual. Nothing here depends on a problem of the batch."""

    shape: tuple[int, int]  # (K, m)
    shared: bool  # one control for the whole batch
    t0: float
    times: int  # free final times in one vector: 0, 1, or B under a shared control
    weight: Tensor  # (K m,) u = weight z
    value_bounds: tuple[Tensor, Tensor] | None  # (K m,) of the control values; None: no bound at all
    time_bounds: tuple[float, float]  # of t1
    bounded: bool  # whether z has any bound
    low: Tensor  # (n,) of z, infinite where there is none
    high: Tensor  # (n,)
    unit: Tensor  # (n,) entry of z -> scaled control value: 1 / sqrt(mass), 1 for the final times

    @classmethod
    def of(
        cls,
        control_set: ControlSet,
        mass: Tensor,
        *,
        t0: float,
        shared: bool,
        times: int,
        final_time_bounds: tuple[float, float] | None,
        scaled: bool,
    ) -> Variables:
        """For controls of K = len(mass) values; `scaled` turns the scaling by the bounds on."""
        K, m = mass.shape[0], control_set.size
        low, high = control_set.low.to(mass), control_set.high.to(mass)
        half = (high - low) / 2
        scale = torch.where(half.isfinite() & (half > 0), half, torch.ones_like(half))
        if not scaled:
            scale = torch.ones_like(half)
        weight = (scale / mass.sqrt()[:, None]).flatten()
        unit = mass.rsqrt()[:, None].expand(K, m).flatten()
        z_low, z_high = low.repeat(K) / weight, high.repeat(K) / weight
        t_low, t_high = final_time_bounds if final_time_bounds is not None else (-math.inf, math.inf)
        if times:
            s_low = math.log(t_low - t0) if t_low > t0 else -math.inf
            s_high = math.log(t_high - t0)
            unit = torch.cat([unit, unit.new_ones(times)])
            z_low = torch.cat([z_low, z_low.new_full((times,), s_low)])
            z_high = torch.cat([z_high, z_high.new_full((times,), s_high)])
        return cls(
            shape=(K, m),
            shared=shared,
            t0=t0,
            times=times,
            weight=weight,
            value_bounds=(low.repeat(K), high.repeat(K)) if control_set.is_bounded else None,
            time_bounds=(t_low, t_high),
            bounded=bool((z_low.isfinite() | z_high.isfinite()).any()),
            low=z_low,
            high=z_high,
            unit=unit,
        )

    def pack(self, control: Tensor, final_time: Tensor) -> Tensor:
        """control (B, K, m) or (K, m), final_time (B,) -> z (G, n), projected into the bounds."""
        z = control.reshape(-1, self.weight.shape[0]) / self.weight
        if self.times:
            z = torch.cat([z, (final_time - self.t0).log().reshape(-1, self.times)], 1)
        return self.project(z)

    def control(self, z: Tensor) -> Tensor:
        """z (G, n) -> u (G, K, m) inside its bounds to the bit, or (K, m) where the control is shared."""
        u = (z[:, : self.weight.shape[0]] if self.times else z) * self.weight
        if self.value_bounds is not None:
            u = u.clamp(*self.value_bounds)
        return u.view(self.shape) if self.shared else u.view(-1, *self.shape)

    def final_time(self, z: Tensor) -> Tensor:
        """z (G, n) -> t1 (B,), only where it is free."""
        return (z[:, -self.times :].exp() + self.t0).clamp(*self.time_bounds).flatten()

    def answer(self, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """control(z) and final_time(z), None where it is fixed; what lies on a bound is that bound, to the bit."""
        u, n = self.control(z), self.weight.shape[0]
        if self.value_bounds is not None:
            low, high = self.value_bounds
            flat = torch.where(z[:, :n] <= self.low[:n], low, u.reshape(-1, n))
            u = torch.where(z[:, :n] >= self.high[:n], high, flat).view(u.shape)
        if not self.times:
            return u, None
        t1, s = self.final_time(z).view(-1, self.times), z[:, n:]
        t1 = torch.where(s <= self.low[n:], self.time_bounds[0], t1)
        return u, torch.where(s >= self.high[n:], self.time_bounds[1], t1).flatten()

    def gradient(self, control_derivative: Tensor, time_derivative: Tensor | None, final_time: Tensor) -> Tensor:
        """Plain derivatives in u, like the control, and in t1 (B,) -> derivative in z (G, n)."""
        g = control_derivative.reshape(-1, self.weight.shape[0]) * self.weight
        if time_derivative is None or not self.times:
            return g
        return torch.cat([g, (time_derivative * (final_time - self.t0)).view(-1, self.times)], 1)

    def project(self, z: Tensor) -> Tensor:
        """The nearest z (..., n) inside the bounds."""
        return z.clamp(self.low, self.high) if self.bounded else z

    def residual(self, z: Tensor, gradient: Tensor, objective: Tensor) -> Tensor:
        """(G,) scaled optimality residual: the largest entry of v - P(v - G |v| / (1 + |J|)).

        v is the vector of scaled values, a control value over its scale or log t1 - t0, |v| the largest of them, at
        least one; G = (t1 - t0) scale H_u is the L2 gradient over scaled time, in units of J. So the residual is the
        relative change of J that a change of v by its own size promises, whatever the mesh and the units. P(v - G) is
        a clamp of each entry, written without cancellation.
        """
        size = (z * self.unit).abs().amax(1).clamp(min=1.0)
        g = gradient * (size / (1.0 + objective.abs())).unsqueeze(1)
        if self.bounded:
            g = g.clamp(z - self.high, z - self.low)
        return (g * self.unit).abs().amax(1)
