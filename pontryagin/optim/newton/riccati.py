"""The linear-quadratic problem of a Newton step: a Riccati recursion, free initial components, end equalities.

    minimise   sum_k 1/2 z_k' H_k z_k + g_k z_k,    z_k = (s_k, v_k),    and no v at k = N
    subject to s_{k+1} = J_k z_k + d_k,    s_0 = b in the fixed components,    E s_N + e = 0

Multipliers p of the dynamics and nu of the end have the signs of shooting.py: H_N s_N + g_N + E' nu = p_N.

The end. Adding rho/2 |E s_N + e|^2 changes nothing about the answer, and with rho large enough everything that is
convex on the null space of E is convex altogether, so that the recursion works. What is left of nu enters the costate
at the end linearly: q_N gets r further columns E', one for each nu_j, which run through the recursion with the same
factors, and nu follows from E s_N(nu) + e = 0.

    Q = H_k + J_k' P_{k+1} J_k,    K_k = -Q_vv^{-1} Q_vs,    P_k = Q_ss + Q_sv K_k
    q_k = Q_s + Q_sv kappa_k,  kappa_k = -Q_vv^{-1} Q_v,    (Q_s, Q_v) = g_k + J_k' (P_{k+1} d_k + q_{k+1})
    s_{k+1} = J_k (s_k, K_k s_k + kappa_k) + d_k,    p_k = P_k s_k + q_k

The inertia is right where all Q_vv, and P_0 in the free components, are positive definite: `factorise` says for which
problems of the batch. (Rao, Wright & Rawlings, JOTA 99 (1998); Vanroye et al., Fatrop, IROS 2023.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pontryagin.shooting import Array, Mask

#: Relative to its diagonal, the smallest eigenvalue of a matrix that counts as positive definite.
DEFINITE = 1e-12

#: The same of the matrix that gives nu; below it constraints depend on each other, and such a nu stays where it is.
INDEPENDENT = 1e-11


@dataclass(frozen=True)
class Columns:
    """Right-hand sides and answers side by side, C of them."""

    state: Array  # (B, N+1, ns, C) s
    control: Array  # (B, N, nv, C) v
    costate: Array  # (B, N+1, ns, C) p


@dataclass(frozen=True)
class Factors:
    """What depends on the matrices alone."""

    hessian: Array  # (B, N+1, nz, nz) H
    jacobian: Array  # (B, N, ns, nz) J
    end: Array  # (B, r, ns) E
    rho: Array  # (B, r)
    value: Array  # (B, N+1, ns, ns) P
    gain: Array  # (B, N, nv, ns) K
    inverse: Array  # (B, N, nv, nv) of Q_vv
    cross: Array  # (B, N, ns, nv) Q_sv
    initial: Array  # (B, ns, ns) of P_0 in the free components, zero elsewhere
    free: Mask  # (B, ns)
    columns: Columns  # of nu
    end_inverse: Array  # (B, r, r) of E ds_N/dnu
    definite: Mask  # (B,)
    relaxed: Mask  # (B,)


@dataclass(frozen=True)
class Step:
    """The answer."""

    state: Array  # (B, N+1, ns)
    control: Array  # (B, N, nv)
    costate: Array  # (B, N+1, ns) p, whole, not a change
    end: Array  # (B, r) nu, whole


def factorise(
    hessian: Array, jacobian: Array, end: Array, rho: Array, free: Mask, relaxed: Mask | None = None
) -> Factors:
    """All that depends on H (B, N+1, nz, nz), J (B, N, ns, nz), E (B, r, ns), rho (B, r) and `free` (ns,).

    `relaxed` (B,) problems have no end equalities but their penalty rho alone.
    """
    batch, steps, ns, nz = jacobian.shape
    value = np.empty((batch, steps + 1, ns, ns))
    gain, inverse = np.empty((batch, steps, nz - ns, ns)), np.empty((batch, steps, nz - ns, nz - ns))
    cross = np.empty((batch, steps, ns, nz - ns))
    definite = np.ones(batch, dtype=bool)
    transposed = np.swapaxes(jacobian, -1, -2)
    P = hessian[:, -1, :ns, :ns] + np.swapaxes(end, -1, -2) @ (rho[..., None] * end)
    value[:, -1] = P
    for k in reversed(range(steps)):
        Q = hessian[:, k] + transposed[:, k] @ P @ jacobian[:, k]
        inverse[:, k], good = inverse_of_positive(Q[:, ns:, ns:])
        definite &= good
        cross[:, k] = Q[:, :ns, ns:]
        gain[:, k] = -inverse[:, k] @ Q[:, ns:, :ns]
        P = Q[:, :ns, :ns] + cross[:, k] @ gain[:, k]
        P = 0.5 * (P + np.swapaxes(P, -1, -2))
        value[:, k] = P
    initial = np.zeros((batch, ns, ns))
    inner = np.ix_(np.arange(batch), free, free)
    initial[inner], good = inverse_of_positive(P[inner])
    definite &= good

    r = end.shape[1]
    none = Columns(np.empty(0), np.empty(0), np.empty(0))
    many = np.tile(free, (batch, 1))
    factors = Factors(
        hessian, jacobian, end, rho, value, gain, inverse, cross, initial, many, none, np.empty(0), definite, definite
    )
    zeros = np.zeros((batch, steps + 1, nz, r))
    zeros[:, -1, :ns] = np.swapaxes(end, -1, -2)
    columns = _solved(factors, zeros, np.zeros((batch, steps, ns, r)), np.zeros((batch, ns, r)))
    reached = end @ columns.state[:, -1]  # negative semidefinite
    end_inverse = -_pseudo_inverse(-0.5 * (reached + np.swapaxes(reached, -1, -2)))
    if relaxed is None:
        relaxed = np.zeros(batch, dtype=bool)
    end_inverse[relaxed] = 0.0
    parts = vars(factors) | {"columns": columns, "end_inverse": end_inverse, "relaxed": relaxed}
    return Factors(**parts)


def solve(factors: Factors, gradient: Array, defect: Array, initial: Array, miss: Array) -> Step:
    """The answer for g (B, N+1, nz), d (B, N, ns), b (B, ns) and e (B, r), refined once.

    A barrier puts large numbers into H that cancel when a control is eliminated; what that costs in digits comes back
    when the derivative that is left over is solved for once more.
    """
    step = _solve_once(factors, gradient, defect, initial, miss)
    left, missed = _left_over(factors, step, gradient, miss)
    missed[factors.relaxed] = 0.0
    more = _solve_once(factors, left, 0.0 * defect, 0.0 * initial, missed)
    return Step(step.state + more.state, step.control + more.control, step.costate + more.costate, step.end + more.end)


def _left_over(factors: Factors, step: Step, gradient: Array, miss: Array) -> tuple[Array, Array]:
    """H z + g + J' p - p + E' nu (B, N+1, nz), which should be zero but in fixed components at k = 0, and E s_N + e."""
    ns = step.state.shape[2]
    none = np.zeros_like(step.control[:, :1])
    z = np.concatenate((step.state, np.concatenate((step.control, none), 1)), 2)
    left = (factors.hessian @ z[..., None])[..., 0] + gradient
    left[:, :-1] += (step.costate[:, 1:, None, :] @ factors.jacobian)[:, :, 0]
    left[:, 1:, :ns] -= step.costate[:, 1:]
    left[:, -1, :ns] += (step.end[:, None, :] @ factors.end)[:, 0]
    left[:, 0, :ns] = np.where(factors.free, left[:, 0, :ns], 0.0)
    return left, miss + (factors.end @ step.state[:, -1, :, None])[..., 0]


def _solve_once(factors: Factors, gradient: Array, defect: Array, initial: Array, miss: Array) -> Step:
    g = gradient.copy()
    ns = defect.shape[2]
    g[:, -1, :ns] += ((factors.rho * miss)[:, None, :] @ factors.end)[:, 0]
    without = _solved(factors, g[..., None], defect[..., None], initial[..., None])
    rest = miss[..., None] + factors.end @ without.state[:, -1]
    nu = -factors.end_inverse @ rest  # (B, r, 1)
    columns, at_all = factors.columns, nu[:, None]
    state, control, costate = (
        (one + many @ at_all)[..., 0]
        for one, many in ((without.state, columns.state), (without.control, columns.control),
                          (without.costate, columns.costate))
    )  # fmt: skip
    # The multiplier of the end is nu and what the penalty adds to it, which is zero where E s_N + e is.
    reached = miss + (factors.end @ state[:, -1, :, None])[..., 0]
    return Step(state, control, costate, nu[..., 0] + factors.rho * reached)


def _solved(factors: Factors, gradient: Array, defect: Array, initial: Array) -> Columns:
    """For g (B, N+1, nz, C), d (B, N, ns, C), b (B, ns, C): backward for q and kappa, forward for s and v."""
    jacobian, value = factors.jacobian, factors.value
    batch, steps, ns, _ = jacobian.shape
    count = gradient.shape[3]
    transposed = np.swapaxes(jacobian, -1, -2)
    slope = np.empty((batch, steps + 1, ns, count))
    feedforward = np.empty((batch, steps, factors.gain.shape[2], count))
    pushed = value[:, 1:] @ defect
    q = gradient[:, -1, :ns]
    slope[:, -1] = q
    for k in reversed(range(steps)):
        Q = gradient[:, k] + transposed[:, k] @ (pushed[:, k] + q)
        feedforward[:, k] = -factors.inverse[:, k] @ Q[:, ns:]
        q = Q[:, :ns] + factors.cross[:, k] @ feedforward[:, k]
        slope[:, k] = q

    state = np.empty((batch, steps + 1, ns, count))
    control = np.empty_like(feedforward)
    fixed = np.where(factors.free[..., None], 0.0, initial)
    s = fixed - factors.initial @ (q + value[:, 0] @ fixed)
    state[:, 0] = s
    A, B = jacobian[..., :ns], jacobian[..., ns:]
    for k in range(steps):
        v = factors.gain[:, k] @ s + feedforward[:, k]
        s = A[:, k] @ s + B[:, k] @ v + defect[:, k]
        control[:, k], state[:, k + 1] = v, s
    return Columns(state, control, value @ state + slope)


def inverse_of_positive(matrix: Array) -> tuple[Array, Mask]:
    """Inverses of symmetric matrices (B, k, k), and which of them are positive definite; others get some inverse.

    By eigenvalues of D^{-1/2} M D^{-1/2} with D the diagonal, so that the verdict does not depend on units.
    """
    if matrix.shape[-1] == 0:
        return matrix, np.ones(len(matrix), dtype=bool)
    vectors, eigenvalues, scale, good = _scaled_eigen(matrix)
    good &= eigenvalues.min(-1) > DEFINITE
    eigenvalues = np.where(np.abs(eigenvalues) > DEFINITE, np.abs(eigenvalues), DEFINITE)
    turned = scale[..., None] * vectors
    return (turned / eigenvalues[:, None, :]) @ np.swapaxes(turned, -1, -2), good


def _pseudo_inverse(matrix: Array) -> Array:
    """Of a positive semidefinite matrix (B, r, r), without directions of no size."""
    if matrix.shape[-1] == 0:
        return matrix
    vectors, eigenvalues, scale, _ = _scaled_eigen(matrix)
    inverted = np.where(eigenvalues > INDEPENDENT, 1.0 / np.maximum(eigenvalues, INDEPENDENT), 0.0)
    turned = scale[..., None] * vectors
    return (turned * inverted[:, None, :]) @ np.swapaxes(turned, -1, -2)


def _scaled_eigen(matrix: Array) -> tuple[Array, Array, Array, Mask]:
    """Eigenvectors, eigenvalues, D^{-1/2} and whether D is positive. What is not finite has no inertia."""
    diagonal = np.diagonal(matrix, axis1=-2, axis2=-1)
    finite: Mask = np.asarray(np.isfinite(matrix).all((-2, -1)))
    good = finite & (diagonal > 0).all(-1)
    scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = np.where(finite[:, None, None], scale[:, :, None] * matrix * scale[:, None, :], np.eye(matrix.shape[-1]))
    eigenvalues, vectors = np.linalg.eigh(scaled)
    return vectors, eigenvalues, np.where(finite[:, None], scale, np.nan), good
