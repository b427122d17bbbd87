"""Problems without an answer, without a minimum, or with less than a good problem has: made on purpose, all small."""

from __future__ import annotations

import torch
from newton_cases import double_integrator, effort, integrator

import pontryagin as pmp
from pontryagin.status import Status

UNIT = {"horizon": (0.0, 1.0)}
CART = {"dynamics": double_integrator, "initial_state": [0.0, 0.0]}
LINE = {"dynamics": integrator, "initial_state": [0.0]}
PLANE = {"dynamics": lambda t, x, u: torch.stack([u[0], u[1]])}

#: Ends of problems that nothing can be promised of but honesty.
GIVEN_UP = (Status.STALLED, Status.MAX_ITERATIONS)


def infeasible() -> dict[str, tuple[pmp.Problem, str]]:
    """(problem, what the worst constraint may be, a regular expression)."""
    return {
        "further than full thrust leads": (
            pmp.Problem(**CART, **UNIT, running_cost=effort, terminal_state=[10.0, 0.0], control_bounds=(-1, 1)),
            r"x\[0\]|terminal equality",
        ),
        "two path constraints that part in time": (
            pmp.Problem(
                **LINE, **UNIT, running_cost=effort,
                path_constraint=lambda t, x, u: torch.stack([x[0] - 0.2, t - 0.5 - x[0]]),
            ), r"path_constraint",
        ),
        "gravity that is stronger than the thrust": (
            pmp.Problem(
                dynamics=lambda t, x, u: torch.stack([x[1], u[0] - 1]), initial_state=[0.0, 0.0], **UNIT,
                running_cost=effort, control_bounds=(-0.5, 0.5), state_bounds=([0.0, None], [None, None]),
            ), r"x\[[01]\]",
        ),
        "a free final time that is too short": (
            pmp.Problem(
                **CART, terminal_cost=lambda t, x: t, free_final_time=(1, 0.1, 1.5), terminal_state=[1.0, 0.0],
                control_bounds=(-1, 1),
            ), r"x\[[01]\]|terminal equality",
        ),
        "terminal inequalities that exclude each other": (
            pmp.Problem(
                **LINE, **UNIT, running_cost=effort,
                terminal_inequality=lambda t, x: torch.stack([x[0] - 1, 2 - x[0]]),
            ), r"terminal_inequality",
        ),
        "less effort than any way needs": (
            pmp.Problem(
                **LINE, **UNIT, running_cost=effort, terminal_state=[1.0],
                integral_constraint=(lambda t, x, u: u[0] ** 2, [0.0], [0.5]),
            ), r"x\[0\]|terminal equality|integral",
        ),
        "a parameter whose bounds are too narrow": (
            pmp.Problem(
                dynamics=lambda t, x, u, p: torch.stack([p[0] + 0.1 * torch.tanh(u[0])]), initial_state=[0.0],
                terminal_state=[3.0], **UNIT, running_cost=lambda t, x, u, p: u[0] ** 2,
                parameters={"speed": pmp.Parameter(0.5, 0, 1)},
            ), r"x\[0\]|terminal equality",
        ),
        "a box of initial states that lies too far away": (
            pmp.Problem(
                dynamics=integrator, initial_state=[None], initial_bounds=(0, 1), terminal_state=[5.0], **UNIT,
                running_cost=effort, control_bounds=(-1, 1),
            ), r"x\[0\]|terminal equality",
        ),
        "a state that only grows": (
            pmp.Problem(
                dynamics=lambda t, x, u: torch.stack([u[0] ** 2 + 0.5]), initial_state=[0.0], terminal_state=[-1.0],
                **UNIT, running_cost=effort,
            ), r"x\[0\]|terminal equality",
        ),
        "a path constraint beyond the control bounds": (
            pmp.Problem(
                **LINE, **UNIT, running_cost=effort, control_bounds=(-1, 1), path_constraint=lambda t, x, u: 2 - u[0]
            ), r"path_constraint",
        ),
        "a target inside of the obstacle": (
            pmp.Problem(
                **PLANE, initial_state=[-1.0, 0.1], terminal_state=[1.0, 0.0], **UNIT,
                running_cost=lambda t, x, u: u.square().sum(),
                path_constraint=lambda t, x, u: 0.25 - (x[0] - 1) ** 2 - x[1] ** 2,
            ), r"path_constraint|terminal equality",
        ),
    }  # fmt: skip


