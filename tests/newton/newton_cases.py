"""Problems with one kind of constraint each and known optima, and one with everything at once."""

from __future__ import annotations

import math

import numpy as np
import torch

import pontryagin as pmp
from pontryagin.backend.linearise import ReferenceShooting
from pontryagin.backend.multiple_shooting import multiple_shooting
from pontryagin.shooting import Dual, Primal
from pontryagin.tableau import tableau_named
from pontryagin.time_grid import TimeGrid


def double_integrator(t, x, u):
    return torch.stack([x[1], u[0]])


def integrator(t, x, u):
    return torch.stack([u[0]])


def effort(t, x, u):
    return u[0] ** 2


def everything() -> pmp.Problem:
    """No two terms alike, and every argument in every function."""
    return pmp.Problem(
        dynamics=lambda t, x, u, p: torch.stack([x[1] * p[0] + u[1] ** 2, torch.sin(x[0] * t) + u[0] * p[1]]),
        running_cost=lambda t, x, u, p: (x[0] * u[0]) ** 2 + t * p[0] * x[1] ** 3,
        terminal_cost=lambda t, x, p: t**2 * x[0] * p[0],
        initial_cost=lambda x, p: x[0] ** 3 * p[0],
        initial_state=[None, 1.0],
        terminal_constraint=lambda t, x: x[0] * t * x[1] - 1,
        terminal_inequality=lambda t, x: x[0] ** 2 - t**3,
        path_constraint=lambda t, x, u: torch.stack([x[0] * u[1] * t - 3, x[0] ** 2 - t - 0.5]),
        integral_constraint=(lambda t, x, u: torch.stack([u[0] ** 2 * x[0], u[1] ** 2]), [-1, 1], [1, 1]),
        free_final_time=(1.5, 0.5, 3),
        parameters={"a": pmp.Parameter(1.0, 0, 2), "b": 0.5},
        control_bounds=(-1, [1, 2.0]),
        name="everything",
    )


def driven() -> pmp.Problem:
    """Data, time, a fixed horizon that does not begin at zero."""
    return pmp.Problem(
        dynamics=lambda t, x, u, d: torch.stack([x[1] * torch.cos(t), -x[0] * x[1] + u[0] * d[0]]),
        running_cost=lambda t, x, u, d: (x[0] - d[0]) ** 2 + torch.exp(u[0]),
        terminal_cost=lambda t, x: torch.log(1 + x.square().sum()),
        path_constraint=lambda t, x, u, d: torch.stack([u[0] * x[1] - d[0], x[0] ** 2 * u[0] - 1]),
        initial_state=[0.4, 0.8],
        horizon=(0.5, 1.7),
        data=[[1.0], [2.0], [1.5]],
        name="driven",
    )


def shooting_of(problem: pmp.Problem, kind: str, nodes: list[float], scheme: str, batch: int) -> ReferenceShooting:
    grid = TimeGrid(torch.tensor(nodes, dtype=torch.float64))
    data = None if problem.data is None else problem.data.on_grid(grid.times(problem.t0, problem.t1_guess)).numpy()
    many = np.tile(problem.initial_state.numpy(), (batch, 1)), np.tile(problem.parameter_values.numpy(), (batch, 1))
    return multiple_shooting(problem, grid, kind, tableau_named(scheme), *many, data)


def random_point(shooting: ReferenceShooting, batch: int) -> tuple[Primal, Dual]:
    random, statement = np.random.default_rng(0), shooting.statement
    nodes, ns, nv = len(statement.nodes), len(statement.state_names), len(statement.control_names)
    point = Primal(
        0.6 + 0.3 * random.standard_normal((batch, nodes, ns)), 0.3 * random.standard_normal((batch, nodes - 1, nv))
    )
    return point, Dual(
        random.standard_normal((batch, nodes, ns)),
        random.standard_normal((batch, len(statement.end_names))),
        random.standard_normal((batch, nodes, len(statement.path_names))),
    )


