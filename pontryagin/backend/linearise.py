"""The second-order sweep, slowly and readably: a step of a Runge-Kutta method and its derivatives, all steps at once.

On scaled time (step_equations.py) with y = (x, u, theta, t1) the arguments of a stage and z = (s_k, v_k),
s = (x, [u_k], theta, t1), the stages of step k of length h and their derivatives Y_i = dy_i/dz are

    X_i = x + h sum_{j<i} a_ij f_j,     y_i = (X_i, (1 - c_i) u_k + c_i v_k or v_k, theta, t1)
    x_{k+1} = x + h sum_i b_i f_i,      l_k = h sum_i b_i L_i

For the Hessian of l_k + p_{k+1}.x_{k+1} in z, backward over the stages as in the costate sweep,

    for i = s..1:  w_i = h b_i,   m_i = h b_i p_{k+1} + h sum_{j>i} a_ji g_j,   g_i = w_i L_x + m_i f_x
    H = sum_i Y_i' Hess(w_i L + m_i.f)(y_i) Y_i

which is exact: m_i is the derivative of l_k + p_{k+1}.x_{k+1} in f_i, and all of y_i but X_i is affine in z.
Steps are independent of each other in multiple shooting, so everything below is one array over B problems, N steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from pontryagin.graph import evaluate
from pontryagin.second_order import Matrix
from pontryagin.shooting import Array, Dual, Linearisation, Primal, Rows, Statement, Values
from pontryagin.step_equations import Function, StepEquations
from pontryagin.tableau import Tableau

Inputs = dict[str, Array]

Own = TypeVar("Own", bound="ReferenceShooting")


@dataclass(frozen=True)
class Stage:
    """One stage of all steps."""

    inputs: Inputs
    moves: Array  # (B, N, ny, nz) Y_i
    values: Array  # (B, N, n + 1) f, L
    slopes: Array  # (B, N, n + 1, ny) f_y, L_y; empty where only values are wanted


@dataclass(frozen=True)
class ReferenceShooting:
    """A Shooting on graphs evaluated by numpy. Made by multiple_shooting.py."""

    equations: StepEquations
    tableau: Tableau
    linear: bool  # the control, between its nodes
    linear_data: bool
    nodes: Array  # (N+1,) tau
    statement: Statement
    initial: Array  # (B, ns)
    theta: Array  # (B, q) with what is not optimised
    data: Array  # (B, K, nd)
    cores: dict[Any, Any]  # the same in the core, as compiled_newton.py has made it

    def of(self: Own, initial: Array, theta: Array, data: Array) -> Own:
        """The same for other problems."""
        other = object.__new__(type(self))  # what dataclasses.replace does, in a tenth of the time
        vars(other).update(vars(self), initial=initial, theta=theta, data=data)
        return other

    # -- the interface -----------------------------------------------------------------------------------------------

    def select(self: Own, rows: Rows) -> Own:
        """These problems of the batch."""
        return self.of(self.initial[rows], self.theta[rows], self.data[rows])

    def joined(self: Own, other: Own) -> Own:
        """These problems, then the others."""
        both = ((self.initial, other.initial), (self.theta, other.theta), (self.data, other.data))
        return self.of(*map(np.concatenate, both))

    def values(self, point: Primal) -> Values:
        """F, J, c and psi."""
        following, cost = self._step(point, self._stages(point, slopes=False))
        path = _values(self.equations.path, self._at_nodes(point))
        end = _values(self.equations.end, self._at_end(point))
        start = _values(self.equations.start, self._at_start(point))
        return self._assembled(following, cost, path, end, start)

    def linearise(self, point: Primal, dual: Dual, weight: Array, exact: bool) -> Linearisation:
        """The same with all derivatives; see Shooting."""
        equations, statement, n = self.equations, self.statement, self.equations.state_dim
        stages = self._stages(point, slopes=True)
        following, cost = self._step(point, stages)
        batch, steps, nv = point.control.shape
        ns = point.state.shape[2]
        h = np.diff(self.nodes)[:, None, None]

        jacobian = np.zeros((batch, steps, ns, ns + nv))
        jacobian[..., :n, :n] = np.eye(n)
        gradient = np.zeros((batch, steps + 1, ns + nv))
        for b, stage in zip(self.tableau.b, stages, strict=True):
            chained = b * h * (stage.slopes @ stage.moves)
            jacobian[..., :n, :] += chained[..., :n, :]
            gradient[:, :-1] += weight[:, None, None] * chained[..., n, :]
        jacobian[..., n:, :] = self._carried()

        hessian = np.zeros((batch, steps + 1, ns + nv, ns + nv))
        hessian[:, :-1] = self._step_hessian(stages, dual.costate[:, 1:, :n], weight, exact)

        nodes, places = self._at_nodes(point), self._node_moves()
        rows = _values(equations.path, nodes)
        slopes = _matrix(equations.path.jacobian, nodes, (len(equations.path.values), equations.size)) @ places
        slopes *= statement.active[:, : slopes.shape[2], None]
        path_jacobian = np.zeros((batch, steps + 1, len(statement.path_names), ns + nv))
        path_jacobian[:, :, : rows.shape[2]] = slopes

        end_inputs, start_inputs = self._at_end(point), self._at_start(point)
        end, start = _values(equations.end, end_inputs), _values(equations.start, start_inputs)
        last, r = places[-1], equations.equality_count
        end_slopes = _matrix(equations.end.jacobian, end_inputs, (len(equations.end.values), equations.size)) @ last
        gradient[:, -1] += weight[:, None] * end_slopes[:, 0]
        path_jacobian[:, -1, rows.shape[2] :] = end_slopes[:, 1 + r :]
        start_slopes = _matrix(equations.start.jacobian, start_inputs, (1, equations.size)) @ places[0]
        gradient[:, 0] += weight[:, None] * start_slopes[:, 0]

        mu = statement.path_weights * dual.path * exact
        mu = np.where(statement.active, mu, 0.0)
        nodes["mu"] = np.moveaxis(mu[..., : rows.shape[2]], -1, 0)
        hessian += _congruent(_symmetric(equations.path.hessian, nodes, equations.size), places)
        omega = np.concatenate((weight[:, None], exact * dual.end, mu[:, -1, rows.shape[2] :]), 1)
        end_inputs["omega"] = omega.T
        hessian[:, -1] += _congruent(_symmetric(equations.end.hessian, end_inputs, equations.size), last)
        start_inputs["omega"] = weight[None]
        hessian[:, 0] += _congruent(_symmetric(equations.start.hessian, start_inputs, equations.size), places[0])
        return Linearisation(
            self._assembled(following, cost, rows, end, start),
            jacobian,
            gradient,
            hessian,
            path_jacobian,
            end_slopes[:, 1 : 1 + r, :ns],
        )

    def follow(self, point: Primal, dz: Array, alpha: Array, defect: Array, gain: Array) -> Primal:
        """Step by step; see Shooting."""
        a, ns = alpha[:, None], point.state.shape[2]
        straight = point.z + a[..., None] * dz
        state, control = straight[..., :ns].copy(), straight[:, :-1, ns:].copy()
        for k in range(control.shape[1]):
            away = state[:, k] - straight[:, k, :ns]
            control[:, k] += (gain[:, k] @ away[..., None])[..., 0]
            data = self.data[:, k : k + 2] if self.linear_data else self.data[:, k : k + 1]
            step = replace(self, nodes=self.nodes[k : k + 2], data=data)
            one = Primal(state[:, k : k + 2], control[:, k : k + 1])
            following, _ = ReferenceShooting._step(step, one, ReferenceShooting._stages(step, one, slopes=False))
            state[:, k + 1] = following[:, 0] - (1 - a) * defect[:, k]
        return Primal(state, control)

    # -- between the people's variables and these ----------------------------------------------------------------------

    def pack(self, state: Array, control: Array, parameters: Array, final_time: Array) -> Primal:
        """From x (B, N+1, n), u (B, K, m), theta (B, q) and t1 (B,). Integrals begin at zero, wherever they end."""
        equations, (batch, nodes, n) = self.equations, state.shape
        packed = np.zeros((batch, nodes, len(self.statement.free)))
        packed[..., :n] = state
        first = equations.state_dim
        if self.linear:
            packed[..., first : first + equations.control_dim] = control
            first += equations.control_dim
        if equations.optimised:
            packed[..., first : first + len(equations.optimised)] = parameters[:, None, list(equations.optimised)]
        if equations.free_time:
            packed[..., -1] = final_time[:, None]
        return Primal(packed, control[:, 1:].copy() if self.linear else control.copy())

    def controls(self, point: Primal) -> Array:
        """u (B, K, m), nodes of a linear control or values of a constant one."""
        n, m = self.equations.state_dim, self.equations.control_dim
        return point.state[..., n : n + m] if self.linear else point.control

    def parameters(self, point: Primal) -> Array:
        """theta (B, q), without what functions close over."""
        first = point.state.shape[2] - len(self.equations.optimised) - self.equations.free_time
        theta: Array = self.theta[:, : self.equations.implicit.declared].copy()
        for k, place in enumerate(self.equations.optimised):
            theta[:, place] = point.state[:, 0, first + k]
        return theta

    def final_time(self, point: Primal) -> Array | None:
        """t1 (B,) where it is free."""
        return point.state[:, 0, -1] if self.equations.free_time else None

    def derivatives(self, point: Primal, dual: Dual) -> tuple[Array, Array]:
        """Of J + nu.psi + sum w mu.c with the dynamics followed: in the control values (B, K, m), and p (B, n) at t0,
        which is the one in x0 without the cost of the initial state."""
        n, m = self.equations.state_dim, self.equations.control_dim
        slope = self.slope(point, dual)
        initial = slope[:, 0, :n]
        if self.equations.start.jacobian:
            first = self._at_start(point)
            initial = initial - _matrix(self.equations.start.jacobian, first, (1, self.equations.size))[:, 0, :n]
        if not self.linear:
            return slope[:, :-1, -m:], initial
        derivative = slope[..., n : n + m].copy()
        derivative[:, 1:] += slope[:, :-1, -m:]
        return derivative, initial

    def slope(self, point: Primal, dual: Dual) -> Array:
        """J_z + p F_z + w mu c_z (B, N+1, nz), of the states x alone in F."""
        n = self.equations.state_dim
        found = self.linearise(point, dual, np.ones(len(point.state)), exact=False)
        slope = found.gradient
        slope[:, :-1] += (dual.costate[:, 1:, None, :n] @ found.jacobian[..., :n, :])[:, :, 0]
        slope += ((self.statement.path_weights * dual.path)[..., None, :] @ found.path_jacobian)[..., 0, :]
        return slope

    def fixed_violation(self, point: Primal) -> Array:
        """(B,) the largest c > 0 at the first node of the rows that nothing can change there."""
        if not self.equations.path.values:
            return np.zeros(len(point.state))
        rows = _values(self.equations.path, self._at_start(point))
        fixed = ~self.statement.active[0, : rows.shape[1]]
        worst: Array = np.where(fixed, rows, 0.0).max(1, initial=0.0)
        return worst

    # -- the step ----------------------------------------------------------------------------------------------------

    def _stages(self, point: Primal, slopes: bool) -> list[Stage]:
        """All stages of all steps, with their derivatives where `slopes` are wanted."""
        equations, n, m = self.equations, self.equations.state_dim, self.equations.control_dim
        x = point.state[:, :-1, :n]
        batch, steps, nv = point.control.shape
        nz, h = point.state.shape[2] + nv, np.diff(self.nodes)
        shape = (n + 1, equations.size)
        stages: list[Stage] = []
        for row, c in zip(self.tableau.a, self.tableau.c, strict=True):
            move = np.zeros((batch, steps, equations.size, nz)) if slopes else np.empty(0)
            stage = x
            for a, before in zip(row, stages, strict=True):
                if a:
                    stage = stage + a * h[:, None] * before.values[..., :n]
            u = (1 - c) * point.state[:, :-1, n : n + m] + c * point.control if self.linear else point.control
            inputs = self._inputs(self.nodes[:-1] + c * h, stage, u, point.state[:, :-1], self._data_at(c))
            if slopes:
                move[:] = self._stage_moves(c)
                for a, before in zip(row, stages, strict=True):
                    if a:
                        move[..., :n, :] += a * h[:, None, None] * (before.slopes[..., :n, :] @ before.moves)
            derivatives = _matrix(equations.stage.jacobian, inputs, shape) if slopes else move
            stages.append(Stage(inputs, move, _values(equations.stage, inputs), derivatives))
        return stages

    def _step(self, point: Primal, stages: list[Stage]) -> tuple[Array, Array]:
        """F (B, N, ns) and l (B, N)."""
        n, h = self.equations.state_dim, np.diff(self.nodes)[:, None]
        total = sum(b * stage.values for b, stage in zip(self.tableau.b, stages, strict=True)) * h
        rest = point.state[:, :-1, n:]
        if self.linear:
            rest = np.concatenate((point.control, rest[..., self.equations.control_dim :]), 2)
        return np.concatenate((point.state[:, :-1, :n] + total[..., :n], rest), 2), total[..., n]

    def _step_hessian(self, stages: list[Stage], costate: Array, weight: Array, exact: bool) -> Array:
        """H (B, N, nz, nz) for costates p_{k+1} (B, N, n). Without `exact`, of the running cost alone."""
        n, tableau, h = self.equations.state_dim, self.tableau, np.diff(self.nodes)[:, None]
        total: Array = np.zeros(())
        pulled: list[Array] = [np.zeros(())] * len(stages)  # g_i
        for i in reversed(range(len(stages))):
            stage = stages[i]
            w = np.broadcast_to(tableau.b[i] * h[:, 0] * weight[:, None], costate.shape[:2])
            m = tableau.b[i] * h * costate
            for j in range(i + 1, len(stages)):
                if tableau.a[j][i]:
                    m = m + tableau.a[j][i] * h * pulled[j]
            both = np.concatenate((m, w[..., None]), 2)
            pulled[i] = (both[..., None, :] @ stage.slopes[..., :n])[..., 0, :]
            inputs = {**stage.inputs, "w": w[None], "m": np.moveaxis(m if exact else 0.0 * m, -1, 0)}
            total = total + _congruent(
                _symmetric(self.equations.stage.hessian, inputs, self.equations.size), stage.moves
            )
        return total

    # -- how arguments depend on z -----------------------------------------------------------------------------------

    def _stage_moves(self, c: float) -> Array:
        """dy/dz (ny, nz) of a stage but for what X_i gains."""
        n, m, ny = self.equations.state_dim, self.equations.control_dim, self.equations.size
        if not self.linear:  # y = (x, u, rest), z = (x, rest, u)
            moves = np.zeros((ny, ny))
            moves[:n, :n] = np.eye(n)
            moves[n : n + m, ny - m :] = np.eye(m)
            moves[n + m :, n : ny - m] = np.eye(ny - n - m)
            return moves
        moves = np.zeros((ny, ny + m))  # y = (x, u, rest), z = (x, u_k, rest, u_{k+1})
        moves[:, :ny] = np.eye(ny)
        moves[n : n + m, n : n + m] *= 1 - c
        moves[n : n + m, ny:] = c * np.eye(m)
        return moves

    def _node_moves(self) -> Array:
        """dy/dz (N+1, ny, nz) at the nodes; a constant control has none at the last one."""
        moves = np.repeat(self._stage_moves(0.0)[None], len(self.nodes), 0)
        if not self.linear:
            n, m = self.equations.state_dim, self.equations.control_dim
            moves[-1, n : n + m] = 0.0
        return moves

    def _carried(self) -> Array:
        """The rows of F_z (ns - n, nz) below the states: u_{k+1} = v_k, parameters and t1 stay."""
        n, m, ny = self.equations.state_dim, self.equations.control_dim, self.equations.size
        if not self.linear:
            return np.eye(ny)[n : ny - m]
        rows = np.eye(ny, ny + m)[n:]
        rows[:m] = 0.0
        rows[:m, ny:] = np.eye(m)
        return rows

    # -- arguments of the graphs -------------------------------------------------------------------------------------

    def _inputs(self, tau: Array, x: Array, u: Array, state: Array, d: Array) -> Inputs:
        """Of points (B, P): x (B, P, n), u (B, P, m), parameters and t1 read from s (B, P, ns), d (B or 1, P, nd)."""
        equations, shape = self.equations, x.shape[:2]
        theta = np.repeat(self.theta.T[:, :, None], shape[1], 2)
        first = state.shape[2] - len(equations.optimised) - equations.free_time
        for k, place in enumerate(equations.optimised):
            theta[place] = state[..., first + k]
        return {
            "tau": np.broadcast_to(tau, (1, *shape)),
            "x": np.moveaxis(x, -1, 0),
            "u": np.moveaxis(u, -1, 0),
            "theta": theta,
            "t1": np.broadcast_to(state[..., -1] if equations.free_time else 0.0, (1, *shape)),
            "d": np.moveaxis(np.broadcast_to(d, (*shape, d.shape[2])), -1, 0),
        }

    def _data_at(self, c: float) -> Array:
        if not self.linear_data:
            return self.data
        return (1 - c) * self.data[:, :-1] + c * self.data[:, 1:]

    def _controls(self, point: Primal) -> Array:
        """u (B, N+1, m) at the nodes; the last value of a constant control stands at the end too."""
        n, m = self.equations.state_dim, self.equations.control_dim
        if self.linear:
            return point.state[..., n : n + m]
        return np.concatenate((point.control, point.control[:, -1:]), 1)

    def _at_nodes(self, point: Primal) -> Inputs:
        n, data = self.equations.state_dim, self.data
        data = data if self.linear_data else np.concatenate((data, data[:, -1:]), 1)
        return self._inputs(self.nodes, point.state[..., :n], self._controls(point), point.state, data)

    def _at_end(self, point: Primal) -> Inputs:
        return {name: value[..., -1] for name, value in self._at_nodes(point).items()}

    def _at_start(self, point: Primal) -> Inputs:
        n, first = self.equations.state_dim, point.state[:, :1]
        u = self._controls(Primal(first, point.control[:, :1]))[:, :1]
        inputs = self._inputs(self.nodes[:1], first[..., :n], u, first, self.data[:, :1])
        return {name: value[..., 0] for name, value in inputs.items()}

    def _assembled(self, following: Array, cost: Array, path: Array, end: Array, start: Array) -> Values:
        r, rows = self.equations.equality_count, path.shape[2]
        c = np.zeros((*path.shape[:2], len(self.statement.path_names)))
        c[..., :rows] = path
        c[:, -1, rows:] = end[:, 1 + r :]
        c = np.where(self.statement.active, c, 0.0)
        return Values(cost.sum(1) + end[:, 0] + start.sum(1), following, c, end[:, 1 : 1 + r])


# -- graphs as arrays -------------------------------------------------------------------------------------------------


def _values(function: Function, inputs: Inputs) -> Array:
    """(B, ..., rows)."""
    if not function.values:
        return np.zeros((*inputs["x"].shape[1:], 0))
    return np.moveaxis(evaluate(function.values, inputs), 0, -1)


def _matrix(entries: Matrix, inputs: Inputs, shape: Sequence[int]) -> Array:
    """(B, ..., rows, columns)."""
    matrix = np.zeros((*inputs["x"].shape[1:], *shape))
    if entries:
        for (i, j), values in zip(entries, evaluate([*entries.values()], inputs), strict=True):
            matrix[..., i, j] = values
    return matrix


def _symmetric(entries: Matrix, inputs: Inputs, size: int) -> Array:
    """The same from a lower triangle."""
    lower = _matrix(entries, inputs, (size, size))
    diagonal = lower * np.eye(size)
    return lower + np.swapaxes(lower, -1, -2) - diagonal


def _congruent(matrix: Array, moves: Array) -> Array:
    """Y' M Y."""
    return np.swapaxes(moves, -1, -2) @ matrix @ moves
