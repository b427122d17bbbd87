"""Newton's method in the compiled core: the loop of optim/newton, on tiles of lanes, with its statuses and history."""

from __future__ import annotations

import time

import numpy as np
import torch

from pontryagin.backend.compiled_shooting import CompiledShooting, core_of
from pontryagin.backend.cuda_newton import CudaShooting, NewtonKernel, device_statement
from pontryagin.backend.linearise import ReferenceShooting
from pontryagin.backend.newton_functions import NewtonFunctions
from pontryagin.backend.newton_native import choose
from pontryagin.codegen.newton_step import StepKind
from pontryagin.errors import BackendError
from pontryagin.optim import Callback
from pontryagin.optim.newton import NewtonInfo, NewtonResult, NewtonSettings, Warm
from pontryagin.optim.newton.barrier import with_room
from pontryagin.optim.newton.result import Rows
from pontryagin.optim.newton.scaling import Scales, half_width, scaled_as_control
from pontryagin.optim.newton.worst import worst_of
from pontryagin.problem import Problem
from pontryagin.shooting import Primal
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
KNOWN = np.array([one in (Status.CONVERGED, Status.STALLED, Status.MAX_ITERATIONS) for one in STATUSES])


#: Of the core: components of a node, and equalities at the end.
COMPONENTS, EQUALITIES = 512, 64

#: Room for the history is taken for so many iterations at most; nobody waits for more.
MOST_ITERATIONS = 100_000


def fits_core(reference: ReferenceShooting) -> bool:
    """Whether the core has room for a problem of this size."""
    e = reference.equations
    return e.state_dim + e.control_dim + len(e.optimised) + 1 <= COMPONENTS and e.equality_count <= EQUALITIES


def in_core(
    problem: Problem, reference: ReferenceShooting, backend: str, threads: int, device: torch.device = CPU
) -> CompiledShooting:
    """The same problems with steps, derivatives and solver in the core; where kernels are asked for, or the tensors are
    on a GPU and many, the solver runs there.

    Raises BackendError where compiled functions were asked for and cannot be had, and for problems that are too large.
    """
    if not fits_core(reference):
        raise BackendError(
            f"compiled solvers have room for {COMPONENTS} components of a node and {EQUALITIES} equalities at the end; "
            'use backend="torch"'
        )
    layout, batch, statement = NewtonFunctions.of(problem), len(reference.initial), reference.statement
    kernel, why = _kernel(problem, backend, device, batch)
    tier = "interpreter" if kernel else "auto" if backend == "cuda" else backend
    kind = StepKind(reference.tableau, reference.linear, reference.linear_data)
    chosen = choose(layout, tier, batch, len(statement.nodes) - 1, kind)
    key, cores = (chosen.functions, kernel), reference.cores
    if key not in cores:
        given = layout, with_room(statement), half_width(statement), scaled_as_control(statement)
        frame = vars(reference.select(np.zeros(0, dtype=np.intp)))  # of no problems, not to keep these
        frame |= {"core": core_of(reference, chosen, *given), "cores": {}, "threads": threads, "reason": ""}
        if kernel:
            there = device_statement(reference, *given, kernel.on.memory)
            cores[key] = CudaShooting(**frame, backend="cuda", kernel=kernel, on_device=there)
        else:
            cores[key] = CompiledShooting(**frame, backend=chosen.name)
    made: CompiledShooting = cores[key].of(reference.initial, reference.theta, reference.data)
    vars(made).update(threads=threads, reason=why if kernel else f"{why}{chosen.reason}")
    return made


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
        history.append(_info(history, row, time.perf_counter() - began))
        return callback is not None and bool(callback(history[-1]))

    def told_of() -> list[NewtonInfo]:
        for row in found["history"][len(history) :]:
            history.append(_info(history, row, seconds))
        return history

    options = {**vars(settings), "warm": isinstance(start, Warm)}
    options["max_iterations"] = min(settings.max_iterations, MOST_ITERATIONS)
    found = shooting.solve(unknowns, known, options, None if callback is None else told)
    seconds = time.perf_counter() - began
    state, control, costate, end, sigma, multiplier = unknowns
    point, measures = Primal(state, control), found["measures"]
    status = [STATUSES[code] for code in found["status"].tolist()]
    scales = Scales(found["scale_z"], found["scale_weight"], found["scale_end"], found["scale_path"])
    return NewtonResult(
        warm=Warm(point, costate, end, sigma, multiplier, KNOWN[found["status"]]),
        objective=measures[:, 0],
        status=status,
        iterations=found["iterations"].astype(np.int64),
        residual=np.maximum(measures[:, 1], measures[:, 3]),
        violation=measures[:, 2],
        worst=worst_of(shooting, scales, point, measures[:, 2], CompiledShooting.rolled_out),
        history=Rows(told_of),
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


def _info(before: list[NewtonInfo], row: tuple[float, ...], seconds: float) -> NewtonInfo:
    iteration, sweeps = len(before) + 1, int(row[0]) + (before[-1].sweeps if before else 0)
    running, objective, dual, primal, complementarity, barrier, step, regularisation = row
    return NewtonInfo(
        iteration, int(running), objective / running, dual, primal, step, 0.0, sweeps, seconds,
        complementarity, barrier, regularisation,
    )  # fmt: skip
