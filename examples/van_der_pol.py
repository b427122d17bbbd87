"""A classic: the Van der Pol oscillator is brought to rest with a bounded control, and the answer is certified."""

import torch

import pontryagin as pmp

problem = pmp.Problem(
    dynamics=lambda t, x, u: torch.stack([(1 - x[1] ** 2) * x[0] - x[1] + u[0], x[0]]),
    running_cost=lambda t, x, u: x[0] ** 2 + x[1] ** 2 + u[0] ** 2,
    initial_state=[0.0, 1.0],
    horizon=(0.0, 5.0),
    control_bounds=(-0.3, 1.0),
    name="van_der_pol",
)
solution = pmp.solve(problem)  # without steps=, the grid is refined until the answer stands still
report = solution.verify()  # Pontryagin's conditions, recomputed independently of the solver
print(solution)

assert solution.success and report.ok
assert abs(float(solution.objective) - 2.86726104524) < 1e-5
