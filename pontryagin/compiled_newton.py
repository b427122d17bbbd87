"""Newton's method in the compiled core: the loop of optim/newton, on tiles of lanes, with its statuses and history."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from pontryagin.backend.compiled_shooting import CompiledShooting, core_of
from pontryagin.backend.cuda_newton import CudaShooting, NewtonKernel, device_statement
from pontryagin.backend.linearise import ReferenceShooting
from pontryagin.backend.multiple_shooting import KEPT
from pontryagin.backend.newton_functions import NewtonFunctions
from pontryagin.backend.newton_native import choose
from pontryagin.errors import BackendError
from pontryagin.optim import Callback
from pontryagin.optim.newton import NewtonInfo, NewtonResult, NewtonSettings, Warm
from pontryagin.optim.newton.barrier import with_room
from pontryagin.optim.newton.scaling import Scales, half_width, scaled_as_control
from pontryagin.optim.newton.worst import worst_of
from pontryagin.problem import Problem
from pontryagin.shooting import Primal, Statement
from pontryagin.status import Status

#: NewtonStatus of the core; 0 is what still ran.
STATUSES = (
    Status.INTERRUPTED, Status.CONVERGED, Status.UNBOUNDED, Status.NOT_FINITE, Status.INFEASIBLE, Status.STALLED,
    Status.MAX_ITERATIONS,
)  # fmt: skip

#: Problems from which a GPU is taken without being asked for.
FEWEST = 256

CPU = torch.device("cpu")

#: What ended so is a point to go on from.
KNOWN = (Status.CONVERGED, Status.STALLED, Status.MAX_ITERATIONS)


def in_core(
    problem: Problem, reference: ReferenceShooting, backend: str, threads: int, device: torch.device = CPU
) -> CompiledShooting:
    """The same problems with steps, derivatives and solver in the core; where kernels are asked for, or the tensors are
    on a GPU and many, the solver runs there.

    Raises BackendError where compiled functions were asked for and cannot be had.
    """
    layout, batch = NewtonFunctions.of(problem), len(reference.initial)
    kernel, why = _kernel(problem, backend, device, batch)
    tier = "interpreter" if kernel else "auto" if backend == "cuda" else backend
    chosen = choose(layout, tier, batch, len(reference.statement.nodes) - 1, len(reference.tableau.b))
    kept: dict[Any, tuple[Statement, dict[str, Any]]] = problem._cache.setdefault("newton_cores", {})
    statement = reference.statement
    key = (id(statement), chosen.name, reference.tableau, reference.linear_data, kernel and kernel.on.memory)
    if key not in kept or kept[key][0] is not statement:
        if len(kept) >= KEPT:
            kept.pop(next(iter(kept)))
        given = layout, with_room(statement), half_width(statement), scaled_as_control(statement)
        made: dict[str, Any] = {"core": core_of(reference, chosen, *given)}
        if kernel:
            made["on_device"] = device_statement(reference, *given, kernel.on.memory)
        kept[key] = statement, made
    made, whole = kept[key][1], vars(reference) | {"threads": threads}
    if kernel:
        return CudaShooting(**whole, **made, backend="cuda", reason=why, kernel=kernel)
    return CompiledShooting(**whole, **made, backend=chosen.name, reason=f"{why}{chosen.reason}")


def _kernel(problem: Problem, backend: str, device: torch.device, batch: int) -> tuple[NewtonKernel | None, str]:
    """Newton's method on a GPU, and why there; or why not, where somebody might have expected it."""
    asked = backend == "cuda"
    if not asked and (backend != "auto" or device.type != "cuda"):
        return None, ""
    if not asked and batch < FEWEST:
        return None, f"A GPU solves a problem a thread, and {batch} would leave most of it idle. "
    try:
        kernel = NewtonKernel.of(problem, device)
    except BackendError as refusal:
        return None, f"Newton's method stays on the CPU: {refusal}. "
    return kernel, "Kernels on a GPU were asked for." if asked else "The tensors are on a GPU."


def solve_compiled(
    shooting: CompiledShooting, start: Primal | Warm, settings: NewtonSettings, callback: Callback | None
) -> NewtonResult:
    """What solve_newton finds, to rounding. Raises nothing for numbers: each problem has its status."""
    began = time.perf_counter()
    unknowns, known = _begin(shooting, start)
    history: list[NewtonInfo] = []

    def told(row: tuple[float, ...]) -> bool:
        sweeps = int(row[0]) + (history[-1].sweeps if history else 0)
        history.append(_info(len(history) + 1, row, sweeps, time.perf_counter() - began))
        return callback is not None and bool(callback(history[-1]))

    options = {**vars(settings), "warm": isinstance(start, Warm)}
    found = shooting.solve(unknowns, known, options, None if callback is None else told)
    for row in found["history"][len(history) :]:
        history.append(_info(len(history) + 1, row, 0, time.perf_counter() - began))
    state, control, costate, end, sigma, multiplier = unknowns
    point, measures = Primal(state, control), found["measures"]
    status = [STATUSES[code] for code in found["status"]]
    scales = Scales(found["scale_z"], found["scale_weight"], found["scale_end"], found["scale_path"])
    return NewtonResult(
        warm=Warm(point, costate, end, sigma, multiplier, np.array([one in KNOWN for one in status])),
        objective=measures[:, 0],
        status=status,
        iterations=found["iterations"].astype(np.int64),
        residual=np.maximum(measures[:, 1], measures[:, 3]),
        violation=measures[:, 2],
        worst=worst_of(shooting, scales, point, measures[:, 2], CompiledShooting.rolled_out),
        history=history,
    )


def _begin(shooting: CompiledShooting, start: Primal | Warm) -> tuple[list[np.ndarray], np.ndarray]:
    """Arrays that the core may write to, and whose multipliers mean something."""
    if isinstance(start, Warm):
        given = [start.primal.state, start.primal.control, start.costate, start.end, start.sigma, start.multiplier]
        return [np.array(value, dtype=np.float64, order="C") for value in given], start.known
    statement, batch = shooting.statement, len(shooting.initial)
    rows = (batch, len(statement.nodes), 2 * statement.low.shape[1] + statement.active.shape[1])
    unknowns = [np.array(value, dtype=np.float64, order="C") for value in (start.state, start.control)]
    unknowns += [np.zeros(shape) for shape in (start.state.shape, (batch, len(statement.end_names)), rows, rows)]
    return unknowns, np.zeros(batch, dtype=bool)


def _info(iteration: int, row: tuple[float, ...], sweeps: int, seconds: float) -> NewtonInfo:
    running, objective, dual, primal, complementarity, barrier, step, regularisation = row
    return NewtonInfo(
        iteration=iteration,
        running=int(running),
        objective=objective / running,
        residual=dual,
        violation=primal,
        complementarity=complementarity,
        barrier=barrier,
        step=step,
        regularisation=regularisation,
        penalty=0.0,
        sweeps=sweeps,
        seconds=seconds,
    )
