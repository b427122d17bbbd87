"""The workload of the benchmarks: the gradient of cart-pole problems, in plain PyTorch and as a Problem.

    J = int_0^2 u^2 dt + 100 |x(2) - (1, pi, 0, 0)|^2,      x = (position, angle, velocity, rate),  u force

with the dynamics of Kelly, SIAM Review 59 (2017), section 6; 100 RK4 steps, u constant in each. Wanted: J and dJ/du.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

import pontryagin as pmp

CART, POLE, LENGTH, GRAVITY, WEIGHT = 1.0, 0.3, 0.5, 9.81, 100.0
HORIZON, STEPS = 2.0, 100
TARGET = (1.0, math.pi, 0.0, 0.0)


def acceleration(angle: Tensor, rate: Tensor, force: Tensor) -> tuple[Tensor, Tensor]:
    s, c = torch.sin(angle), torch.cos(angle)
    d = CART + POLE * s * s
    cart = (LENGTH * POLE * s * rate * rate + force + POLE * GRAVITY * c * s) / d
    pole = -(LENGTH * POLE * c * s * rate * rate + force * c + (CART + POLE) * GRAVITY * s) / (LENGTH * d)
    return cart, pole


def problem() -> pmp.Problem:
    """The workload as a user writes it: one sample, no batch."""

    def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
        return torch.stack([x[2], x[3], *acceleration(x[1], x[3], u[0])])

    def terminal_cost(t: Tensor, x: Tensor) -> Tensor:
        return WEIGHT * ((x - torch.tensor(TARGET, dtype=x.dtype)) ** 2).sum()

    return pmp.Problem(
        name="cart-pole",
        dynamics=dynamics,
        running_cost=lambda t, x, u: u[0] ** 2,
        terminal_cost=terminal_cost,
        initial_state=[0.0, 0.0, 0.0, 0.0],
        horizon=(0.0, HORIZON),
        control_dim=1,
    )


@dataclass(frozen=True)
class Answer:
    objective: Tensor  # (B,)
    gradient: Tensor  # (B, N)

    def error(self, reference: Answer) -> float:
        """Largest relative difference, of the objectives one by one and of each gradient in its largest norm."""
        j = ((self.objective - reference.objective) / reference.objective).abs().max()
        g = (self.gradient - reference.gradient).abs().amax(1) / reference.gradient.abs().amax(1)
        return float(torch.maximum(j, g.max()))


@dataclass(frozen=True)
class Batch:
    initial_state: Tensor  # (B, 4)
    control: Tensor  # (B, N)

    @staticmethod
    def random(size: int, dtype: torch.dtype = torch.float64) -> Batch:
        generator = torch.Generator().manual_seed(0)
        state = 0.3 * torch.randn(size, 4, generator=generator, dtype=torch.float64)
        control = 3.0 * torch.randn(size, STEPS, generator=generator, dtype=torch.float64)
        return Batch(state.to(dtype), control.to(dtype))

    def eager(self) -> Answer:
        """PyTorch, batched by hand, differentiated by autograd."""
        controls = self.control.T.contiguous().requires_grad_()
        h, state, objective = HORIZON / STEPS, self.initial_state, torch.zeros_like(self.initial_state[:, 0])

        def f(x: Tensor, u: Tensor) -> Tensor:
            return torch.stack([x[:, 2], x[:, 3], *acceleration(x[:, 1], x[:, 3], u)], dim=1)

        for u in controls:
            k1 = f(state, u)
            k2 = f(state + h / 2 * k1, u)
            k3 = f(state + h / 2 * k2, u)
            k4 = f(state + h * k3, u)
            state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            objective = objective + h * u**2
        error = state - torch.tensor(TARGET, dtype=state.dtype)
        objective = objective + WEIGHT * (error * error).sum(1)
        (gradient,) = torch.autograd.grad(objective.sum(), controls)
        return Answer(objective.detach(), gradient.T)
