"""Problems for second derivatives: the small ones, the gallery, two with path constraints; values at random points."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pontryagin.codegen.model import model_text
from pontryagin.codegen.second_order import second_order_text
from pontryagin.graph import evaluate
from pontryagin.hamiltonian import derive
from pontryagin.problem import Problem
from pontryagin.second_order import SecondOrder, derive_second_order

sys.path.append(str(Path(__file__).parents[1] / "sweep"))
from sweep_cases import GALLERY, SMALL, gallery_problem


@cache
def obstacle() -> Problem:
    """A car that must stay out of a disc that moves with the time, of a radius that is a parameter."""
    return Problem(
        dynamics=lambda t, x, u, p: torch.stack([x[2] * torch.cos(x[3]), x[2] * torch.sin(x[3]), u[0], x[2] * u[1]]),
        running_cost=lambda t, x, u, p: u.square().sum() + p[0] * x[2] ** 2,
        path_constraint=lambda t, x, u, p: p[0] ** 2 - (x[0] - t) ** 2 - x[1] ** 2,
        initial_state=[0.0, 1.0, 0.5, 0.1],
        terminal_state=[2.0, None, 0.0, None],
        horizon=(0.0, 2.0),
        parameters={"radius": 0.4},
    )


@cache
def engine() -> Problem:
    """Limits that mix state and control, one of them linear, one learned: with an nn.Parameter of its own."""
    weight = torch.nn.Parameter(torch.tensor([0.7, -0.4], dtype=torch.float64))

    def limits(t: Tensor, x: Tensor, u: Tensor, d: Tensor) -> Tensor:
        return torch.stack([u[0] * x[1] - d[0], x[0] + u[1] - 3.0, torch.exp(weight @ x) * u[1] - 2.0])

    return Problem(
        dynamics=lambda t, x, u, d: torch.stack([-x[0] * x[1] + u[0], x[0] / (1.0 + x[1] ** 2) + u[1] * d[0]]),
        running_cost=lambda t, x, u, d: (x[0] - d[0]) ** 2 + torch.hypot(u[0], u[1]) ** 3,
        terminal_cost=lambda t, x: torch.log(1.0 + x.square().sum()),
        terminal_constraint=lambda t, x: x[0] * x[1] - 1.0,
        path_constraint=limits,
        initial_state=[0.4, 0.8],
        horizon=(0.0, 1.0),
        data=torch.tensor([[1.0], [2.0], [1.5]], dtype=torch.float64),
    )


CONSTRAINED = {"obstacle": obstacle, "engine": engine}
NAMES = [*SMALL, *CONSTRAINED, *GALLERY]


def problem_named(name: str) -> Problem:
    small = SMALL | CONSTRAINED
    return small[name]() if name in small else gallery_problem(name)


def random_values(problem: Problem, count: int) -> dict[str, np.ndarray]:
    """Every input of the graphs at `count` points near the initial state, weights and multipliers of either sign."""
    random = np.random.default_rng(5)
    found = derive_second_order(problem)
    equations = derive(problem)

    def near(centre: Tensor, spread: float) -> np.ndarray:
        middle = centre.nan_to_num().numpy()[:, None]
        return middle + spread * (1.0 + np.abs(middle)) * random.uniform(-1.0, 1.0, (middle.size, count))

    data = torch.zeros(0) if problem.data is None else problem.data.at(torch.tensor([problem.t0]))[0]
    theta = torch.cat([problem.parameter_values, found.implicit.values()])
    return {
        "t": problem.t0 + random.uniform(0.0, 1.0, (1, count)) * (problem.t1_guess - problem.t0),
        "x": near(problem.initial_state, 0.2),
        "u": near(problem.control_set.middle(), 0.4),
        "theta": near(theta, 0.1) if problem.parameter_dim else np.tile(theta.numpy()[:, None], count),
        "d": near(data.double(), 0.1),
        "w": random.standard_normal((1, count)),
        "m": random.standard_normal((problem.state_dim, count)),
        "mu": random.standard_normal((problem.path_count, count)),
        "omega": random.standard_normal((len(equations.terminal), count)),
    }


def listed(found: SecondOrder) -> dict[str, list]:
    """Everything that the printed functions give, in one order: values, then entries of matrices."""
    n = len(found.dynamics) - 1
    return {
        "f": [*found.dynamics[:n]],
        "L": [found.dynamics[n]],
        "jacobian": [*found.jacobian.values()],
        "gradient": [*found.gradient],
        "hessian": [*found.hessian.values()],
        "path": [*found.path],
        "path_jacobian": [*found.path_jacobian.values()],
        "path_hessian": [*found.path_hessian.values()],
        "terminal_jacobian": [*found.terminal_jacobian.values()],
        "terminal_hessian": [*found.terminal_hessian.values()],
    }


def evaluated(found: SecondOrder, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: evaluate(nodes, values) for name, nodes in listed(found).items()}


def printed(name: str, problem: Problem | None = None) -> str:
    """The struct Model of a problem, by default the one of this name, with its second-order sections."""
    problem = problem or problem_named(name)
    equations, found = derive(problem), derive_second_order(problem)
    graphs = {field: value for field, value in vars(found).items() if field not in ("parameter_dim", "implicit")}
    return model_text(
        title=name,
        sizes={"n": equations.state_dim, "m": equations.control_dim, "q": found.parameter_dim,
               "nd": equations.data_dim, "equalities": equations.equality_count,
               "r": equations.equality_count + equations.inequality_count},
        dynamics=equations.dynamics,
        terminal=equations.terminal,
        second_order=second_order_text(**graphs),
    )  # fmt: skip
