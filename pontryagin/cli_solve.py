"""`pontryagin solve NAME`: a problem of the gallery is solved, shown beside its known optimum, drawn and kept."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pontryagin.control import Control
from pontryagin.errors import ProblemError
from pontryagin.problem import Problem
from pontryagin.problems import Entry
from pontryagin.solution import Solution
from pontryagin.solve import solve
from pontryagin.time_grid import TimeGrid

#: Standard deviation of the perturbed initial states of --batch, relative to one plus the size of each component.
PERTURBATION = 0.01


def run(entry: Entry, options: argparse.Namespace) -> bool:
    """Solve, print, draw and save as the options say; returns whether every problem was solved."""
    problem = entry.problem()
    solution = solve(
        problem,
        method=options.method,
        steps=options.steps,
        control=options.control,
        scheme=options.scheme,
        backend=options.backend,
        initial_state=None if options.batch is None else _perturbed(problem, options.batch, options.seed),
        guess=_guess(entry, problem),
        starts=options.starts,
        seed=options.seed,
        tolerance=options.tolerance,
        accuracy=options.accuracy,
        max_iterations=options.max_iterations,
        threads=options.threads,
        verbose=True,
    )
    solution = replace(solution, reference=entry.reference.objective)
    if options.verify if options.verify is not None else not options.json:
        solution.verify()
    print(json.dumps(_record(solution, options.batch), allow_nan=False) if options.json else solution)
    if options.plot is not None:
        solution.plot(options.plot)
    if options.save is not None:
        solution.save(options.save)
    return solution.success if isinstance(solution.success, bool) else bool(solution.success.all())


def _guess(entry: Entry, problem: Problem) -> Tensor | Control | None:
    """The gallery's first control: m numbers, or rows at evenly spaced nodes with straight lines between."""
    if entry.guess is None:
        return None
    values = torch.tensor(entry.guess(problem), dtype=torch.float64)
    return values if values.dim() == 1 else Control(values, "linear", TimeGrid.uniform(len(values) - 1))


def _perturbed(problem: Problem, batch: int, seed: int) -> Tensor:
    """(N, n) initial states: the problem's own, then perturbed ones."""
    if batch < 1:
        raise ProblemError(f"--batch is {batch}; give a whole number from 1")
    x0 = problem.initial_state
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch, len(x0), generator=generator, dtype=torch.float64)
    noise[0] = 0.0
    return x0 + PERTURBATION * (1 + x0.abs()) * noise


def _record(solution: Solution, batch: int | None) -> dict[str, Any]:
    """What --json prints. Of a batch, values are lists, and the reference is that of the first problem alone."""
    objective: Any = solution.objective.tolist()
    reference: Any = solution.reference
    status: Any = solution.status
    if batch is None:
        error: Any = _relative(objective, reference)
        names: Any = status.name.lower()
        success: Any = solution.success
    else:
        reference = [reference] + [None] * (batch - 1)
        error = [_relative(value, known) for value, known in zip(objective, reference, strict=True)]
        names = [one.name.lower() for one in status]
        success = [one.success for one in status]
    record = {
        "name": solution.name,
        "objective": objective,
        "reference": reference,
        "relative_error": error,
        "status": names,
        "success": success,
        "iterations": solution.iterations.tolist(),
        "seconds": solution.timings["total"],
        "backend": solution.backend,
        "backend_reason": solution.backend_reason,
        "method": solution.method,
        "scheme": solution.scheme,
        "control": solution.control.kind,
        "steps": solution.steps,
        "final_time": solution.final_time.tolist(),
        "residual": solution.residual.tolist(),
        "violation": solution.violation.tolist(),
    }
    if solution.report is not None:
        report = solution.report
        record["verified"] = report.ok if batch is None else report.passed.tolist()
        record["checks"] = {
            check.name: {"value": float(check.value[check.worst]), "limit": check.limit, "passed": check.ok}
            for check in report.checks
        }
    return {key: _plain(value) for key, value in record.items()}


def _relative(value: float, reference: float | None) -> float | None:
    """|J - J*| / |J*|, or |J| where the reference is zero."""
    return None if reference is None else abs(value - reference) / (abs(reference) or 1.0)


def _plain(value: Any) -> Any:
    """JSON has neither NaN nor infinity: they become null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
