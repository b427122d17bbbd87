"""Free final time: the curve of quickest descent from (0, 0) to (1, 1), with gravity 1 and y downwards."""

import math

import torch

import pontryagin as pmp

problem = pmp.Problem(
    dynamics=lambda t, x, u: torch.stack([x[2] * torch.sin(u[0]), x[2] * torch.cos(u[0]), torch.cos(u[0])]),
    terminal_cost=lambda t, x: t,
    initial_state=[0.0, 0.0, 0.0],
    terminal_state=[1.0, 1.0, None],  # the speed at the end is free
    free_final_time=(2.0, 0.1, 10.0),
    control_bounds=(0.0, math.pi),
    name="brachistochrone",
)
solution = pmp.solve(problem, steps=100, guess=lambda t: 0.1 + 0.7 * t)  # steep first, then level
print(solution)

# The cycloid through (1, 1): x = r (a - sin a), y = r (1 - cos a), with t1 = a sqrt(r).
angle, radius = 2.4120111439135, 0.5729170374
assert abs(float(solution.final_time) - angle * math.sqrt(radius)) < 1e-4
assert solution.success
# H(t1) + phi_t = 0, and H is constant: time is the only thing that is paid for
torch.testing.assert_close(solution.hamiltonian, torch.full((101,), -1.0, dtype=torch.float64), rtol=0, atol=2e-2)
