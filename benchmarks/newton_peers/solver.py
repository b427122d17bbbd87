"""One way to solve a batch of problems: what is timed, what it promises, and whether it keeps that."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from benchmarks.newton_peers.statement import Array, Statement

#: Relative, of objectives, and of the ends that a solver with hard constraints reaches.
OBJECTIVE, END = 1e-5, 1e-6


class Refused(Exception):
    """A solver that there is none of here; the message says why."""


@dataclass(frozen=True)
class Solved:
    control: Array  # (B, N, m) constant in each step, or (B, N+1, m) linear between nodes
    iterations: int  # the largest number


@dataclass(frozen=True)
class Solver:
    name: str
    tolerance: str  # in words
    solve: Callable[[], Solved]
    end: float = END  # how far it may miss the end
    objective: float = OBJECTIVE  # relative error of the objective


@dataclass(frozen=True)
class Answer:
    objective: Array  # (B,)
    miss: float  # of the end, the largest
    iterations: int


def answer(solver: Solver, statement: Statement, initial_state: Array) -> Answer:
    """What its control leads to. Raises AssertionError where it leaves bounds or misses the end."""
    solved = solver.solve()
    objective, end = statement.led_to(solved.control, initial_state)
    low, high = statement.control_bounds
    outside = float(np.maximum(low - solved.control, solved.control - high).max())
    assert outside <= END, f"{solver.name} leaves the control bounds of {statement.name} by {outside:.1e}"
    miss = float(statement.missed(end).max())
    assert miss <= solver.end, f"{solver.name} misses the end of {statement.name} by {miss:.1e}"
    return Answer(objective, miss, solved.iterations)


def asserted(solver: Solver, statement: Statement, minima: Collection[float]) -> tuple[Answer, float]:
    """The answer from the statement's own initial state, and its relative error against the nearest known minimum."""
    found = answer(solver, statement, statement.initial_state[None])
    error = min(abs(float(found.objective[0]) - value) / abs(value) for value in minima)
    assert error <= solver.objective, (
        f"{solver.name} finds {float(found.objective[0]):.8g} for {statement.name}, none of the known minima: "
        f"{', '.join(f'{value:.8g}' for value in minima)}"
    )
    return found, error
