"""How often Newton's method solves problems of the gallery that are begun somewhere else.

Each from random initial states, a tenth of the range of each state along the solution away at most, and as many random
guesses of the control and of a free final time, drawn as `solve(starts=)` draws them. One grid for the problems that
are solved together, refined until the accuracy holds.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

import pontryagin as pmp
from benchmarks.report import Report
from benchmarks.starts import disturbed, impossible
from pontryagin.guess import Start, random_starts, read_guess
from pontryagin.instances import read_instances
from pontryagin.time_grid import TimeGrid

SHARE = ">= 0.99"
NONE = "<= 0"
FIRST = 50  # steps of the grid that guesses are drawn on, where a problem names none


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("problems", nargs="*", help="of the gallery; all where none is named")
    parser.add_argument("--count", type=int, default=100, help="starts of each problem (%(default)s)")
    parser.add_argument("--together", type=int, default=25, help="problems of one batch (%(default)s)")
    parser.add_argument("--backend", default="auto", help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")


def run(given: argparse.Namespace) -> Report:
    torch.set_num_threads(1)
    report = Report("newton_starts")
    for name in given.problems or pmp.problems.names():
        began = time.perf_counter()
        endings = Endings.of(list(_solved(name, given)))
        spent = time.perf_counter() - began
        report.row(f"{name}: {endings}", spent, "s", given.count)
        print(f"{name}: {endings}, {spent:.1f} s", flush=True)
        possible = given.count - endings.impossible
        report.check(f"{name}, share of {possible} starts that verify() confirms", endings.verified / possible, SHARE)
        if endings.impossible:
            words = f"{name}, share of {endings.impossible} starts that cannot reach the end, called infeasible"
            report.check(words, endings.refused, SHARE)
        report.check(f"{name}, answers with NaN", endings.nan, NONE)
        report.check(f"{name}, converged but not confirmed", endings.claimed, NONE)
    return report


@dataclass(frozen=True)
class Endings:
    """Of all starts of one problem."""

    verified: int
    failed: Counter[str]  # status of those that verify() does not confirm
    claimed: int  # those of them that say that they converged
    nan: int
    impossible: int  # which no control leads to the end
    refused: float  # share of those that are called infeasible

    @classmethod
    def of(cls, rows: list[tuple[pmp.Status, bool, bool, bool]]) -> Endings:
        """From (status, verified, finite, impossible) of each start."""
        failed = [status for status, verified, *_ in rows if not verified]
        hopeless = [status for status, *_, impossible in rows if impossible]
        return cls(
            verified=len(rows) - len(failed),
            failed=Counter(status.name.lower().replace("_", " ") for status in failed),
            claimed=sum(status.success for status in failed),
            nan=sum(not finite for *_, finite, _ in rows),
            impossible=len(hopeless),
            refused=sum(status is pmp.Status.INFEASIBLE for status in hopeless) / max(1, len(hopeless)),
        )

    def __str__(self) -> str:
        rest = [f"{count} {name}" for name, count in self.failed.most_common()]
        return ", ".join([f"{self.verified} verified", *rest])


def _solved(name: str, given: argparse.Namespace) -> Iterator[tuple[pmp.Status, bool, bool, bool]]:
    """(status, verified, finite, impossible) of each start."""
    entry = pmp.problems.get(name)
    problem = entry.problem()
    guess = None if entry.guess is None else torch.tensor(entry.guess(problem), dtype=torch.float64)
    nominal = pmp.solve(problem, guess=guess, method="newton", backend=given.backend)
    states = disturbed(problem, given.count, given.seed, nominal)
    instances = read_instances(problem)
    start = read_guess(guess, instances, "linear", TimeGrid.uniform(FIRST))
    drawn = random_starts(start, instances, given.count + 1, given.seed)  # the first one is the guess itself
    for first in range(0, given.count, given.together):
        rows = torch.arange(first, min(first + given.together, given.count))
        solution = pmp.solve(
            problem,
            method="newton",
            backend=given.backend,
            initial_state=states[rows],
            guess=_picked(drawn, rows + 1),
        )
        assert isinstance(solution.status, list)
        masks = (solution.verify().passed, _finite(solution), impossible(name, problem, states[rows]))
        yield from zip(solution.status, *(mask.tolist() for mask in masks), strict=True)


def _picked(start: Start, rows: Tensor) -> Start:
    control = start.control
    return Start(pmp.Control(control.values[rows], control.kind, control.grid), start.final_time[rows])


def _finite(solution: pmp.Solution) -> Tensor:
    """(B,) whether every number is one."""
    fields = (solution.state, solution.costate, solution.control.values, solution.objective)
    return torch.stack(
        [field.flatten(1).isfinite().all(1) if field.dim() > 1 else field.isfinite() for field in fields]
    ).all(0)