def unbounded() -> dict[str, pmp.Problem]:
    """Costs that fall without end."""
    return {
        "the square of a control, with a minus": pmp.Problem(**LINE, **UNIT, running_cost=lambda t, x, u: -(u[0] ** 2)),
        "a product of two controls": pmp.Problem(
            **PLANE, initial_state=[0.0, 0.0], **UNIT, running_cost=lambda t, x, u: u[0] * u[1]
        ),
        "two controls whose sum alone is seen": pmp.Problem(
            dynamics=lambda t, x, u: torch.stack([u[0] + u[1]]), initial_state=[0.0], terminal_state=[1.0], **UNIT,
            running_cost=lambda t, x, u: u[0] - u[1],
        ),
        "a cube": pmp.Problem(**LINE, **UNIT, running_cost=lambda t, x, u: u[0] ** 3 + u[0]),
        "an exponential": pmp.Problem(**LINE, **UNIT, running_cost=lambda t, x, u: -torch.exp(u[0])),
        "a race without a brake": pmp.Problem(**CART, **UNIT, terminal_cost=lambda t, x: -x[0]),
        "the largest end state": pmp.Problem(**LINE, **UNIT, terminal_cost=lambda t, x: x[0], maximize=True),
        "a parameter with a price below zero": pmp.Problem(
            dynamics=lambda t, x, u, p: torch.stack([u[0]]), initial_state=[0.0], **UNIT,
            running_cost=lambda t, x, u, p: u[0] ** 2 - p[0], parameters={"stock": pmp.Parameter(0.5)},
        ),
        "a start that is better the further away": pmp.Problem(
            dynamics=integrator, initial_state=[None], **UNIT, running_cost=effort, initial_cost=lambda x: -x[0]
        ),
        "a bound on the wrong side": pmp.Problem(
            **LINE, **UNIT, running_cost=lambda t, x, u: u[0], control_bounds=(None, 1)
        ),
        "a path constraint on the wrong side": pmp.Problem(
            **LINE, **UNIT, running_cost=lambda t, x, u: u[0], path_constraint=lambda t, x, u: u[0] + x[0] - 1
        ),
    }  # fmt: skip


def degenerate() -> dict[str, tuple[pmp.Problem, tuple[Status, ...]]]:
    """(problem, the statuses it may end with): too many answers, too many constraints, kinks, no numbers."""
    solved, forward = (Status.CONVERGED,), {"dynamics": integrator, "initial_state": [1.0], **UNIT}
    transfer = {**LINE, "running_cost": effort, "terminal_state": [1.0]}
    return {
        "a control without effect": (
            pmp.Problem(
                dynamics=lambda t, x, u: -x, initial_state=[1.0], **UNIT, running_cost=lambda t, x, u: x[0] ** 2,
                control_dim=1,
            ), solved
        ),
        "a cost of nothing": (
            pmp.Problem(
                **CART, **UNIT, running_cost=lambda t, x, u: 0.0 * u[0], terminal_state=[1.0, 0.0],
                control_bounds=(-10, 10),
            ), solved
        ),
        "two controls that do the same": (
            pmp.Problem(
                dynamics=lambda t, x, u: torch.stack([u[0] + u[1]]), initial_state=[0.0], terminal_state=[1.0], **UNIT,
                running_cost=lambda t, x, u: (u[0] + u[1]) ** 2,
            ), solved
        ),
        "an end that follows from the others": (
            pmp.Problem(
                **CART, **UNIT, running_cost=effort,
                terminal_constraint=lambda t, x: torch.stack([x[0] - 1, x[1], x[0] + x[1] - 1]),
            ), solved
        ),
        "an end whose slope is zero where it holds": (
            pmp.Problem(**LINE, **UNIT, running_cost=effort, terminal_constraint=lambda t, x: (x[0] - 1) ** 2),
            (*solved, *GIVEN_UP)
        ),
        "an equality as two inequalities": (
            pmp.Problem(
                **forward, running_cost=effort,
                path_constraint=lambda t, x, u: torch.stack([u[0] - x[0], x[0] - u[0]]),
            ), solved
        ),
        "bounds without room": (pmp.Problem(**LINE, **UNIT, running_cost=effort, control_bounds=(1, 1)), solved),
        "a target that full thrust alone reaches": (pmp.Problem(**transfer, **UNIT, control_bounds=(-1, 1)), solved),
        "a final time on its lower bound": (
            pmp.Problem(**transfer, terminal_cost=lambda t, x: t, free_final_time=(2, 1.5, 4)), solved
        ),
        "a final time on its upper bound": (pmp.Problem(**transfer, free_final_time=(2, 1.5, 4)), solved),
        "a singular arc": (
            pmp.Problem(**forward, running_cost=lambda t, x, u: (x[0] - 0.5) ** 2, control_bounds=(-1, 1)), solved
        ),
        "states of a thousand millions": (
            pmp.Problem(
                dynamics=lambda t, x, u: torch.stack([x[1], 1e6 * u[0]]), initial_state=[0.0, 0.0],
                terminal_state=[1e9, 0.0], **UNIT, running_cost=lambda t, x, u: 1e-6 * u[0] ** 2,
            ), solved
        ),
        "the absolute value of a state": (
            pmp.Problem(**forward, running_cost=lambda t, x, u: x[0].abs() + 0.1 * u[0] ** 2), GIVEN_UP
        ),
        "a step in the cost": (
            pmp.Problem(**forward, running_cost=lambda t, x, u: torch.where(x[0] > 0.5, 1.0, 0.0) + u[0] ** 2), solved
        ),
        "a root at its end": (
            pmp.Problem(
                dynamics=lambda t, x, u: torch.sqrt(x) + u, initial_state=[0.0], **UNIT, running_cost=effort
            ), (Status.NOT_FINITE,)
        ),
        "steps a hundred times too long": (
            pmp.Problem(
                dynamics=lambda t, x, u: 3e3 * (u - x), initial_state=[1.0], **UNIT,
                running_cost=lambda t, x, u: x[0] ** 2 + u[0] ** 2,
            ), (*GIVEN_UP, Status.NOT_FINITE)
        ),
    }  # fmt: skip
