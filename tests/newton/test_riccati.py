"""The Riccati recursion against the dense system of optimality conditions."""

from __future__ import annotations

import numpy as np
import pytest

from pontryagin.optim.newton.riccati import factorise, solve

BATCH, STEPS, NS, NV, ENDS = 3, 6, 5, 2, 2
FREE = np.array([False, True, False, False, True])


def random_problem(ends: int, seed: int = 1):
    """H, J, E, g, d, b, e with a last state component that is constant, as a parameter is."""
    random, nz = np.random.default_rng(seed), NS + NV
    root = random.standard_normal((BATCH, STEPS + 1, nz, nz))
    hessian = root @ np.swapaxes(root, -1, -2) + np.eye(nz)
    hessian[:, -1, NS:] = 0.0
    hessian[:, -1, :, NS:] = 0.0
    jacobian = 0.6 * random.standard_normal((BATCH, STEPS, NS, nz))
    jacobian[:, :, -1] = np.eye(nz)[NS - 1]
    gradient = random.standard_normal((BATCH, STEPS + 1, nz))
    gradient[:, -1, NS:] = 0.0
    rest = (
        random.standard_normal((BATCH, STEPS, NS)),
        random.standard_normal((BATCH, NS)),
        random.standard_normal((BATCH, ends)),
    )
    return hessian, jacobian, random.standard_normal((BATCH, ends, NS)), gradient, *rest


def dense(hessian, jacobian, end, gradient, defect, initial, miss, i):
    """s, v, p_1.., nu of problem i by one big linear system."""
    states, size = (STEPS + 1) * NS, (STEPS + 1) * NS + STEPS * NV
    H, g = np.zeros((size, size)), np.zeros(size)

    def place(k):
        return [*range(k * NS, (k + 1) * NS), *(range(states + k * NV, states + (k + 1) * NV) if k < STEPS else [])]

    rows, right = [], []
    for k in range(STEPS + 1):
        at = place(k)
        H[np.ix_(at, at)] += hessian[i, k, : len(at), : len(at)]
        g[at] += gradient[i, k, : len(at)]
    for c in np.flatnonzero(~FREE):
        rows.append(np.eye(size)[c])
        right.append(initial[i, c])
    for k in range(STEPS):
        for c in range(NS):
            row = np.zeros(size)
            row[place(k)] = jacobian[i, k, c]
            row[(k + 1) * NS + c] -= 1.0
            rows.append(row)
            right.append(-defect[i, k, c])
    for j in range(end.shape[1]):
        row = np.zeros(size)
        row[STEPS * NS : states] = end[i, j]
        rows.append(row)
        right.append(-miss[i, j])
    A = np.array(rows)
    whole = np.block([[H, A.T], [A, np.zeros((len(A), len(A)))]])
    answer = np.linalg.solve(whole, np.concatenate([-g, right]))
    fixed = int((~FREE).sum())
    multipliers = answer[size + fixed :]
    return (
        answer[:states].reshape(STEPS + 1, NS),
        answer[states:size].reshape(STEPS, NV),
        multipliers[: STEPS * NS].reshape(STEPS, NS),
        multipliers[STEPS * NS :],
        -answer[size : size + fixed],
    )


@pytest.mark.parametrize("rho", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("ends", [0, ENDS])
def test_the_step_is_that_of_the_dense_system_whatever_the_penalty(ends, rho):
    hessian, jacobian, end, *right = random_problem(ends)
    factors = factorise(hessian, jacobian, end, np.full((BATCH, ends), rho), FREE)
    assert factors.definite.all()
    step = solve(factors, *right)
    for i in range(BATCH):
        state, control, costate, nu, first = dense(hessian, jacobian, end, *right, i)
        np.testing.assert_allclose(step.state[i], state, atol=1e-10)
        np.testing.assert_allclose(step.control[i], control, atol=1e-10)
        np.testing.assert_allclose(step.costate[i, 1:], costate, atol=1e-9)
        np.testing.assert_allclose(step.end[i], nu, atol=1e-9)
        np.testing.assert_allclose(step.costate[i, 0, ~FREE], first, atol=1e-9)
        np.testing.assert_allclose(step.costate[i, 0, FREE], 0.0, atol=1e-9)


def test_the_inertia_is_wrong_only_for_the_problem_with_negative_curvature():
    hessian, jacobian, end, *_ = random_problem(ENDS)
    hessian[1, 2, NS:, NS:] -= 100 * np.eye(NV)
    assert factorise(hessian, jacobian, end, np.ones((BATCH, ENDS)), FREE).definite.tolist() == [True, False, True]


def test_negative_curvature_that_the_end_forbids_is_no_wrong_inertia():
    """x_1 = x_0 + v with x_1 given: v cannot move, however negative its curvature."""
    hessian, jacobian = np.zeros((1, 2, 2, 2)), np.ones((1, 1, 1, 2))
    hessian[0, 0, 1, 1] = -1.0
    fixed = np.zeros(1, dtype=bool)
    assert factorise(hessian, jacobian, np.ones((1, 1, 1)), np.full((1, 1), 1e3), fixed).definite.all()
    assert not factorise(hessian, jacobian, np.zeros((1, 0, 1)), np.zeros((1, 0)), fixed).definite.any()


def test_the_same_end_constraint_twice_is_met_once():
    hessian, jacobian, end, *right = random_problem(ENDS)
    end[:, 1], right[3][:, 1] = end[:, 0], right[3][:, 0]
    step = solve(factorise(hessian, jacobian, end, np.ones((BATCH, ENDS)), FREE), *right)
    reached = (end @ step.state[:, -1, :, None])[..., 0] + right[3]
    np.testing.assert_allclose(reached, 0.0, atol=1e-8)


def test_a_problem_alone_gets_what_it_gets_in_a_batch():
    hessian, jacobian, end, *right = random_problem(ENDS)
    many = solve(factorise(hessian, jacobian, end, np.ones((BATCH, ENDS)), FREE), *right)
    one = solve(
        factorise(hessian[1:2], jacobian[1:2], end[1:2], np.ones((1, ENDS)), FREE), *(part[1:2] for part in right)
    )
    np.testing.assert_allclose(one.state[0], many.state[1], atol=1e-13)
    np.testing.assert_allclose(one.end[0], many.end[1], atol=1e-12)
