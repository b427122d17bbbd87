"""Every statement of the gallery has its reference value, along an extremal that satisfies Pontryagin's principle.

From x(t0) and the reference costate p(t0), x' = f and p' = -H_x are integrated with the control that minimises
H = L + p.f, written here by hand. Then J is the reference, the end is met, p(t1) = phi_x where the end is free,
H(t1) + phi_t = 0 where the time is free, and H_u = 0, or holds the control at its bound, all along.
"""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from pontryagin.problems import get, names

NOTHING = torch.empty(0, dtype=torch.float64)

#: Relative error of the objective; rounding of p(t0) to ten digits shows in it only times the terminal violation.
OBJECTIVE = 1e-9

#: Error at the end: ten digits of p(t0), grown by the factor of at most 1e4 that the linearised equations have.
END = 1e-6


def tensor(value):
    return torch.as_tensor(np.atleast_1d(value), dtype=torch.float64)


class Canonical:
    """The canonical equations of one problem, with autograd through its own functions."""

    def __init__(self, problem, control):
        self.problem, self.control = problem, control

    def hamiltonian(self, t, z, u):
        """H, f, L, H_x and H_u at one point."""
        n, functions = self.problem.state_dim, self.problem.functions
        t, x, u = torch.tensor(t, dtype=torch.float64), tensor(z[:n]).requires_grad_(), tensor(u).requires_grad_()
        f = functions.dynamics(t, x, u, NOTHING, NOTHING)
        cost = functions.running_cost(t, x, u, NOTHING, NOTHING)
        value = cost + tensor(z[n : 2 * n]) @ f
        gradients = torch.autograd.grad(value, (x, u), allow_unused=True, materialize_grads=True)
        return value.item(), f.detach().numpy(), cost.item(), *(gradient.numpy() for gradient in gradients)

    def __call__(self, t, z):
        n = self.problem.state_dim
        u = self.control(t, z[:n], z[n : 2 * n])
        _, f, cost, derivative, _ = self.hamiltonian(t, z, u)
        return np.concatenate([f, -derivative, [cost]])


def piecewise(*values):
    """Constant controls, one for each piece; the piece is chosen by the time."""
    return lambda pieces: lambda t, x, p: values[int(np.searchsorted(pieces, t, side="right"))]


def quadrotor(t, x, p):
    c6, c7, c8 = np.cos(x[6:9])
    s6, s7, s8 = np.sin(x[6:9])
    lift = p[1] * (c6 * s7 * c8 + s6 * s8) + p[3] * (c6 * s7 * s8 - s6 * c8) + p[5] * c6 * c7
    turn = p[6] / c7 + p[8] * s7 / c7
    return -10 * np.array([lift, turn * c6 - p[7] * s6, turn * s6 + p[7] * c6, p[8]])


def cartpole(t, x, p):
    cosine = np.cos(x[1])
    determinant = 0.5 * (0.3 * cosine**2 - 1.3)
    return -(p[3] * cosine - 0.5 * p[2]) / determinant / 2


def batch_reactor(t, x, p):
    hottest, coldest = np.exp(-2500 / 398), np.exp(-2500 / 298)
    curvature = -620000 * p[1] * x[1]
    z = hottest if curvature <= 0 else -4000 * x[0] ** 2 * (p[1] - p[0]) / (2 * curvature)
    return -2500 / np.log(np.clip(z, coldest, hottest))


def fishing(t, x, p):
    if t < FISHING[0] or t < FISHING[1]:
        return 0.0 if t < FISHING[0] else 1.0
    a, b = x
    above = -6 * a**3 * b + 8 * a**3 - 3 * a**2 * b**2 + 8 * a**2 * b + 3 * a * b**3 - 13 * a * b**2 + 4 * a * b - b**3
    return 5 * above / (16 * a**3 + 6 * a**2 * b + 2 * a * b + b**3)


FISHING = get("lotka_volterra_fishing").reference.switching_times
REST, FIRST, SHRINK = 2.919932462779, 1.727537888887, 0.242121373548
FULLER = tuple(REST - (REST - FIRST) * SHRINK**k for k in range(12))

