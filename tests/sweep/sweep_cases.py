"""Small problems that together have everything that a sweep treats, the gallery beside them, and random arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from pontryagin.data import Data
from pontryagin.problem import Parameter, Problem
from pontryagin.problems import get, names
from pontryagin.sweep import BACKWARD_OUTPUTS, FORWARD_OUTPUTS, Arguments
from pontryagin.time_grid import TimeGrid

EVERYTHING = FORWARD_OUTPUTS | BACKWARD_OUTPUTS
KINDS = ("constant", "linear")


def integrator() -> Problem:
    """The double integrator: linear, quadratic, all there is in a textbook."""
    return Problem(
        dynamics=lambda t, x, u: torch.stack([x[1], u[0]]),
        running_cost=lambda t, x, u: 0.5 * u[0] ** 2,
        initial_state=[0.0, 0.0],
        terminal_state=[1.0, 0.0],
        horizon=(0.0, 1.0),
    )


def pendulum() -> Problem:
    """Time in every function, parameters, a free end, equalities and inequalities at it."""
    return Problem(
        dynamics=lambda t, x, u, p: torch.stack([x[1], -p[0] * torch.sin(x[0]) + u[0] * torch.cos(t) - p[1] * x[1]]),
        running_cost=lambda t, x, u, p: p[2] * u[0] ** 2 + torch.exp(-t) * x[0] ** 2,
        terminal_cost=lambda t, x, p: t * x[0] ** 2 + p[0] * x[1],
        terminal_constraint=lambda t, x, p: torch.stack([x[0] * t - p[1]]),
        terminal_inequality=lambda t, x, p: torch.stack([x[1] - 0.3 * t, x[0] ** 2 - p[2]]),
        initial_state=[0.4, -0.2],
        free_final_time=(1.3, 0.5, 4.0),
        parameters={"gravity": 2.0, "rest": Parameter([0.1, 0.7], 0.0, 2.0)},
    )


def tracking_linear() -> Problem:
    """A reference and a disturbance as data between nodes."""
    times = torch.linspace(0.5, 2.5, 7, dtype=torch.float64)
    return Problem(
        dynamics=lambda t, x, u, d: torch.stack([-x[0] * x[1] + u[0], x[0] + u[1] * d[1]]),
        running_cost=lambda t, x, u, d: (x[0] - d[0]) ** 2 + 0.1 * u[0] ** 2 + 0.2 * u[1] ** 2,
        initial_state=[0.2, 0.1],
        horizon=(0.5, 2.5),
        data=Data(torch.stack([torch.sin(times), 1 + 0.1 * times], -1), times, "linear"),
    )


def tracking_constant() -> Problem:
    """Data that hold for a while, and a cost that is maximised."""
    return Problem(
        dynamics=lambda t, x, u, d: torch.stack([d[0] * x[0] - u[0] * x[0]]),
        running_cost=lambda t, x, u, d: u[0] * x[0] - 0.3 * u[0] ** 2,
        terminal_cost=lambda t, x: torch.log(x[0]),
        initial_state=[1.0],
        horizon=(0.0, 1.5),
        data=Data([[0.5], [0.8], [0.3]], [0.0, 0.5, 1.0], "constant"),
        maximize=True,
    )


def network() -> Problem:
    """Dynamics learned by a network, with matrices in place of components, and a branch that selects."""
    generator = torch.Generator().manual_seed(3)
    first = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    second = 0.5 * torch.randn(3, 5, generator=generator, dtype=torch.float64)

    def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
        return second.to(x.dtype) @ torch.tanh(first.to(x.dtype) @ x) + torch.nn.functional.pad(u, (0, 1))

    def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
        return torch.where(x[0] > 0.0, x[0] ** 2, 2.0 * x[0] ** 2) + (u**2).sum()

    return Problem(
        dynamics=dynamics,
        running_cost=running_cost,
        terminal_cost=lambda t, x: x.square().sum(),
        initial_state=[0.3, -0.5, 0.2],
        horizon=(0.0, 1.0),
        control_dim=2,
    )


SMALL: dict[str, Callable[[], Problem]] = {
    problem.__name__: cache(problem) for problem in (integrator, pendulum, tracking_linear, tracking_constant, network)
}


def branching() -> Problem:
    """A branch of Python on the value of the state: no graph, no vmap."""

    def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
        return torch.stack([u[0] - x[0] ** 3]) if x[0] > 0.5 else torch.stack([u[0] + x[0]])

    return Problem(
        dynamics=dynamics,
        running_cost=lambda t, x, u: u[0] ** 2 + x[0] ** 2,
        initial_state=[1.0],
        horizon=(0.0, 1.0),
        control_dim=1,
    )


GALLERY = names()


@cache
def gallery_problem(name: str) -> Problem:
    return get(name).problem()


def gallery_control(name: str, grid: TimeGrid, kind: str) -> Tensor:
    """The guess of the gallery, or the middle of the bounds, as rows (K, m)."""
    problem, guess = gallery_problem(name), get(name).guess
    rows = problem.control_set.middle() if guess is None else torch.tensor(guess(problem), dtype=torch.float64)
    count = grid.steps + (kind == "linear")
    if rows.dim() == 1:
        return rows.expand(count, -1).clone()
    at = grid.nodes if kind == "linear" else (grid.nodes[1:] + grid.nodes[:-1]) / 2
    place = at * (rows.shape[0] - 1)
    left = place.long().clamp(max=rows.shape[0] - 2)
    weight = (place - left)[:, None]
    return (1 - weight) * rows[left] + weight * rows[left + 1]


def uneven_grid(steps: int) -> TimeGrid:
    """Steps that grow: none is as long as its neighbour."""
    nodes = torch.linspace(0, 1, steps + 1, dtype=torch.float64) ** 1.3
    return TimeGrid(nodes)


def random_arguments(
    problem: Problem,
    grid: TimeGrid,
    kind: str,
    batch: int = 3,
    *,
    shared: bool = False,
    cotangents: bool = False,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Arguments:
    """Every argument different in every problem of the batch, multipliers and penalties of every sign among them."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    n, m, q, steps = problem.state_dim, problem.control_dim, problem.parameter_dim, grid.steps
    r = problem.equality_count + problem.inequality_count
    rows = steps + (kind == "linear")
    control = problem.control_set.middle() + 0.5 * noise(*(() if shared else (batch,)), rows, m)
    duration = problem.t1_guess - problem.t0
    data = None
    if problem.data is not None:
        on_grid = problem.data.on_grid(grid.times(problem.t0, problem.t1_guess))
        data = on_grid + 0.1 * noise(batch, *on_grid.shape)
    penalties = noise(batch, r).abs()
    penalties[::2] = 0.0
    arguments = Arguments(
        control=control,
        initial_state=problem.initial_state.nan_to_num(nan=0.0) + 0.1 * noise(batch, n),
        final_time=problem.t1_guess + 0.1 * duration * noise(batch).clamp(-2, 2),
        parameters=problem.parameter_values * (1 + 0.1 * noise(batch, q)),
        data=data,
        multipliers=noise(batch, r),
        penalties=penalties,
        objective_cotangent=noise(batch) if cotangents else None,
        state_cotangent=noise(batch, steps + 1, n) if cotangents else None,
    )
    values = {name: None if value is None else value.to(dtype) for name, value in vars(arguments).items()}
    return Arguments(**values)
