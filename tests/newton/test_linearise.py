"""The second-order sweep against torch.func, on the step written once more with the user's functions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from newton_cases import driven, everything, random_point, shooting_of

from pontryagin.problems import get
from pontryagin.tableau import TABLEAUS, tableau_named

BATCH = 2
NODES = [0.0, 0.2, 0.5, 1.0]
PROBLEMS = {"everything": everything, "driven": driven, "cartpole_kelly": get("cartpole_kelly").problem}

#: Differentiated by two tools, the formulas in another order; relative to the largest entry.
TOLERANCE = 1e-11


class Twin:
    """The functions of a step of z = (s, v), in torch, for one problem of the batch."""

    def __init__(self, problem, shooting, scheme, b):
        self.problem, self.shooting, self.tableau, self.b = problem, shooting, tableau_named(scheme), b
        self.equations = shooting.equations
        self.ns = len(shooting.statement.state_names)

    def arguments(self, k, c, x, z):
        """t, u, theta, d at scaled time c of step k."""
        e, shooting = self.equations, self.shooting
        n, m, q = e.state_dim, e.control_dim, len(e.optimised)
        h = NODES[min(k + 1, len(NODES) - 1)] - NODES[k]
        first = n + (m if shooting.linear else 0)
        v = z[self.ns :]
        u = (1 - c) * z[n : n + m] + c * v if shooting.linear else v
        theta = torch.tensor(shooting.theta[self.b])
        for i, place in enumerate(e.optimised):
            theta = torch.cat([theta[:place], z[first + i : first + i + 1], theta[place + 1 :]])
        t1 = z[first + q] if e.free_time else torch.tensor(self.problem.t1_guess, dtype=torch.float64)
        duration = t1 - self.problem.t0
        t = self.problem.t0 + (NODES[k] + c * h) * duration
        data = torch.tensor(shooting.data[self.b])
        d = (
            data[min(k, len(data) - 1)]
            if not shooting.linear_data
            else (1 - c) * data[k] + (c * data[k + 1] if c else 0.0)
        )
        return t, x[: self.problem.state_dim], u, theta, d, duration

    def slopes(self, k, c, x, z):
        *arguments, duration = self.arguments(k, c, x, z)
        functions = self.problem.functions
        f = functions.dynamics(*arguments)
        g = f[:0] if functions.integrand is None else functions.integrand(*arguments)
        return duration * torch.cat([f, g]), duration * functions.running_cost(*arguments)

    def step(self, k, z):
        """F_k(z) and l_k(z)."""
        e, h = self.equations, NODES[k + 1] - NODES[k]
        x, stages = z[: e.state_dim], []
        for row, c in zip(self.tableau.a, self.tableau.c, strict=True):
            stage = x + h * sum((a * f for a, (f, _) in zip(row, stages, strict=True)), torch.zeros_like(x))
            stages.append(self.slopes(k, c, stage, z))
        x = x + h * sum(b * f for b, (f, _) in zip(self.tableau.b, stages, strict=True))
        cost = h * sum(b * L for b, (_, L) in zip(self.tableau.b, stages, strict=True))
        rest = z[e.state_dim : self.ns]
        if self.shooting.linear:
            rest = torch.cat([z[self.ns :], rest[e.control_dim :]])
        return torch.cat([x, rest]), cost

    def lagrangian(self, k, z, dual, weight):
        """The terms of the Lagrangian at node k."""
        problem, statement, last = self.problem, self.shooting.statement, len(NODES) - 1
        p, nu, mu = (torch.tensor(part[self.b]) for part in (dual.costate, dual.end, dual.path))
        total = torch.zeros((), dtype=torch.float64)
        if k < last:
            following, cost = self.step(k, z)
            total = total + weight * cost + p[k + 1] @ following
        t, x, u, theta, d, _ = self.arguments(k, 0.0, z[: self.equations.state_dim], z)
        w, active, paths = statement.weights[k], statement.active[k], problem.path_count
        if problem.functions.path_constraint is not None:
            c = problem.functions.path_constraint(t, x, u, theta, d)
            total = total + w * (torch.tensor(active[:paths]) * mu[k, :paths]) @ c
        if k == 0:
            total = total + weight * problem.functions.initial_cost(x, theta)
        if k == last:
            r = problem.equality_count
            total = total + weight * problem.functions.terminal_cost(t, x, theta)
            total = total + nu[:r] @ problem.functions.terminal_equality(t, x, theta)
            gamma = problem.functions.terminal_inequality(t, x, theta)
            total = total + mu[k, paths : paths + len(gamma)] @ gamma  # integrals are linear
        return total


CASES = [("everything", scheme) for scheme in TABLEAUS] + [(name, "rk4") for name in ("driven", "cartpole_kelly")]


@pytest.mark.parametrize("kind", ["linear", "constant"])
@pytest.mark.parametrize(("name", "scheme"), CASES)
def test_steps_jacobians_and_hessians_equal_torch_func(name, kind, scheme):
    problem = PROBLEMS[name]()
    shooting = shooting_of(problem, kind, NODES, scheme, BATCH)
    point, dual = random_point(shooting, BATCH)
    weight = np.array([1.0, 0.7])
    found = shooting.linearise(point, dual, weight, exact=True)
    for b in range(BATCH):
        twin = Twin(problem, shooting, scheme, b)
        for k in range(len(NODES)):
            last = k == len(NODES) - 1
            z = torch.tensor(point.z[b, k])
            if last and kind == "constant":
                z[twin.ns :] = torch.tensor(point.control[b, -1])
            hessian = second_derivatives(lambda z, k=k, twin=twin, b=b: twin.lagrangian(k, z, dual, weight[b]), z)
            if last:
                hessian[twin.ns :] = hessian[:, twin.ns :] = 0.0
            close(found.hessian[b, k], hessian)
            if not last:
                following, _ = twin.step(k, z)
                close(found.values.next[b, k], following)
                close(found.jacobian[b, k], torch.func.jacrev(lambda z, k=k, twin=twin: twin.step(k, z)[0])(z))
                slope = torch.func.grad(lambda z, k=k, twin=twin: twin.step(k, z)[1])(z) * weight[b]
                if k > 0:
                    close(found.gradient[b, k], slope)


def second_derivatives(function, z):
    """By reverse mode twice, because forward mode warns at its first use."""
    return torch.func.jacrev(torch.func.jacrev(function))(z).detach().clone()


def close(found, expected):
    expected = expected.detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("kind", ["linear", "constant"])
def test_derivatives_of_constraints_and_ends_equal_central_differences(kind):
    problem = everything()
    shooting = shooting_of(problem, kind, NODES, "rk4", BATCH)
    point, dual = random_point(shooting, BATCH)
    found = shooting.linearise(point, dual, np.ones(BATCH), exact=True)
    ns, step = point.state.shape[2], 1e-6
    for k in range(len(NODES)):
        for j in range(found.gradient.shape[2]):
            if j >= ns and k == len(NODES) - 1:
                continue
            high, low = (shooting.values(moved(point, k, j, ns, sign * step)) for sign in (1, -1))
            slopes = {name: (getattr(high, name) - getattr(low, name)) / (2 * step) for name in vars(high)}
            np.testing.assert_allclose(found.gradient[:, k, j], slopes["cost"], atol=1e-8)
            np.testing.assert_allclose(found.path_jacobian[:, k, :, j], slopes["path"][:, k], atol=1e-8)
            if k == len(NODES) - 1:
                np.testing.assert_allclose(found.end_jacobian[:, :, j], slopes["end"], atol=1e-8)


def moved(point, k, j, ns, step):
    state, control = point.state.copy(), point.control.copy()
    if j < ns:
        state[:, k, j] += step
    else:
        control[:, k, j - ns] += step
    return replace(point, state=state, control=control)


def test_gauss_newton_leaves_out_the_curvature_of_dynamics_and_constraints():
    problem = everything()
    shooting = shooting_of(problem, "linear", NODES, "rk4", BATCH)
    point, dual = random_point(shooting, BATCH)
    without = shooting.linearise(point, dual, np.ones(BATCH), exact=False).hessian
    other = replace(dual, costate=5 * dual.costate, end=3 * dual.end, path=7 * dual.path)
    np.testing.assert_array_equal(without, shooting.linearise(point, other, np.ones(BATCH), exact=False).hessian)
    assert np.abs(without - shooting.linearise(point, dual, np.ones(BATCH), exact=True).hessian).max() > 0.1


def test_values_do_not_depend_on_whether_derivatives_are_wanted():
    shooting = shooting_of(everything(), "linear", NODES, "rk4", BATCH)
    point, dual = random_point(shooting, BATCH)
    found, alone = shooting.linearise(point, dual, np.ones(BATCH), exact=True).values, shooting.values(point)
    for name in vars(alone):
        np.testing.assert_allclose(getattr(found, name), getattr(alone, name), rtol=1e-13)
