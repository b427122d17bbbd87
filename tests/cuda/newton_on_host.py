"""Newton's kernels on the host: problems, their starts, and a device that notes what is launched."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from emulator import Emulator

from pontryagin.backend import cuda_newton, newton_native
from pontryagin.backend.compiled_shooting import CompiledShooting
from pontryagin.backend.cuda_newton_job import CHOOSE_START, FIND_SLOPE, GIVE_UP, ITERATE, MEASURE
from pontryagin.backend.cuda_newton_launches import Launches
from pontryagin.compiled_newton import in_core, solve_compiled
from pontryagin.optim import Callback
from pontryagin.optim.newton import NewtonResult, NewtonSettings
from pontryagin.problem import Problem
from pontryagin.problems import cartpole_kelly
from pontryagin.shooting import Primal

sys.path.append(str(Path(__file__).parents[1] / "newton"))
from newton_cases import driven, everything, random_point, shooting_of  # noqa: F401

VERBS = {
    MEASURE: "measure",
    CHOOSE_START: "choose_start",
    ITERATE: "iterate",
    GIVE_UP: "give_up",
    FIND_SLOPE: "find_slope",
}

#: Formulas and bits are the same, and GCC is done in half the time.
QUICK = '#pragma GCC optimize("O1")\n'


def too_weak() -> Problem:
    """The cart-pole with a motor that does not lift the pole in time: another bound, and no other formula."""
    return Problem(
        dynamics=cartpole_kelly.dynamics,
        running_cost=cartpole_kelly.running_cost,
        initial_state=[0.0] * 4,
        terminal_state=[1.0, math.pi, 0.0, 0.0],
        horizon=(0.0, 2.0),
        control_bounds=(-2.0, 2.0),
        state_bounds=([-2.0, None, None, None], [2.0, None, None, None]),
        name="cartpole_kelly",
    )


#: name -> problem: control bounds and a fixed end; constraints of every kind; data and paths; one without an answer.
CASES: dict[str, Problem] = {
    "cartpole": cartpole_kelly.problem(),
    "everything": everything(),
    "infeasible": too_weak(),
    "driven": driven(),
}
STEPS = 12


class Launch(NamedTuple):
    verb: str
    threads: int
    iterations: int


class NewtonEmulator(Emulator):
    """`noted` is what was launched; `interrupt`: after so many launches of iterations Ctrl-C is pressed."""

    def __init__(self, room: int = 2**30) -> None:
        super().__init__(room)
        self.noted: list[Launch] = []
        self.interrupt = 0

    def kernel(self, key: str, write: Callable[[], str]) -> ctypes.CDLL:
        return super().kernel(key, lambda: QUICK + write())

    def launch(self, kernel: ctypes.CDLL, threads: int, argument: ctypes.Structure) -> None:
        super().launch(kernel, threads, argument)
        if not hasattr(argument, "verb"):
            return
        self.noted.append(Launch(VERBS[argument.verb], threads, argument.iterations))
        if argument.verb == ITERATE and len(self.iterations) == self.interrupt:
            raise KeyboardInterrupt

    @property
    def iterations(self) -> list[Launch]:
        return [one for one in self.noted if one.verb == "iterate"]


def emulate_newton(monkeypatch, *problems: Problem) -> NewtonEmulator:
    """The host in place of every GPU, with memory full of NaN, for these problems and those of CASES."""
    device = NewtonEmulator()
    monkeypatch.setattr(cuda_newton, "CudaDevice", lambda _: device)
    empty, poison = Launches._empty, {torch.float64: torch.nan, torch.uint8: 0xA5}
    monkeypatch.setattr(Launches, "_empty", lambda self, n, kind: empty(self, n, kind).fill_(poison[kind]))
    # Without whole steps, whose formulas the kernels do not have.
    monkeypatch.setattr(newton_native, "LARGEST_STEP", 0)
    for problem in (*CASES.values(), *problems):
        problem._cache.pop("newton_kernels", None)
    return device


def shooting(name: str, backend: str, batch: int, kind: str = "linear") -> CompiledShooting:
    """Problems from neighbouring initial states; some of those of "cartpole" take twice the iterations of others."""
    problem = CASES[name]
    reference = shooting_of(problem, kind, np.linspace(0, 1, STEPS + 1).tolist(), "rk4", batch)
    noise = 0.05 * np.random.default_rng(0).standard_normal((batch, problem.state_dim))
    initial = reference.initial.copy()
    initial[:, : problem.state_dim] = np.nan_to_num(initial[:, : problem.state_dim]) + noise
    return in_core(problem, replace(reference, initial=initial), backend, 1)


def begin(problems: CompiledShooting, problem: Problem) -> Primal:
    """Where everything stays as it is at first, or the path that the controls lead to."""
    batch, m = len(problems.initial), problem.control_dim
    nodes = STEPS + (1 if problems.linear else 0)
    x = np.repeat(problems.initial[:, None, : problem.state_dim], STEPS + 1, 1)
    theta, t1 = np.tile(problem.parameter_values.numpy(), (batch, 1)), np.full(batch, problem.t1_guess)
    return problems.better_start(problems.pack(x, np.zeros((batch, nodes, m)), theta, t1), 1.0)


def solved(
    name: str, backend: str, batch: int = 40, kind: str = "linear", callback: Callback | None = None
) -> NewtonResult:
    problems = shooting(name, backend, batch, kind)
    settings = NewtonSettings(max_iterations=80, tolerance=1e-8)
    return solve_compiled(problems, begin(problems, CASES[name]), settings, callback)


def arrays(found: NewtonResult) -> dict[str, np.ndarray]:
    """All numbers of an answer."""
    named = vars(found.warm) | vars(found.warm.primal) | vars(found)
    return {name: value for name, value in named.items() if isinstance(value, np.ndarray)}