def solved() -> dict[str, tuple[pmp.Problem, float, float]]:
    """Problems of every kind: (problem, optimal value, relative error of a discretised optimum on 50 steps)."""
    one = {"horizon": (0.0, 1.0), "running_cost": effort}
    turn = {"dynamics": double_integrator, "initial_state": [0.0, 1.0], "terminal_state": [0.0, -1.0]}
    line = {"dynamics": integrator, "initial_state": [0.0], "terminal_state": [1.0]}
    loop = {"dynamics": integrator, "initial_state": [0.0], "terminal_state": [0.0]}
    return {
        "state bounds (Bryson & Denham)": (
            pmp.Problem(**turn, **one, state_bounds=([None, None], [1 / 9, None])), 8.0, 1e-4
        ),
        "both state bounds and control bounds (beam)": (
            pmp.Problem(**turn, **one, state_bounds=([0, None], [0.1, None]), control_bounds=(-10, 10)), 80 / 9, 1e-6
        ),
        "path constraint in the state (Bryson & Denham)": (
            pmp.Problem(**turn, **one, path_constraint=lambda t, x, u: x[0] - 1 / 9), 8.0, 1e-4
        ),
        "path constraint in time and state": (
            pmp.Problem(
                dynamics=lambda t, x, u: torch.stack([x[1], u[0] - x[1]]),
                running_cost=lambda t, x, u: x.square().sum() + 0.005 * u[0] ** 2,
                initial_state=[0.0, -1.0],
                horizon=(0.0, 1.0),
                control_bounds=(-20, 20),
                path_constraint=lambda t, x, u: x[1] - 8 * (t - 0.5) ** 2 + 0.5,
            ), 0.1698205365, 1e-4
        ),
        "path constraint in state and control": (
            pmp.Problem(
                dynamics=integrator, terminal_cost=lambda t, x: x[0], maximize=True, initial_state=[0.0],
                path_constraint=lambda t, x, u: u[0] + x[0] - 0.5, horizon=(0.0, 1.0),
            ), 0.5 * (1 - math.exp(-1)), 1e-4
        ),
        "free final time": (
            pmp.Problem(
                dynamics=double_integrator, terminal_cost=lambda t, x: t, initial_state=[1.0, 0.0],
                terminal_state=[0.0, 0.0], free_final_time=(3.0, 0.1, 10.0), control_bounds=(-1, 1),
            ), 2.0, 1e-3
        ),
        "terminal inequality": (
            pmp.Problem(**line | {"terminal_state": None}, **one, terminal_inequality=lambda t, x: 1 - x[0]), 1.0, 1e-8
        ),
        "parameter": (
            pmp.Problem(
                dynamics=lambda t, x, u, p: torch.stack([u[0] + p[0]]),
                running_cost=lambda t, x, u, p: u[0] ** 2 + p[0] ** 2,
                initial_state=[0.0], terminal_state=[1.0], horizon=(0.0, 1.0),
                parameters={"a": pmp.Parameter(0.1, -1, 1)},
            ), 0.5, 1e-8
        ),
        "parameter on its bound": (
            pmp.Problem(
                dynamics=lambda t, x, u, p: torch.stack([u[0] + p[0]]),
                running_cost=lambda t, x, u, p: u[0] ** 2 + p[0] ** 2,
                initial_state=[0.0], terminal_state=[1.0], horizon=(0.0, 1.0),
                parameters={"a": pmp.Parameter(0.1, -1, 0.2)},
            ), 0.68, 1e-8
        ),
        "free initial state with a cost": (
            pmp.Problem(**line | {"initial_state": [None]}, **one, initial_cost=lambda x: x[0] ** 2), 0.5, 1e-8
        ),
        "free initial state on its bound": (
            pmp.Problem(
                **line | {"initial_state": [None]}, **one, initial_cost=lambda x: x[0] ** 2, initial_bounds=(None, 0.25)
            ), 0.625, 1e-8
        ),
        "integral equality": (
            pmp.Problem(**loop, **one, integral_constraint=(lambda t, x, u: x[0], [1.0], [1.0])), 12.0, 1e-8
        ),
        "integral inequality": (
            pmp.Problem(**loop, **one, integral_constraint=(lambda t, x, u: x[0], [1.0], [5.0])), 12.0, 1e-8
        ),
    }  # fmt: skip
