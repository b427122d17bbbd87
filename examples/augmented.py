"""Two problems that no plain ODE-Net solves, and that one with one component more does (Dupont, Doucet, Teh 2019).

Trajectories do not cross. On the line the output therefore increases with the input: for outputs a < b from -1 and 1,
the error ((a - 1)^2 + (b + 1)^2) / 2 is more than 1. In the plane the image of a disc stays inside the image of the
ring around it, so that every straight line with the ring on one side has the disc there, too: at some point of the two
the cross entropy is log 2 or more.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

import pontryagin as pmp


def odenet(width: int, augment: int) -> pmp.ODENet:
    field = nn.Sequential(nn.Linear(width + augment, 32), nn.Tanh(), nn.Linear(32, width + augment))
    return pmp.ODENet(field, steps=10, augment=augment)


def trained(model: nn.Module, loss) -> nn.Module:
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(150):
        optimiser.zero_grad()
        loss(model).mean().backward()
        optimiser.step()
    return model


# ---- the line: g(-1) = 1, g(1) = -1
ends = torch.tensor([[-1.0], [1.0]])


def swap_error(net: nn.Module) -> Tensor:
    return (net(ends)[:, 0] + ends[:, 0]).square()


torch.manual_seed(0)
swap = [trained(odenet(1, augment), swap_error) for augment in (0, 1)]
plain, augmented = (swap_error(net).mean().item() for net in swap)
print(f"swap:  squared error       {plain:.3f} plain (1 at least), {augmented:.1e} augmented")
assert plain > 0.999 and augmented < 1e-3

# ---- the plane: a disc of radius 1/2 against the ring from 1 to 3/2, by the sign of a linear score
angle, share = torch.linspace(0, 2 * math.pi, 121)[:-1], torch.linspace(0, 1, 6)[:, None, None]
circle = torch.stack([angle.cos(), angle.sin()], 1)
disc, ring = (0.5 * share * circle).flatten(0, 1), ((1 + 0.5 * share) * circle).flatten(0, 1)


def rings_loss(model: nn.Module) -> Tensor:
    return torch.cat([softplus(-model(disc)), softplus(model(ring))])


rings = [trained(nn.Sequential(odenet(2, augment), nn.Linear(2 + augment, 1)), rings_loss) for augment in (0, 1)]
plain, augmented = (rings_loss(model).max().item() for model in rings)
print(f"rings: worst cross entropy {plain:.3f} plain ({math.log(2):.3f} at least), {augmented:.3f} augmented")
assert plain > math.log(2) > 2 * augmented
