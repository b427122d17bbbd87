"""This package: the second solve of a captured problem through `pontryagin.solve`, without verify()."""

from __future__ import annotations

import torch

import pontryagin as pmp
from benchmarks.newton_peers.solver import Solved, Solver
from benchmarks.newton_peers.statement import STEPS, Array, Statement

NAME = "pontryagin"


def newton(statement: Statement, kind: str, backend: str, threads: int, initial_state: Array | None = None) -> Solver:
    """From no guess. With initial states (B, n), a batch."""
    tolerance = 1e-8
    problem, start = statement.problem, None if initial_state is None else torch.from_numpy(initial_state)

    def solve() -> Solved:
        solution = pmp.solve(
            problem,
            method="newton",
            steps=STEPS,
            control=kind,
            backend=backend,
            threads=threads,
            initial_state=start,
            tolerance=tolerance,
        )
        control = solution.control.values.numpy()
        if start is None:
            return Solved(control[None], int(solution.iterations))
        return Solved(control, int(solution.iterations.max()))

    return Solver(f"{NAME}, {kind} control", f"residuals to {tolerance:.0e}", solve)
