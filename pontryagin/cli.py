"""The command line: `pontryagin list | solve NAME | doctor | cache`.

Answers go to standard output, progress and complaints to standard error. Exit status: 0 success, 1 a solve that did
not converge, 2 wrong use. What needs torch is imported when a command needs it, so that `list` answers at once.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pontryagin import problems
from pontryagin.doctor import examine
from pontryagin.errors import BackendError, PontryaginError, ProblemError

if TYPE_CHECKING:
    from pontryagin.solution import Solution

SUCCESS, NOT_CONVERGED, WRONG_USE = 0, 1, 2

#: Standard deviation of the perturbed initial states of --batch, relative to one plus the size of each component.
PERTURBATION = 0.01


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)  # leaves with status 2 on wrong use
    try:
        status: int = options.command(options)
    except PontryaginError as error:
        print(f"pontryagin: {error}", file=sys.stderr)
        return WRONG_USE
    except KeyboardInterrupt:
        print("pontryagin: interrupted before there was an answer", file=sys.stderr)
        return NOT_CONVERGED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pontryagin", description="Optimal control by Pontryagin's principle.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="the classic problems of the gallery")
    listing.add_argument("--json", action="store_true", help="one JSON array of names")
    listing.set_defaults(command=_list)

    solving = commands.add_parser("solve", help="solve a problem of the gallery and compare with its known optimum")
    solving.add_argument("name", metavar="NAME", help="a name from the list")
    solving.add_argument("--method", default="auto", help="lbfgs or gradient (default: auto)")
    solving.add_argument("--backend", default="auto", help="torch or interpreter (default: auto)")
    solving.add_argument("--steps", type=int, help="steps of the time grid (default: refined until the accuracy holds)")
    solving.add_argument("--control", default="linear", help="linear or constant between nodes (default: linear)")
    solving.add_argument("--scheme", default="rk4", help="Runge-Kutta method (default: rk4)")
    solving.add_argument("--tolerance", type=float, default=1e-8, help="of the optimality conditions (default: 1e-8)")
    solving.add_argument("--accuracy", type=float, default=1e-6, help="of refinement and report (default: 1e-6)")
    solving.add_argument("--max-iterations", type=int, help="of the method, over all grids")
    solving.add_argument("--starts", type=int, default=1, help="random starts, of which the best is kept (default: 1)")
    solving.add_argument(
        "--batch", type=int, metavar="N", help="solve N problems at once: the problem itself, and N - 1 with initial "
        f"states perturbed by normal numbers of size {PERTURBATION} (1 + |x0|)",
    )  # fmt: skip
    solving.add_argument("--seed", type=int, default=0, help="of random starts and perturbations (default: 0)")
    solving.add_argument("--threads", type=int, help="of a compiled backend (default: as many as torch uses)")
    solving.add_argument("--plot", metavar="FILE", help="write a picture (.png, .pdf, .svg)")
    solving.add_argument("--save", metavar="FILE", help="write the solution (.npz)")
    solving.add_argument(
        "--verify", action=argparse.BooleanOptionalAction, help="the optimality report (default: unless --json)"
    )
    solving.add_argument("--json", action="store_true", help="one JSON object on standard output; NaN is null")
    solving.set_defaults(command=_solve)

    doctor = commands.add_parser("doctor", help="what this installation can do, and what it lacks")
    doctor.set_defaults(command=_doctor)

    cache = commands.add_parser("cache", help="compiled code that is kept on disk")
    cache.add_argument("--clear", action="store_true", help="remove it")
    cache.set_defaults(command=_cache)
    return parser


# -- commands --------------------------------------------------------------------------------------------------------


def _list(options: argparse.Namespace) -> int:
    names = problems.names()
    if options.json:
        print(json.dumps(names))
        return SUCCESS
    for name in names:
        print(name)
    return SUCCESS


def _doctor(options: argparse.Namespace) -> int:
    for line in examine():
        print(line)
    return SUCCESS


def _cache(options: argparse.Namespace) -> int:
    print("nothing is kept on disk: this version has no backend that compiles at run time")
    return SUCCESS


def _solve(options: argparse.Namespace) -> int:
    entry = problems.get(options.name)
    for path in (options.plot, options.save):
        if path is not None and not Path(path).resolve().parent.is_dir():
            raise ProblemError(f"there is no directory {Path(path).resolve().parent}; create it, or write elsewhere")

    if options.plot is not None and find_spec("matplotlib") is None:
        raise BackendError("plots need matplotlib: pip install 'pontryagin[plot]'")

    from pontryagin.solve import solve

    problem = entry.problem()
    solution = solve(
        problem,
        method=options.method,
        steps=entry.steps if options.steps is None else options.steps,
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
    succeeded = solution.success
    return SUCCESS if (succeeded if isinstance(succeeded, bool) else bool(succeeded.all())) else NOT_CONVERGED


# -- what a solve is given, and what it says -------------------------------------------------------------------------


def _guess(entry: problems.Entry, problem: Any) -> Any:
    """The gallery's first control: m numbers, or rows at evenly spaced nodes with straight lines between."""
    if entry.guess is None:
        return None
    import torch

    from pontryagin.control import Control
    from pontryagin.time_grid import TimeGrid

    values = torch.tensor(entry.guess(problem), dtype=torch.float64)
    return values if values.dim() == 1 else Control(values, "linear", TimeGrid.uniform(len(values) - 1))


def _perturbed(problem: Any, batch: int, seed: int) -> Any:
    """(N, n) initial states: the problem's own, then perturbed ones."""
    import torch

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
