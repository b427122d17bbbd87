"""Small data and nets that trainings in tests share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import pontryagin as pmp


def field(width: int = 2, hidden: int = 6) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, width)).double()


def net(**options: Any) -> pmp.ODENet:
    return pmp.ODENet(field(), **{"steps": 4, "weights": "per_step", "backend": "torch", **options})


def samples(count: int = 24) -> tuple[Tensor, Tensor]:
    """Points of the plane, and where a smooth map takes them."""
    x = torch.randn(count, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return x, torch.stack([x[:, 0] + 0.5 * torch.sin(2 * x[:, 1]), 0.5 * x[:, 1]], 1)


def rings(count: int = 40) -> tuple[Tensor, Tensor]:
    """Points of the plane, and whether they are outside of a circle."""
    x = torch.randn(count, 2, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    return x, (x.norm(dim=1) > 1.1).long()


class Classifier(nn.Module):
    """A net inside a model."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.net = net(**options)
        self.head = nn.Linear(2, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.net(x))
        return scores
