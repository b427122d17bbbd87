"""The texts in csrc/tests/golden: `python -m tests.native.golden`, from the root of the repository, writes them anew.

Five small problems that together make the generator print whatever it can print. The C++ tests compile and sweep them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from pontryagin import problems
from pontryagin.backend.compiled import CompiledModel
from pontryagin.backend.native import text_of
from pontryagin.codegen.library import SweepRequest
from pontryagin.data import Data
from pontryagin.problem import Problem
from pontryagin.tableau import tableau_named

FOLDER = Path(__file__).resolve().parents[2] / "csrc" / "tests" / "golden"
COMMAND = "python -m tests.native.golden"

PLAIN = SweepRequest(
    single=False, linear_control=False, linear_data=False, uniform=True, backward=True, extended=False
)  # fmt: skip


def van_der_pol() -> Problem:
    """Everything that a sweep has arguments for, and derivatives in all of it."""
    return Problem(
        name="Van der Pol oscillator with a disturbance",
        dynamics=lambda t, x, u, theta, d: torch.stack([x[1], theta[0] * (1 - x[0] ** 2) * x[1] - x[0] + u[0] + d[0]]),
        running_cost=lambda t, x, u, theta, d: torch.exp(-t) * (x[0] ** 2 + x[1] ** 2) + u[0] ** 2,
        terminal_cost=lambda t, x, theta: t + theta[0] * torch.sin(x[0]),
        terminal_constraint=lambda t, x, theta: torch.stack([x[0] - 0.1 * t]),
        terminal_inequality=lambda t, x, theta: torch.stack([x[1] ** 2 - theta[0]]),
        initial_state=[1.0, 0.0],
        horizon=(0.0, 2.0),
        parameters={"damping": 0.8},
        data=Data([[0.1], [0.2]], kind="constant"),
        control_dim=1,
    )  # fmt: skip


def pendulum() -> Problem:
    """A reference and a disturbance that are linear between nodes."""
    return Problem(
        name="pendulum that follows a reference",
        dynamics=lambda t, x, u, d: torch.stack([x[1], d[1] * u[0] - torch.sin(x[0])]),
        running_cost=lambda t, x, u, d: (torch.cos(x[0]) - d[0]) ** 2 + 0.1 * u[0] ** 2,
        initial_state=[0.5, 0.0],
        horizon=(0.0, 2.0),
        data=[[0.9, 1.0], [0.7, 1.1]],
        control_dim=1,
    )  # fmt: skip


def slider() -> Problem:
    """Functions of libraries, branches, a state that enters nothing."""
    return Problem(
        name="slider with friction",
        dynamics=lambda t, x, u: torch.stack([x[1], torch.where(x[1] > 0, u[0], 1.1 * u[0]) - torch.tanh(5 * x[1])]),
        running_cost=lambda t, x, u: torch.abs(u[0]) + 0.5 * torch.exp(-(u[1] ** 2)) + torch.maximum(x[1], u[1]),
        terminal_cost=lambda t, x: torch.log(2 + x[0] ** 2),
        initial_state=[0.0, 0.2],
        horizon=(0.0, 1.0),
        control_dim=2,
    )  # fmt: skip


def integrator() -> Problem:
    """The smallest: a library that only rolls out."""
    return Problem(
        name="double integrator",
        dynamics=lambda t, x, u: torch.stack([x[1], u[0]]),
        running_cost=lambda t, x, u: 0.5 * u[0] ** 2,
        initial_state=[0.0, 0.0],
        terminal_state=[1.0, 0.0],
        horizon=(0.0, 1.0),
        control_dim=1,
    )


def cartpole() -> Problem:
    return problems.get("cartpole_kelly").problem()


#: name -> problem, scheme, what of the request differs from PLAIN
LIBRARIES: dict[str, tuple[Callable[[], Problem], str, dict[str, bool]]] = {
    "cartpole": (cartpole, "rk4", {"linear_control": True}),
    "integrator": (integrator, "midpoint", {"backward": False, "extended": True}),
    "pendulum": (pendulum, "tsitouras", {"linear_control": True, "linear_data": True, "uniform": False}),
    "slider": (slider, "heun", {"single": True}),
    "van_der_pol": (van_der_pol, "rk4", {"extended": True}),
}


def text_named(name: str) -> str:
    make, scheme, changes = LIBRARIES[name]
    problem = make()
    request = SweepRequest(**(vars(PLAIN) | changes))
    return text_of(CompiledModel.of(problem), problem.name or name, tableau_named(scheme), request)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in LIBRARIES:
        path = FOLDER / f"{name}.cpp"
        path.write_text(text_named(name), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
