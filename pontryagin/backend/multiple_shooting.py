"""From a problem on a grid to multiple shooting: unknowns, where bounds and constraints hold, and their weights."""

from __future__ import annotations

import numpy as np

from pontryagin.backend.linearise import ReferenceShooting
from pontryagin.control import Kind
from pontryagin.hamiltonian import kept
from pontryagin.problem import Problem
from pontryagin.shooting import Array, Mask, Statement
from pontryagin.step_equations import StepEquations, derive_step
from pontryagin.tableau import Tableau
from pontryagin.time_grid import TimeGrid


def multiple_shooting(
    problem: Problem,
    grid: TimeGrid,
    kind: Kind,
    tableau: Tableau,
    initial_state: Array,
    theta: Array,
    data: Array | None,
) -> ReferenceShooting:
    """B problems on one grid: initial states (B, n) with NaN where they are free, theta (B, q), data as sweeps take
    them. Raises CaptureError when a function cannot become a graph."""
    batch, free = len(initial_state), np.isnan(initial_state[0])
    linear_data = data is not None and data.shape[-2] > grid.steps
    key = (grid.key, kind, tableau, linear_data, free.tobytes())
    frame = kept(problem, "frames", key, lambda: _frame(problem, grid, kind == "linear", tableau, linear_data, free))
    initial = np.zeros((batch, len(frame.statement.free)))
    initial[:, : len(free)] = initial_state
    if free.any():
        np.nan_to_num(initial, copy=False)
    whole = np.empty((batch, frame.theta.shape[1]))
    whole[:, : theta.shape[1]] = theta
    if theta.shape[1] < whole.shape[1]:
        whole[:, theta.shape[1] :] = frame.equations.implicit.values().numpy(force=True)
    data = np.zeros((batch, grid.steps, 0)) if data is None else np.broadcast_to(data, (batch, *data.shape[-2:]))
    return frame.of(initial, whole, data)


def _frame(
    problem: Problem, grid: TimeGrid, linear: bool, tableau: Tableau, linear_data: bool, free: Mask
) -> ReferenceShooting:
    """What stays the same for all initial states, parameters and data; `free` (n,) are initial components."""
    equations = derive_step(problem)
    others = equations.size - len(free) - (0 if linear else equations.control_dim)
    free = np.concatenate((free, np.ones(others, dtype=bool)))  # u_0 of a linear control, parameters, t1
    free[problem.state_dim : equations.state_dim] = False  # integrals
    return ReferenceShooting(
        equations=equations,
        tableau=tableau,
        linear=linear,
        linear_data=linear_data,
        nodes=grid.nodes.numpy(),
        statement=_statement(problem, equations, grid, linear, free),
        initial=np.zeros((0, len(free))),
        theta=np.zeros((0, problem.parameter_dim + equations.implicit.count)),
        data=np.zeros((0, grid.steps + linear_data, problem.data_dim)),
        cores={},
    )


def _statement(problem: Problem, equations: StepEquations, grid: TimeGrid, linear: bool, free: Mask) -> Statement:
    n, m, steps = problem.state_dim, problem.control_dim, grid.steps
    first, ns = equations.state_dim + (m if linear else 0), len(free)
    low, high = np.full((steps + 1, ns + m), -np.inf), np.full((steps + 1, ns + m), np.inf)
    target = problem.terminal_state
    open_end = np.ones(n, dtype=bool) if target is None else np.isnan(target.numpy(force=True))
    for side, index, better in ((low, 0, np.maximum), (high, 1, np.minimum)):
        if problem.state_bounds is not None:
            bound = problem.state_bounds[index].numpy(force=True)
            side[1:-1, :n] = bound
            side[-1, :n] = np.where(open_end, bound, side[-1, :n])
            side[0, :n] = np.where(free[:n], bound, side[0, :n])
        if problem.initial_bounds is not None:
            bound = problem.initial_bounds[index].numpy(force=True)
            side[0, :n] = np.where(free[:n], better(bound, side[0, :n]), side[0, :n])
        box = (problem.control_set.low, problem.control_set.high)[index].numpy(force=True)
        side[:-1, ns:] = box
        if linear:
            side[0, equations.state_dim : first] = box
        place = list(equations.optimised)
        side[0, first : first + len(place)] = (problem.theta.low, problem.theta.high)[index].numpy(force=True)[place]
        if problem.free_final_time is not None:
            side[0, ns - 1] = problem.free_final_time[1 + index]

    path, end, r = len(equations.path.values), len(equations.end.values), equations.equality_count
    active = np.zeros((steps + 1, path + end - 1 - r), dtype=bool)
    active[:, :path] = True
    active[-1, path:] = True
    moving = range(n, equations.size)  # arguments besides x
    for i in range(path):
        columns = {column for row, column in equations.path.jacobian if row == i}
        if not linear and columns & set(range(equations.state_dim, equations.state_dim + m)):
            active[-1, i] = False  # a constant control has no value at the end
        if not columns & set(moving) and not any(free[column] for column in columns):
            active[0, i] = False  # nothing moves it
    weights = grid.basis_mass("linear").numpy()
    bound_weights, path_weights = (np.repeat(weights[:, None], columns, 1) for columns in (ns + m, active.shape[1]))
    bound_weights[:, first:ns] = 1.0
    path_weights[:, path:] = 1.0
    theta_names = [f"theta[{i}]" for i in equations.optimised] + ["t1"] * equations.free_time
    controls = [f"u[{i}]" for i in range(m)]
    names = [f"x[{i}]" for i in range(n)] + [f"integral[{i}]" for i in range(equations.state_dim - n)]
    return Statement(
        nodes=grid.nodes.numpy(),
        weights=weights,
        bound_weights=bound_weights,
        path_weights=path_weights,
        free=free,
        low=low,
        high=high,
        active=active,
        state_names=(*names, *(controls if linear else []), *theta_names),
        control_names=tuple(controls),
        path_names=(
            *(f"path_constraint[{i}]" for i in range(path)),
            *(f"terminal_inequality[{i}]" for i in range(problem.inequality_count)),
            *(f"integral_constraint[{i}]" for i in range(end - 1 - r - problem.inequality_count)),
        ),
        end_names=(
            *(f"terminal equality {i}" for i in range(problem.equality_count)),
            *(f"integral_constraint[{i}]" for i in range(r - problem.equality_count)),
        ),
    )
