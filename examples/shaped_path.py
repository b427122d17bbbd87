"""Running costs shape the way that a net takes: straight where motion costs, around what costs to be near.

J = E[|x(t1) - target|^2 + int L dt]: targets say where to, the running cost L decides which of many ways leads there.
Weights that vary in time, here linear between five knots, are what lets a field steer.
"""

import math

import torch
from torch import Tensor, nn

import pontryagin as pmp

torch.manual_seed(0)
start, angle = torch.rand(64, 2) * 2 - 1, 2 * math.pi / 3
turned = start @ torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
left = torch.tensor([-1.5, 0.3]) + 0.5 * torch.rand(64, 2) - 0.25
right = left + torch.tensor([3.0, 0.0])


def trained(x: Tensor, target: Tensor, **options) -> Tensor:
    """The ways of all points (B, N+1, 2)."""
    torch.manual_seed(1)
    field = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))
    net = pmp.ODENet(field, steps=10, weights=pmp.WeightSpline(1, intervals=4), **options)
    optimiser = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(200):
        optimiser.zero_grad()
        net.objective(x, target).backward()
        optimiser.step()
    return net.trajectory(x).state


def near(t: float, x: Tensor, w: object) -> Tensor:
    """(B,) L, which is 10 in the middle of the disc of radius 1/2 and nothing well outside."""
    return 10 * torch.exp(-((x.square().sum(1) / 0.25) ** 2))


def detour(way: Tensor) -> float:
    """Length of the ways over the distance of their ends."""
    return (way.diff(dim=1).norm(dim=2).sum() / (way[:, -1] - way[:, 0]).norm(dim=1).sum()).item()


# A third of a turn: left alone, points go round as any field that stands still would take them
free, straight = trained(start, turned), trained(start, turned, running_cost=pmp.PathCost(velocity=0.1))
print(f"length / distance   {detour(free):.3f} free, {detour(straight):.4f} where velocity costs")
assert detour(free) > 1.1 and detour(straight) < 1.01

# Three to the right, past a disc
through, around = trained(left, right), trained(left, right, running_cost=near, backend="torch")
nearest = [way.norm(dim=2).min().item() for way in (through, around)]
print(f"nearest to middle   {nearest[0]:.3f} free, {nearest[1]:.3f} where the disc costs")
assert nearest[0] < 0.5 and nearest[1] > 0.5

for way, target in ((free, turned), (straight, turned), (through, right), (around, right)):
    assert (way[:, -1] - target).square().sum(1).mean() < 0.05
