"""The public `solve`: a problem in, its optimal control with costates, multipliers and a status out."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pontryagin.answer import Answer
from pontryagin.backend.select import BACKENDS
from pontryagin.errors import CaptureError, NotYetSupported, ProblemError, unknown_name
from pontryagin.found import Found
from pontryagin.guess import Start, read_guess
from pontryagin.instances import read_instances
from pontryagin.newton_answer import NewtonAnswer
from pontryagin.on_grid import Options
from pontryagin.optim import METHODS, Callback
from pontryagin.problem import Problem
from pontryagin.progress import Progress
from pontryagin.refine import Search, first_grid
from pontryagin.shown import Shown
from pontryagin.solution import Solution
from pontryagin.step_equations import derive_step
from pontryagin.tableau import tableau_named
from pontryagin.time_grid import CONTROL_KINDS

#: What "auto" stands for: the first where functions can be captured as formulas and there are not too many components,
#: the second elsewhere.
DEFAULT_METHOD, LARGE_METHOD = "newton", "lbfgs"

#: States and controls together up to which a problem counts as small or medium.
MEDIUM = 64

#: All methods.
KNOWN = (*METHODS, "newton")

#: Methods that are planned, and what each will be.
PLANNED = {
    "emsa": "pointwise minimisation of the augmented Hamiltonian",
    "indirect": "multiple shooting of the boundary value problem in state and costate",
}


def solve(
    problem: Problem,
    *,
    method: str = "auto",
    steps: int | None = None,
    control: str = "linear",
    scheme: str = "rk4",
    backend: str = "auto",
    initial_state: Any = None,
    parameters: Mapping[str, Any] | Tensor | None = None,
    data: Any = None,
    guess: Any = None,
    starts: int = 1,
    seed: int = 0,
    tolerance: float = 1e-8,
    accuracy: float = 1e-6,
    max_iterations: int | None = None,
    threads: int | None = None,
    callback: Callback | None = None,
    verbose: bool = False,
) -> Solution:
    """Minimise (or maximise) the objective of a problem over its controls, and its final time where that is free.

    method: "newton" (interior point on multiple shooting, with exact second derivatives: constraints of every kind,
        high accuracy), "lbfgs" (projected L-BFGS), or "gradient" (projected gradient). "auto" is newton where functions
        can be captured as formulas and there are at most 64 states and controls, and lbfgs elsewhere.
    steps: of an even time grid; None refines one, from 50 to at most 1600 steps, until `accuracy` holds; after "newton"
        only where it is too coarse, so that its steps differ in length. Problems of a batch whose grids differ come
        together on the nodes of all, up to 6400 steps.
    control: "linear" between the nodes, or "constant" on each step. scheme: the Runge-Kutta method, a name.
    backend: "auto", "torch", "interpreter", "native" or "cuda"; the solution says which was taken and why.
    initial_state (n,) or (B, n), parameters (a dictionary of names, (q,) or (B, q)) and data ((K, nd) or (B, K, nd))
        replace those of the problem. A batch axis in any of them makes a batch; without one the answer has none.
    guess: a number, (m,), (K, m), (B, K, m), a function of time, a Control, or a Solution as a warm start:
        where Newton's method found it for this problem on a control of this kind, with all its multipliers.
    starts: so many starts in one batch, the guess and random controls drawn with `seed`; the best feasible one is kept.
    tolerance: of the scaled optimality residual and of the terminal constraints, in the largest norm.
    accuracy: relative, of objective and state against finer grids; used where steps is None, and by verify().
    max_iterations: of each problem, over all grids. threads: of a compiled backend; None is torch's number.
    callback: called with an IterationInfo after each iteration, by first-order methods on a GPU after each fourth one,
        of all four; True stops. verbose: a table on standard error.

    Ctrl-C hands back the best answer so far, with Status.INTERRUPTED. Whether a solve worked is told by the status of
    the solution, never by an exception. ProblemError for what is given wrongly; NotYetSupported for a problem with
    path, state or integral constraints, free initial components or optimised parameters, unless by "newton";
    CaptureError where "newton" cannot, or the backend asked for cannot take the problem; BackendError.
    """
    began = time.perf_counter()
    backend = _one_of("backend", backend, BACKENDS)
    method = _method(method, problem, backend)
    progress = Progress() if verbose else None
    options = Options(
        method=method,
        kind=_one_of("control", control, CONTROL_KINDS),
        scheme=tableau_named(scheme).name,
        backend=backend,
        tolerance=_positive("tolerance", tolerance),
        accuracy=_positive("accuracy", accuracy),
        max_iterations=_whole("max_iterations", max_iterations, optional=True),
        threads=_whole("threads", threads, optional=True),
        callback=_callback(callback),
        progress=progress,
        guessed=guess is not None and not isinstance(guess, Start),
    )
    steps, starts = _whole("steps", steps, optional=True), _whole("starts", starts)
    instances = read_instances(problem, initial_state, parameters, data)
    warm = guess.control.grid if isinstance(guess, Answer) else None
    start = read_guess(guess, instances, options.kind, first_grid(steps, warm))

    search = Search(instances, options)
    with progress or contextlib.nullcontext():
        found = search.run(start, starts or 1, _seed(seed), refine=steps is None)
    return _solution(search, found, began)


def _solution(search: Search, found: Found, began: float) -> Solution:
    """What was found, as a Solution."""
    instances, options, result = search.instances, search.options, found.result
    problem, single, sweep_began, timings = instances.problem, instances.single, time.perf_counter(), search.seconds
    shown = Shown.of(search, found)
    backend = result if isinstance(result, NewtonAnswer) else search.backend(found.grid)
    solution = Solution.later(
        shown.field,
        problem=problem,
        name=problem.name,
        maximize=problem.maximize,
        control_set=problem.control_set,
        data=instances.data,
        status=result.status[0] if single else result.status,
        method=options.method,
        scheme=options.scheme,
        backend=backend.name,
        backend_reason=getattr(backend, "reason", ""),
        accuracy=options.accuracy,
        timings=timings,
        levels=list(found.levels),
        worst=shown.path.worst[0] if single else shown.path.worst,
    )
    if not _may_wait(search, found):
        solution.complete()
    now = time.perf_counter()
    timings.update({"last sweep": now - sweep_began, "total": now - began})
    return solution


def _may_wait(search: Search, found: Found) -> bool:
    """Whether numbers can be made when they are asked for: little is kept for them, and nothing that they are made of
    changes or fails meanwhile."""
    instances = search.instances
    little = isinstance(found.result, NewtonAnswer) and instances.batch == 1
    on_host = instances.device.type == "cpu" and search.options.backend != "cuda"
    return little and on_host and not derive_step(instances.problem).implicit.count


# -- checks of the keywords ------------------------------------------------------------------------------------------


def _method(name: Any, problem: Any, backend: str) -> str:
    """The method that was asked for, or the one that suits the problem."""
    if not isinstance(problem, Problem):
        raise ProblemError(f"the problem is a {type(problem).__name__}; give a pontryagin.Problem")
    if name in PLANNED:
        raise NotYetSupported(
            f'method "{name}" ({PLANNED[name]}) is not part of this version; use {" or ".join(KNOWN)}, or "auto"'
        )
    _one_of("method", name, ("auto", *KNOWN))
    if name == "auto":
        return DEFAULT_METHOD if problem.beyond_first_order or _suits_newton(problem, backend) else LARGE_METHOD
    if name != "newton":
        problem.require_solvable_by_first_order()
    return str(name)


def _suits_newton(problem: Problem, backend: str) -> bool:
    if backend == "torch" or problem.state_dim + problem.control_dim > MEDIUM:
        return False
    try:
        derive_step(problem)
    except CaptureError:
        return False
    return True


def _one_of(what: str, given: Any, known: Any) -> Any:
    if not isinstance(given, str) or given not in known:
        raise unknown_name(what, given, known)
    return given


def _positive(what: str, given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not (math.isfinite(given) and given > 0):
        raise ProblemError(f"{what} is {given!r}; give a positive number, for instance 1e-8")
    return float(given)


def _whole(what: str, given: Any, optional: bool = False) -> Any:
    if optional and given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ProblemError(f"{what} is {given!r}; give a whole number from 1{', or None' if optional else ''}")
    return given


def _seed(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int):
        raise ProblemError(f"seed is {given!r}; give a whole number")
    return given


def _callback(given: Any) -> Callback | None:
    if given is not None and not callable(given):
        raise ProblemError(f"callback is a {type(given).__name__}; give a function of one IterationInfo")
    return given  # type: ignore[no-any-return]
