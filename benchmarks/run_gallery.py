"""Every problem of the gallery, solved with the default settings and its own guess, beside its reference value."""

from __future__ import annotations

import time

import torch

import pontryagin as pmp
from benchmarks.report import Report
from pontryagin.problems import Entry


def limit(entry: Entry) -> str:
    """Relative error of the objective: 1e-6 for smooth problems with at most bounds on the control, else 1e-4."""
    constrained = {"terminal constraint", "free time", "state bounds", "path constraint"} & set(entry.tags)
    return "<= 1e-4" if constrained or entry.tolerance == "nonsmooth" else "<= 1e-6"


def run() -> Report:
    """One row a problem: status, iterations, seconds, and whether `verify()` holds."""
    torch.set_num_threads(1)
    report = Report("gallery")
    for name in pmp.problems.names():
        entry = pmp.problems.get(name)
        problem = entry.problem()
        guess = None if entry.guess is None else torch.tensor(entry.guess(problem), dtype=torch.float64)
        start = time.perf_counter()
        solution = pmp.solve(problem, guess=guess)
        seconds = time.perf_counter() - start
        reference = entry.reference.objective
        error = abs(float(solution.objective) - reference) / abs(reference)
        iterations, steps = int(solution.iterations), solution.time.shape[-1] - 1
        assert isinstance(solution.status, pmp.Status)  # no batch was asked for
        status = solution.status.name.lower()
        proven = "verified" if solution.verify().ok else "not verified"
        report.row(f"{name}: {status}, {proven}, {iterations} iterations, {steps} steps", seconds, "s", error=error)
        report.check(f"{name}, relative error of the objective", error, limit(entry))
    return report