#: The control u(t, x, p) that minimises H.
EXTREMALS = {
    "scalar_lqr": lambda t, x, p: -p[0],
    "double_integrator_lqr": lambda t, x, p: -p[1],
    "double_integrator_min_energy": lambda t, x, p: -p[1],
    "van_der_pol_bocop": lambda t, x, p: -p[1],
    "van_der_pol_bounded": lambda t, x, p: np.clip(-p[0] / 2, -0.3, 1.0),
    "van_der_pol_unbounded": lambda t, x, p: -p[0] / 2,
    "rayleigh_2_5": lambda t, x, p: -2 * p[1],
    "cstr_kirk": lambda t, x, p: p[0] * (x[0] + 0.25) / 0.2,
    "pendulum_swing_up_T3": lambda t, x, p: -p[1],
    "bryson_max_range": lambda t, x, p: np.arctan2(p[2] - p[1] * x[2], x[2]),
    "batch_reactor": batch_reactor,
    "orbit_raising": lambda t, x, p: np.arctan2(-p[1], -p[2]),
    "cartpole_kelly": cartpole,
    "quadrotor_tracking": quadrotor,
    "linear_tangent_steering": lambda t, x, p: np.arctan2(-p[3], -p[1]),
    "brachistochrone_dymos": lambda t, x, p: 0.9736796980423 * t,
    "brachistochrone_unit": lambda t, x, p: 0.6605780452705 * t,
    "double_integrator_min_time": piecewise(-1.0, 1.0),
    "double_integrator_min_fuel": piecewise((1.0, 0.0), (0.0, 0.0), (0.0, 1.0)),
    "scalar_turnpike": piecewise(-1.0, 0.0, 1.0),
    "moon_lander": piecewise(0.0, 1.227),
    "catalyst_mixing": piecewise(1.0, 0.227142082708, 0.0),
    "luus_singular_4": piecewise(-1.0, 1.0, -1.0, 1.0, -1.0),
    "lotka_volterra_fishing": fishing,
    "fuller": piecewise(*[(-1.0) ** (k + 1) for k in range(12)], 0.0),
}


def integrate(canonical, start, breaks, end):
    """Final z = (x, p, J) and samples (t, z) inside the pieces."""
    z, samples = start, []
    for begin, stop in zip((canonical.problem.t0, *breaks), (*breaks, end), strict=True):
        if begin < stop:
            # the last instant of a piece belongs to the next one where the control is chosen by the time
            last = np.nextafter(stop, begin) if stop in breaks else stop
            done = solve_ivp(canonical, (begin, last), z, method="DOP853", rtol=1e-11, atol=1e-12, dense_output=True)
            z = done.y[:, -1]
            samples += [(t, done.sol(t)) for t in np.linspace(begin, last, 7)[1:-1]]
    return z, samples


@pytest.fixture(scope="module", params=sorted(EXTREMALS))
def extremal(request):
    entry = get(request.param)
    problem, reference, control = entry.problem(), entry.reference, EXTREMALS[request.param]
    breaks = FULLER if request.param == "fuller" else reference.switching_times or ()
    if control.__code__.co_argcount == 1:
        control = control(breaks)
    canonical = Canonical(problem, control)
    start = np.concatenate([problem.initial_state.numpy(), reference.initial_costate, [0.0]])
    end = reference.final_time or problem.t1_guess
    z, samples = integrate(canonical, start, breaks, end)
    return problem, reference, canonical, end, z, samples


def terminal(problem, end, z):
    """phi, its derivatives in x and t, psi and psi_x at the end."""
    n, functions = problem.state_dim, problem.functions
    t, x = torch.tensor(end, dtype=torch.float64, requires_grad=True), tensor(z[:n]).requires_grad_()

    def slopes(value):
        value = value + 0.0 * (t + x.sum())  # so that constants have a derivative too
        found = torch.autograd.grad(value, (x, t), retain_graph=True)
        return found[0].numpy(), found[1].item()

    cost, constraint = functions.terminal_cost(t, x, NOTHING), functions.terminal_equality(t, x, NOTHING)
    normals = np.array([slopes(row)[0] for row in constraint]).reshape(-1, n)
    return cost.item(), *slopes(cost), constraint.detach().numpy(), normals


