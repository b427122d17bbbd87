"""A law of motion from samples: a net learns the spiral x' = A (x^3) of Chen et al. (2018) from pairs of neighbours.

The net is the flow over the time between two samples. Its field is one function of the state (constant weights), so
that the same net, applied again and again, goes on through a stretch of which it has seen no sample.
"""

import torch
from torch import nn

import pontryagin as pmp

SPACING, SAMPLES = 0.1, 151
HIDDEN_FROM, HIDDEN_TO = 60, 80  # the samples 60..80 are kept back

torch.manual_seed(0)


class Spiral(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x**3 @ torch.tensor([[-0.1, -2.0], [2.0, -0.1]], dtype=x.dtype)


def walk(flow: nn.Module, start: torch.Tensor, count: int) -> torch.Tensor:
    """start, flow(start), flow(flow(start)), ...  (count + 1, 2)."""
    states = [start[None]]
    with torch.no_grad():
        for _ in range(count):
            states.append(flow(states[-1]))
    return torch.cat(states)


truth = pmp.ODENet(Spiral(), horizon=(0, SPACING), steps=20, backend="torch")
samples = walk(truth, torch.tensor([2.0, 0.0], dtype=torch.float64), SAMPLES - 1)
seen = torch.cat([torch.arange(HIDDEN_FROM - 1), torch.arange(HIDDEN_TO + 1, SAMPLES - 1)])
start, end = samples[seen], samples[seen + 1]

field = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 2)).double()
net = pmp.ODENet(field, horizon=(0, SPACING), steps=4)
optimiser = torch.optim.LBFGS(net.parameters(), max_iter=400, line_search_fn="strong_wolfe", tolerance_change=0)


def closure() -> torch.Tensor:
    optimiser.zero_grad()
    loss = net.objective(start, end)
    loss.backward()
    return loss


optimiser.step(closure)
path = walk(net, samples[HIDDEN_FROM - 1], HIDDEN_TO - HIDDEN_FROM + 2)
error = float((path - samples[HIDDEN_FROM - 1 : HIDDEN_TO + 2]).norm(dim=1).max())
print(f"mean squared error of a step {net.objective(start, end).item():.1e}")
print(f"greatest error on the stretch that was kept back {error:.4f}, on a spiral of radius 2")
assert error < 0.05
