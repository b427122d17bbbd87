"""Feedback gains: how the optimal control answers to a state that is not the planned one, to first order.

    u = u*_k + K_k (x - x*_k)      at node k = 0..N-1, where step k begins

is the optimal control of what remains of the problem from (t_k, x), up to squares of x - x*_k: what a new solve from
there would begin with. A constant control holds u for the step; of a linear control it is the value at the node, and
between the nodes K is read off on a straight line. Final time and parameters stay what they are.

K comes from the last linear-quadratic problem of Newton's method at the solution, whatever method found that: the
second derivatives of J + p (F - s) + nu e, and for every bound or constraint with a multiplier lambda and a gap sigma
the stiffness lambda / sigma, so that nothing leaves a constraint that pushes. With P and the gain of the recursion in
optim/newton/riccati.py, and the columns q_k of the multipliers nu of terminal equalities,

    V_k(s, nu) = 1/2 s' P_k s + s' q_k nu + 1/2 nu' W_k nu,
    q_k = A' q + Q_sv kappa_k,    kappa_k = -Q_vv^{-1} B' q,    W_k = W + q' B kappa_k,      q = q_{k+1}, W = W_{k+1}

nu is stationary too: W_k nu = -q_k' s. So K_k is the gain of the recursion and kappa_k dnu/ds. A linear control has its
u_k within s = (x, u, ...): there u_k is minimised over as well. Close to t1 a terminal equality asks for large gains;
what the steps that are left cannot correct any more is left alone (the pseudo-inverse of W_k).

(Bryson & Ho, Applied Optimal Control, 1975, chapter 6: neighbouring extremals.)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pontryagin.answer import Answer
from pontryagin.backend.linearise import ReferenceShooting
from pontryagin.backend.multiple_shooting import multiple_shooting
from pontryagin.errors import NotYetSupported
from pontryagin.instances import Instances
from pontryagin.optim.newton import NewtonSettings, barrier, riccati
from pontryagin.optim.newton.barrier import Slacks
from pontryagin.optim.newton.riccati import Factors
from pontryagin.optim.newton.scaling import scales_of
from pontryagin.shooting import Array, Dual, Primal
from pontryagin.tableau import tableau_named

#: A gap to a constraint counts as this at least, relative to one plus the size of what is bounded.
GAP = 1e-10

#: Eigenvalues of W_k below this, relative to its diagonal, belong to what cannot be corrected any more.
LOST = 1e-11


def feedback_gain(solution: Answer) -> Tensor:
    """K (B, N, m, n) with u = u*_k + K_k (x - x*_k); NaN for a problem whose optimum is not a strict one.

    Raises ProblemError for a solution loaded without its problem, NotYetSupported for integral constraints, and
    CaptureError when a function of the problem cannot become formulas.
    """
    problem = solution.need_problem("feedback gains")
    if problem.functions.integrand is not None:
        raise NotYetSupported(
            f"feedback gains of {problem.name} need the multipliers of its integral constraints, which a solution does "
            "not hold; make each integral a state with a terminal constraint"
        )
    whole = solution.batched()
    shooting, point, dual = _at(whole)
    with np.errstate(all="ignore"):
        gains = _gains(whole, shooting, point, dual)
    found = torch.from_numpy(gains).to(whole.state)
    return found if solution.batch is not None else found[0]


def _at(whole: Answer) -> tuple[ReferenceShooting, Primal, Dual]:
    """The problems on their grid, the point and its multipliers."""
    problem, control = whole.need_problem("feedback gains"), whole.control
    instances = Instances(problem, whole.state[:, 0], whole.parameters, whole.data, single=False)
    data = instances.arguments(control, whole.final_time).data
    state, theta = _array(whole.state), _array(whole.parameters)
    shooting = multiple_shooting(
        problem,
        control.grid,
        control.kind,
        tableau_named(whole.scheme),
        state[:, 0],
        theta,
        None if data is None else _array(data),
    )
    statement, r = shooting.statement, problem.equality_count
    point = shooting.pack(state, _array(control.values), theta, _array(whole.final_time))
    costate = np.zeros_like(point.state)
    costate[..., : problem.state_dim] = _array(whole.costate)
    path = np.zeros((len(state), *statement.active.shape))
    path[..., : problem.path_count] = _array(whole.path_multipliers) * _duration(whole)
    path[:, -1, problem.path_count :] = _array(whole.multipliers)[:, r:]
    return shooting, point, Dual(costate, _array(whole.multipliers)[:, :r], path)


def _duration(whole: Answer) -> Array:
    """(B, 1, 1) t1 - t0."""
    return _array(whole.final_time - whole.time[:, 0])[:, None, None]


def _gains(whole: Answer, shooting: ReferenceShooting, point: Primal, dual: Dual) -> Array:
    n, m, batch = whole.state.shape[2], whole.control.shape[2], len(point.state)
    found = shooting.linearise(point, dual, np.ones(batch), exact=True)
    slacks = _slacks(whole, shooting, point, dual, found.values.path)
    stiff, _ = barrier.condensed(shooting, found, slacks, np.zeros(batch), np.zeros_like(found.values.path))
    scales = scales_of(shooting, point)
    rho = NewtonSettings.penalty / (scales.weight[:, None] * scales.end**2)
    free = np.zeros_like(shooting.statement.free)
    factors = riccati.factorise(found.hessian + stiff, found.jacobian, found.end_jacobian, rho, free)
    q, W, kappa = _columns(factors)
    if not shooting.linear:
        gains = factors.gain + kappa @ _inverse(-W[:, :-1]) @ np.swapaxes(q[:, :-1], -1, -2)
        return np.where(factors.definite[:, None, None, None], gains[..., :n], np.nan)
    first = shooting.equations.state_dim
    u, ns = slice(first, first + m), len(free)
    P, q, W = factors.value[:, :-1], q[:, :-1], W[:, :-1]
    P_uu = P[..., u, u].copy()
    P_uu[:, 1:] += stiff[:, :-2, ns:, ns:]  # the bounds of u_k count with the step that leads to it
    inverse, strict = riccati.inverse_of_positive(P_uu.reshape(-1, m, m))
    inverse = inverse.reshape(P_uu.shape)
    gain, kappa = -inverse @ P[..., u, :n], -inverse @ q[..., u, :]
    W = W + np.swapaxes(q[..., u, :], -1, -2) @ kappa
    q = q[..., :n, :] + P[..., :n, u] @ kappa
    definite = factors.definite & strict.reshape(batch, -1).all(1)
    return np.where(definite[:, None, None, None], gain + kappa @ _inverse(-W) @ np.swapaxes(q, -1, -2), np.nan)


def _columns(factors: Factors) -> tuple[Array, Array, Array]:
    """q (B, N+1, ns, r), W (B, N+1, r, r) and kappa (B, N, nv, r)."""
    jacobian, ns = factors.jacobian, factors.jacobian.shape[2]
    batch, steps, r = len(jacobian), jacobian.shape[1], factors.end.shape[1]
    q, W = np.zeros((batch, steps + 1, ns, r)), np.zeros((batch, steps + 1, r, r))
    kappa = np.zeros((batch, steps, jacobian.shape[3] - ns, r))
    q[:, -1] = np.swapaxes(factors.end, -1, -2)
    for k in reversed(range(steps)):
        Q = np.swapaxes(jacobian[:, k], -1, -2) @ q[:, k + 1]
        kappa[:, k] = -factors.inverse[:, k] @ Q[:, ns:]
        q[:, k] = Q[:, :ns] + factors.cross[:, k] @ kappa[:, k]
        W[:, k] = W[:, k + 1] + np.swapaxes(Q[:, ns:], -1, -2) @ kappa[:, k]
    return q, W, kappa


def _slacks(whole: Answer, shooting: ReferenceShooting, point: Primal, dual: Dual, path: Array) -> Slacks:
    """Gaps and multipliers of bounds and inequalities, those of controls from H_u, which pushes against its bound."""
    statement, n, m = shooting.statement, whole.state.shape[2], whole.control.shape[2]
    there, ns = barrier.existing(statement), point.state.shape[2]
    gaps = np.concatenate((*barrier.gaps(statement, point), -path), 2)
    size = np.concatenate((1 + np.abs(point.z), 1 + np.abs(point.z), np.ones_like(path)), 2)

    pushed = np.zeros_like(point.z)  # by the upper bound, or minus that by the lower one
    pushed[..., :n] = _array(whole.state_multipliers)
    slope = -_array(whole.control_gradient)
    if shooting.linear:
        first = shooting.equations.state_dim
        pushed[:, 0, first : first + m] = slope[:, 0]
        pushed[:, :-1, ns:] = slope[:, 1:]
    else:
        pushed[:, :-1, ns:] = slope
    pushed *= _duration(whole)
    multiplier = np.concatenate((np.maximum(-pushed, 0), np.maximum(pushed, 0), np.maximum(dual.path, 0)), 2)
    return Slacks(np.where(there, np.maximum(gaps, GAP * size), 1.0), np.where(there, multiplier, 0.0))


def _inverse(matrix: Array) -> Array:
    """Of positive semidefinite matrices (B, N, r, r), zero in the directions that have no size."""
    if matrix.shape[-1] == 0:
        return matrix
    diagonal = np.diagonal(matrix, axis1=-2, axis2=-1)
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = scale[..., None] * np.nan_to_num(matrix) * scale[..., None, :]
    inverse: Array = scale[..., None] * np.linalg.pinv(scaled, rcond=LOST, hermitian=True) * scale[..., None, :]
    return inverse


def _array(values: Tensor) -> Array:
    return values.detach().double().numpy(force=True)