def test_objective_is_the_reference(extremal):
    problem, reference, _, end, z, _ = extremal
    objective = (terminal(problem, end, z)[0] + z[-1]) * (-1 if problem.maximize else 1)
    assert objective == pytest.approx(reference.objective, rel=OBJECTIVE, abs=0)


def test_end_is_met(extremal):
    problem, _, _, end, z, _ = extremal
    assert np.abs(terminal(problem, end, z)[3]).max(initial=0.0) < END


def test_costate_is_transversal(extremal):
    problem, _, _, end, z, _ = extremal
    n = problem.state_dim
    _, gradient, _, _, normals = terminal(problem, end, z)
    rest = z[n : 2 * n] - gradient
    if len(normals):
        rest = rest - normals.T @ np.linalg.lstsq(normals.T, rest, rcond=None)[0]
    assert np.abs(rest).max() < END * max(1.0, np.abs(z[n : 2 * n]).max())


def test_hamiltonian_vanishes_at_a_free_end(extremal):
    problem, _, canonical, end, z, _ = extremal
    if problem.free_final_time is None:
        return
    n = problem.state_dim
    value = canonical.hamiltonian(end, z, canonical.control(end, z[:n], z[n : 2 * n]))[0]
    assert abs(value + terminal(problem, end, z)[2]) < END


def test_control_minimises_the_hamiltonian_to_first_order(extremal):
    problem, _, canonical, _, _, samples = extremal
    n = problem.state_dim
    for t, z in samples:
        u = tensor(canonical.control(t, z[:n], z[n : 2 * n]))
        gradient = tensor(canonical.hamiltonian(t, z, u)[4])
        assert problem.control_set.projected_gradient(u, gradient).abs().max() < END


#: No costate is listed, or it is no function of one shot: unstable, or with jumps where state bounds begin to hold.
ELSEWHERE = {
    "hypersensitive", "rayleigh_mixed", "bryson_denham_1_9", "singular_5_yeo", "state_constraint_stc1", "beam",
    "dubins_turn_around", "reeds_shepp_turn_around", "container_crane", "two_link_arm", "robot_arm_cops",
    "hang_glider_cops", "space_shuttle_reentry", "goddard_cops",
}  # fmt: skip


def test_every_problem_with_a_costate_has_its_extremal_here():
    assert set(names()) - set(EXTREMALS) == ELSEWHERE


def test_hypersensitive_arcs_have_the_reference_cost():
    problem, reference = get("hypersensitive").problem(), get("hypersensitive").reference
    cost = 0.0
    for start, side in ((1.5, 1.0), (1.0, -1.0)):  # forwards from the start, backwards from the end
        costate = lambda x, side=side: -(x**3) + side * math.sqrt(x**6 + x**2)  # noqa: E731
        canonical = Canonical(problem, lambda t, x, p, costate=costate: -costate(x[0]))
        equation = lambda t, z, side=side, canonical=canonical: side * np.delete(canonical(t, np.insert(z, 1, 0.0)), 1)  # noqa: E731
        done = solve_ivp(equation, (0.0, 25.0), [start, 0.0], method="DOP853", rtol=1e-11, atol=1e-13)
        cost += side * done.y[1, -1]
    assert cost == pytest.approx(reference.objective, rel=1e-10)
    assert reference.initial_costate[0] == pytest.approx(math.sqrt(1.5**6 + 1.5**2) - 1.5**3, rel=1e-15)


def test_reference_costate_has_the_sign_of_the_derivative_in_the_initial_state():
    # V(x0) = tanh(1) x0^2 / 2 for the scalar regulator
    assert get("scalar_lqr").reference.initial_costate[0] == pytest.approx(math.tanh(1.0), rel=1e-15)
