"""Many problems at once, again and again: sixteen pendulums are righted by model predictive control.

Every tenth of a second one batched solve plans the next two seconds for all of them from where they are, starting
from the plan before; the first piece of each plan is applied.
"""

import torch

import pontryagin as pmp

TICK, AHEAD = 0.1, 20  # seconds between two plans, ticks that a plan looks ahead


def dynamics(t, x, u):
    return torch.stack([x[1], torch.sin(x[0]) + u[0]])  # the angle is zero upright, where it is unstable


problem = pmp.Problem(
    dynamics=dynamics,
    running_cost=lambda t, x, u: 10 * (1 - torch.cos(x[0])) + x[1] ** 2 + 0.1 * u[0] ** 2,
    terminal_cost=lambda t, x: 20 * (1 - torch.cos(x[0])) + 5 * x[1] ** 2,
    initial_state=[0.0, 0.0],
    horizon=(0.0, TICK * AHEAD),
    control_bounds=(-2.0, 2.0),
)
tick = pmp.Problem(dynamics=dynamics, running_cost=lambda t, x, u: u[0] ** 2, initial_state=[0, 0], horizon=(0, TICK))

state = torch.stack([torch.linspace(-2.5, 2.5, 16), torch.zeros(16)], 1).double()
guess, counts = None, []
for _ in range(40):
    plan = pmp.solve(problem, initial_state=state, control="constant", steps=AHEAD, guess=guess, tolerance=1e-4)
    counts.append(int(plan.iterations.max()))
    state = pmp.sweep(tick, plan.control[:, :1], control="constant", initial_state=state).state[:, -1]
    guess = torch.cat([plan.control[:, 1:], plan.control[:, -1:]], 1)  # the plan, seen from one tick later

tilt = 1 - torch.cos(state[:, 0])  # some take the short way up, some swing all the way round
print(f"after {40 * TICK:g} s: 1 - cos(angle) is {float(tilt.max()):.1e} at most")
print(f"iterations of each plan: {counts}")
assert float(tilt.max()) < 1e-3 and float(state[:, 1].abs().max()) < 0.05
