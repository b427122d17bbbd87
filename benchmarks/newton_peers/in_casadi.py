"""CasADi: direct multiple shooting, solved by IPOPT (with MUMPS) or FATROP, on expanded scalar expressions."""

from __future__ import annotations

from typing import Any

import casadi
import numpy as np

from benchmarks.newton_peers.solver import Refused, Solved, Solver
from benchmarks.newton_peers.statement import STEPS, Array, Statement
from benchmarks.peers.casadi import CASADI

QUIET = {
    "ipopt": {"ipopt.print_level": 0, "ipopt.sb": "yes"},
    "fatrop": {"fatrop.print_level": 0, "structure_detection": "auto"},
}
GUESSES = ("line", "zero")


def shooting(statement: Statement, kind: str, plugin: str, guess: str, initial_state: Array | None = None) -> Solver:
    """One solve, or a loop over initial states (B, n). The guess of the states: the line between the ends, or zero."""
    if not casadi.has_nlpsol(plugin):
        raise Refused(f"this build of CasADi has no {plugin}")
    if plugin == "fatrop" and kind == "linear":
        raise Refused("FATROP: a control that two steps share is not the structure that it detects")
    solver, low, high = _nlp(statement, kind, plugin)
    starts = statement.initial_state[None] if initial_state is None else initial_state
    first = [_guess(statement, kind, guess, start) for start in starts]

    def solve() -> Solved:
        controls, iterations = [], []
        for start, x0 in zip(starts, first, strict=True):
            found = solver(x0=x0, p=start, lbx=low, ubx=high, lbg=0, ubg=0)
            assert solver.stats()["success"], f"{plugin} from {start} ends with {solver.stats()['return_status']}"
            controls.append(_controls(statement, kind, np.asarray(found["x"]).ravel()))
            iterations.append(solver.stats()["iter_count"])
        return Solved(np.stack(controls), max(iterations))

    name = f"CasADi, {plugin.upper()} from {'a line' if guess == 'line' else 'zero'}"
    return Solver(f"{name}, {kind} control", "its own default, 1e-8", solve)


def _nlp(statement: Statement, kind: str, plugin: str) -> tuple[Any, list[float], list[float]]:
    """The solver, and bounds of its variables x_0, u_0, x_1, u_1, ..., x_N, [u_N]; x_0 is a parameter."""
    n, m, linear = statement.n, statement.m, kind == "linear"
    y, first, last = casadi.SX.sym("y", n + 1), casadi.SX.sym("a", m), casadi.SX.sym("b", m)
    ends = (first, last) if linear else (first, first)
    step = casadi.Function(
        "step", [y, first, last], [statement.step(CASADI, lambda rows: casadi.vertcat(*rows), y, *ends)]
    )
    x = [casadi.MX.sym(f"x{k}", n) for k in range(STEPS + 1)]
    u = [casadi.MX.sym(f"u{k}", m) for k in range(STEPS + linear)]
    start = casadi.MX.sym("start", n)
    free, box, state = [np.inf] * n, statement.control_bounds, statement.state_bounds
    variables: list[Any] = []
    constraints: list[Any] = []
    low: list[float] = []
    high: list[float] = []
    cost: Any = 0
    for k in range(STEPS + 1):
        inner = 0 < k < STEPS
        variables.append(x[k])
        low += [*state[0]] if inner else [-value for value in free]
        high += [*state[1]] if inner else free
        if k < len(u):
            variables.append(u[k])
            low, high = [*low, *box[0]], [*high, *box[1]]
        if k < STEPS:
            after = step(casadi.vertcat(x[k], 0), u[k], u[k + linear])
            cost = cost + after[n]
            constraints.append(x[k + 1] - after[:n])
        if k == 0:
            constraints.append(x[0] - start)
    if statement.target is not None:
        constraints.append(x[STEPS] - statement.target)
    options: dict[str, Any] = {"expand": True, "print_time": False, **QUIET[plugin]}
    if plugin == "fatrop":
        options["equality"] = [True] * sum(row.numel() for row in constraints)
    problem = {"x": casadi.vertcat(*variables), "p": start, "f": cost, "g": casadi.vertcat(*constraints)}
    return casadi.nlpsol("solver", plugin, problem, options), low, high


def _guess(statement: Statement, kind: str, guess: str, start: Array) -> Array:
    target = start if statement.target is None else statement.target
    rows = []
    for k in range(STEPS + 1):
        share = k / STEPS
        rows.append((1 - share) * start + share * target if guess == "line" else np.zeros(statement.n))
        rows.append(np.zeros(statement.m) if k < STEPS or kind == "linear" else np.zeros(0))
    return np.concatenate(rows)


def _controls(statement: Statement, kind: str, values: Array) -> Array:
    n, m = statement.n, statement.m
    if kind == "linear":
        return values.reshape(STEPS + 1, n + m)[:, n:]
    return values[:-n].reshape(STEPS, n + m)[:, n:]
