"""Fields, nets and derivatives that the tests share."""

import torch
from torch import nn

import pontryagin as pmp

SPLINES = {
    "constant": "constant",
    "per step": "per_step",
    "linear": "linear",
    "cubic": pmp.WeightSpline(3, intervals=2),
    "own steps": pmp.WeightSpline(0, knots=(0.0, 0.35, 1.0)),
    "wider": pmp.WeightSpline(1, knots=(-0.5, 0.4, 1.2)),
}

COSTS = {
    "no cost": None,
    "path": pmp.PathCost(state=0.3, velocity=0.2),
    "weights": pmp.PathCost(decay=0.1, smoothness=0.05),
    "all": pmp.PathCost(0.3, 0.2, 0.1, 0.05),
}


def perceptron(width=2, hidden=5, time=True, activation=nn.Tanh):
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return nn.Sequential(nn.Linear(width + time, hidden), activation(), nn.Linear(hidden, width)).double()


class Timed(nn.Module):
    """f(t, x) that no kernel knows."""

    def __init__(self, width=2):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(8)
            self.inner = nn.Linear(width, width).double()

    def forward(self, t, x):
        return torch.tanh(self.inner(x)) * torch.cos(3 * t)


def states(batch=3, width=2, seed=0):
    return torch.randn(batch, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def varied(net, scale=0.3):
    """The net with coefficients that differ over time."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(scale * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return net


def value(net, x):
    end, cost = net.with_cost(x)
    return (end**2).flatten(1).sum(1).sum() + cost.sum()


def gradients(net, x):
    """dJ/dx0 and dJ/dw by name."""
    x = x.clone().requires_grad_()
    names = list(dict(net.named_parameters()))
    found = torch.autograd.grad(value(net, x), [x, *net.parameters()])
    return found[0], dict(zip(names, found[1:], strict=True))


def flat(x, weights):
    return torch.cat([x.flatten(), *(w.flatten() for w in weights.values())])


def difference(net, x, direction, h=1e-6):
    """The central difference of J in x0 and weights along `direction`, flat."""
    parts = list(net.parameters())

    def at(step):
        with torch.no_grad():
            offset = x.numel()
            moved = x + step * direction[:offset].reshape(x.shape)
            saved = [p.clone() for p in parts]
            for p in parts:
                p.add_(direction[offset : offset + p.numel()].reshape(p.shape), alpha=step)
                offset += p.numel()
            result = value(net, moved)
            for p, old in zip(parts, saved, strict=True):
                p.copy_(old)
            return result

    return (at(h) - at(-h)) / (2 * h)
