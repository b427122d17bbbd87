"""The gallery by Newton's method, from no option but the problem and its own guess, beside what is known of each.

value      the objective; "again" is the error of the objective when the control found is integrated again, by another
           method on a grid four times as fine: on singular arcs a discretised optimum may lie below the true one
costate    largest error of p(t0), relative to its largest component; "switches" of the switching times, where listed
minimum    which of the known minima was reached, where there are several

Problems with several minima are solved from 32 starts as well.
"""

from __future__ import annotations

import time
from typing import Any

import torch

import pontryagin as pmp
from benchmarks.report import Report
from benchmarks.switches import largest_distance, switching_times
from pontryagin.problems import Entry

#: Random starts of the second solve of problems with several minima.
STARTS = 32

#: Error of the costates and switching times that are listed.
LISTED = "<= 1e-3"

#: Relative distance at which an objective belongs to a known minimum.
SAME = 1e-3

#: Steps of the re-integration in one step of the grid.
FINER = 4


def run() -> Report:
    torch.set_num_threads(1)
    report = Report("newton")
    for name in pmp.problems.names():
        entry = pmp.problems.get(name)
        add(report, entry, 1)
        if entry.reference.other_minima:
            add(report, entry, STARTS)
    return report


def add(report: Report, entry: Entry, starts: int) -> None:
    """Solve, and one record with its limits."""
    problem, reference = entry.problem(), entry.reference
    guess = None if entry.guess is None else torch.tensor(entry.guess(problem), dtype=torch.float64)
    start = time.perf_counter()
    solution = pmp.solve(problem, method="newton", guess=guess, starts=starts)
    seconds = time.perf_counter() - start
    assert isinstance(solution.status, pmp.Status)  # no batch was asked for
    name, value = entry.name + (f", starts={starts}" if starts > 1 else ""), float(solution.objective)
    minimum = reached(entry, value)
    best = not reference.other_minima or minimum == "best"

    def error(of: float) -> float:
        return abs(of - reference.objective) / abs(reference.objective)

    once_more, verified = again(problem, solution), solution.verify().ok
    record: dict[str, Any] = {
        "problem": name, "value": value, "reference": reference.objective, "error": error(value),
        "again": error(once_more), "costate": None, "switches": None, "minimum": minimum,
        "status": solution.status.name.lower(), "verified": verified,
        "iterations": int(solution.iterations), "steps": solution.steps, "seconds": seconds,
    }  # fmt: skip
    if reference.initial_costate is not None and best:
        known = torch.tensor(reference.initial_costate, dtype=torch.float64)
        record["costate"] = off = float((solution.costate[0] - known).abs().max() / known.abs().max())
        report.check(f"{name}: p(t0), relative", off, LISTED)
    if reference.switching_times is not None and best:
        record["switches"] = off = largest_distance(reference.switching_times, switching_times(solution))
        report.check(f"{name}: switching times", off, LISTED)
    report.record(**record)
    if best or starts > 1:
        report.check(f"{name}: objective integrated again, relative", error(once_more), limit(entry))
    report.check(f"{name}: verify()", float(verified), ">= 1")
    print(f"{name}: {solution.status.name.lower()}, {seconds:.2f} s", flush=True)


def limit(entry: Entry) -> str:
    """1e-6 for smooth problems, 1e-4 where the control jumps or states are bounded; no less than the digits allow."""
    rough = entry.tolerance == "nonsmooth" or {"state bounds", "path constraint"} & set(entry.tags)
    return f"<= {max(1e-4 if rough else 1e-6, 10.0 ** (1 - entry.reference.digits)):.0e}"


def again(problem: pmp.Problem, solution: pmp.Solution) -> float:
    """The objective of the control found, integrated again."""
    control = solution.control.on(solution.control.grid.refine(FINER))
    swept = pmp.sweep(
        problem, control, scheme="dormand_prince", initial_state=solution.state[0], parameters=solution.parameters,
        final_time=solution.final_time if problem.free_final_time is not None else None, outputs={"objective"},
    )  # fmt: skip
    assert swept.objective is not None
    return float(swept.objective)


def reached(entry: Entry, value: float) -> str:
    """Which of several minima it is."""
    reference = entry.reference
    if not reference.other_minima:
        return ""
    known = {"best": reference.objective, **{f"local, {other:g}": other for other in reference.other_minima}}
    return next((name for name, other in known.items() if abs(value - other) <= SAME * abs(other)), "another one")
