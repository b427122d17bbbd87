"""A terminal state, its multipliers and the costates: a unit mass goes from rest to rest with the least energy."""

import torch

import pontryagin as pmp

problem = pmp.Problem(
    dynamics=lambda t, x, u: torch.stack([x[1], u[0]]),
    running_cost=lambda t, x, u: 0.5 * u[0] ** 2,
    initial_state=[0.0, 0.0],
    terminal_state=[1.0, 0.0],
    horizon=(0.0, 1.0),
)
solution = pmp.solve(problem, steps=50)

# By hand: H = u^2/2 + p0 x1 + p1 u gives u = -p1, p0' = 0, p1' = -p0, and the ends fix p = (-12, 12 t - 6).
t = torch.linspace(0, 1, 7, dtype=torch.float64)
by_hand = torch.stack([torch.full_like(t, -12.0), 12 * t - 6], 1)
print(f"objective   {float(solution.objective):.6f}, by hand 6")
print(f"multipliers {[round(value, 4) for value in solution.multipliers.tolist()]}, by hand [-12, 6]")
print(f"H           {float(solution.hamiltonian.min()):.4f} to {float(solution.hamiltonian.max()):.4f}, by hand -18")

assert abs(float(solution.objective) - 6) < 1e-5
torch.testing.assert_close(solution.costate_at(t), by_hand, rtol=0, atol=1e-3)
torch.testing.assert_close(solution.control_at(t)[:, 0], 6 - 12 * t, rtol=0, atol=1e-2)
torch.testing.assert_close(solution.costate[-1], solution.multipliers)  # p(t1) = phi_x + nu psi_x

# The costate at t0 is the price of the initial state: what a start nearer to the goal saves.
nearer = pmp.solve(problem, steps=50, initial_state=[0.01, 0.0], guess=solution)
saved = float(solution.objective - nearer.objective) / 0.01
print(f"price of x0 {saved:.2f}, costate {-float(solution.costate[0, 0]):.2f}")
assert abs(saved - 12) < 0.1
