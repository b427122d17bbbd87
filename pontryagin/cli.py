"""The command line: `pontryagin list | solve NAME | doctor | cache`.

Answers go to standard output, progress and complaints to standard error. Exit status: 0 success, 1 a solve that did
not converge, 2 wrong use. What needs torch is imported when a command needs it, so that `list` answers at once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pontryagin import problems
from pontryagin.backend.cache import clear, contents
from pontryagin.doctor import examine
from pontryagin.errors import BackendError, PontryaginError, ProblemError

SUCCESS, NOT_CONVERGED, WRONG_USE = 0, 1, 2


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
    solving.add_argument("--method", default="auto", help="lbfgs, gradient or newton (default: auto)")
    solving.add_argument("--backend", default="auto", help="torch, interpreter or native (default: auto)")
    solving.add_argument("--steps", type=int, help="steps of the time grid (default: refined until the accuracy holds)")
    solving.add_argument("--control", default="linear", help="linear or constant between nodes (default: linear)")
    solving.add_argument("--scheme", default="rk4", help="Runge-Kutta method (default: rk4)")
    solving.add_argument("--tolerance", type=float, default=1e-8, help="of the optimality conditions (default: 1e-8)")
    solving.add_argument("--accuracy", type=float, default=1e-6, help="of refinement and report (default: 1e-6)")
    solving.add_argument("--max-iterations", type=int, help="of the method, over all grids")
    solving.add_argument("--starts", type=int, default=1, help="random starts, of which the best is kept (default: 1)")
    solving.add_argument(
        "--batch", type=int, metavar="N", help="solve N problems at once: the problem itself, and N - 1 with initial "
        "states perturbed by normal numbers of size 0.01 (1 + |x0|)",
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

    cache = commands.add_parser(
        "cache", help="compiled code that is kept on disk",
        epilog="PONTRYAGIN_CACHE_DIR names the directory, PONTRYAGIN_CACHE_SIZE its largest size in MiB.",
    )  # fmt: skip
    cache.add_argument("--clear", action="store_true", help="remove it, and say how much that was")
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
    if options.clear:
        files, size = clear()
        print(f"removed {files} file{'' if files == 1 else 's'}, {size / 2**20:.1f} MiB")
    print(contents())
    return SUCCESS


def _solve(options: argparse.Namespace) -> int:
    entry = problems.get(options.name)
    for path in (options.plot, options.save):
        if path is not None and not Path(path).resolve().parent.is_dir():
            raise ProblemError(f"there is no directory {Path(path).resolve().parent}; create it, or write elsewhere")
    if options.plot is not None and find_spec("matplotlib") is None:
        raise BackendError("plots need matplotlib: pip install 'pontryagin[plot]'")

    from pontryagin.cli_solve import run

    return SUCCESS if run(entry, options) else NOT_CONVERGED
