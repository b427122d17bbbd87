"""Two problems that no plain ODE-Net solves, and that one with a few components more does (Dupont, Doucet, Teh 2019).

Trajectories do not cross. On the line the output is therefore an increasing function of the input: of a = x(1) from -1
and b = x(1) from 1, a < b, the error ((a - 1)^2 + (b + 1)^2) / 2 is more than 1. In the plane the image of a disc stays
inside the image of the ring around it, so that every straight line that has the ring on one side has the disc there,
too: of the two, one is classified wrongly somewhere, at a cross entropy of log 2 or more.
"""

import math

import torch
from torch import nn
from torch.nn.functional import softplus

import pontryagin as pmp


def perceptron(width: int, hidden: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, width))


def trained(model: nn.Module, loss, iterations: int, learning_rate: float) -> nn.Module:
    optimiser = torch.optim.Adam(model.parameters(), learning_rate)
    for _ in range(iterations):
        optimiser.zero_grad()
        loss(model).backward()
        optimiser.step()
    return model


# ---- the line: g(-1) = 1, g(1) = -1
x = torch.tensor([[-1.0], [1.0]])


def swap_error(net: nn.Module) -> torch.Tensor:
    return (net(x)[:, :1] + x).square().mean()


swap = []
for augment in (0, 1):
    torch.manual_seed(0)
    swap.append(trained(pmp.ODENet(perceptron(1 + augment, 16), augment=augment), swap_error, 200, 0.02))
plain, augmented = (swap_error(net).item() for net in swap)
print(f"swap:  squared error     {plain:.4f} plain (1 at least), {augmented:.1e} augmented")
assert plain > 0.999 and augmented < 1e-3

# ---- the plane: a disc of radius 1/2 and the ring from 1 to 3/2 around it, told apart by the sign of a linear score
angle, share = torch.linspace(0, 2 * math.pi, 181)[:-1], torch.linspace(0, 1, 7)[:, None]
circle = torch.stack([angle.cos(), angle.sin()], 1)
disc, ring = (0.5 * share[..., None] * circle).flatten(0, 1), ((1 + 0.5 * share[..., None]) * circle).flatten(0, 1)


def rings_loss(model: nn.Module) -> torch.Tensor:
    return torch.cat([softplus(-model(disc)), softplus(model(ring))])


rings = []
for augment in (0, 1):
    torch.manual_seed(0)
    net = pmp.ODENet(perceptron(2 + augment, 32), steps=10, augment=augment)
    rings.append(trained(nn.Sequential(net, nn.Linear(2 + augment, 1)), lambda m: rings_loss(m).mean(), 150, 0.02))
plain, augmented = (rings_loss(model).max().item() for model in rings)
print(f"rings: worst cross entropy {plain:.3f} plain ({math.log(2):.3f} at least), {augmented:.3f} augmented")
assert plain > math.log(2) > 2 * augmented
