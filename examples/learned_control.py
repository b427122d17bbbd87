"""A sweep inside a loss: a network learns to steer, seeing only the reference that is to be followed.

`pmp.sweep` is differentiable by torch.autograd: the network proposes the whole control, the sweep prices it, and the
costates carry the gradient back to its weights. `data=` hands each problem its own reference d(t).
"""

import torch

import pontryagin as pmp

STEPS = 20
torch.manual_seed(0)

problem = pmp.Problem(
    dynamics=lambda t, x, u, d: torch.stack([x[1], u[0] - 0.5 * x[1]]),
    running_cost=lambda t, x, u, d: (x[0] - d[0]) ** 2 + 0.01 * u[0] ** 2,
    initial_state=[0.0, 0.0],
    horizon=(0.0, 2.0),
    data=torch.zeros(STEPS + 1, 1, dtype=torch.float64),
)


def references(count: int) -> torch.Tensor:
    """Sines of random size and phase (count, STEPS + 1, 1)."""
    t = torch.linspace(0, 2, STEPS + 1, dtype=torch.float64)
    size, phase = torch.rand(2, count, 1, dtype=torch.float64)
    return (size * torch.sin(2 * t + 3 * phase)).unsqueeze(-1)


network = torch.nn.Linear(STEPS + 1, STEPS + 1, dtype=torch.float64)
optimiser = torch.optim.LBFGS(network.parameters(), line_search_fn="strong_wolfe", max_iter=60)
training = references(64)


def price(reference: torch.Tensor) -> torch.Tensor:
    control = network(reference.squeeze(-1)).unsqueeze(-1)
    return pmp.sweep(problem, control, control="linear", data=reference, outputs=["objective"]).objective.mean()


def closure() -> torch.Tensor:
    optimiser.zero_grad()
    loss = price(training)
    loss.backward()
    return loss


before, unseen = float(price(training).detach()), references(16)
optimiser.step(closure)
best = float(pmp.solve(problem, data=unseen, steps=STEPS, tolerance=1e-6).objective.mean())
learned = float(price(unseen).detach())
print(f"mean cost {before:.3f} untrained, {learned:.4f} of new references, {best:.4f} optimal")
assert learned < 1.05 * best
