"""Where a sweep first left the finite numbers: run after the fact, on the one problem of the batch that did.

A compiled sweep does not look at its numbers on the way. When its result is not finite, the reference sweep repeats
that problem and is read stage by stage, in the order in which things are computed: the dynamics and the running cost
forward, the terminal functions, then the derivatives backward.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from pontryagin.backend.torch_sweep import Stage, TorchSweep, vector_jacobian
from pontryagin.errors import NonFiniteError, PontryaginError, ProblemError
from pontryagin.problem import Problem
from pontryagin.sweep import Arguments, ControlKind, SweepResult
from pontryagin.tableau import Tableau
from pontryagin.time_grid import TimeGrid

#: What a person calls the fields of Arguments.
_NAMES = {"control": "u"}
_REMEDY = "look at that formula there, at u and initial_state, or take more steps"


def is_finite(result: SweepResult) -> bool:
    """Whether every number of the result is finite.

    A sum is finite only when its terms are, and takes a third of the time; where it is not, the terms decide. What is
    not finite in the state stays so until t1, and in the costate until t0, so one node of each tells.
    """
    values = (
        result.objective,
        None if result.state is None else result.state[:, -1],
        result.initial_state_derivative if result.costate is None else result.costate[:, 0],
        result.control_derivative,
        result.parameter_derivative,
        result.final_time_derivative,
    )
    for value in values:
        if value is not None and not math.isfinite(value.sum().item()) and not bool(value.isfinite().all()):
            return False
    return True


def explain(
    problem: Problem,
    grid: TimeGrid,
    control_kind: ControlKind,
    tableau: Tableau,
    arguments: Arguments,
    result: SweepResult,
) -> PontryaginError:
    """The error that says what was not finite first: ProblemError for an argument, NonFiniteError for a function."""
    wrong = _wrong_argument(problem, arguments)
    if wrong is not None:
        return wrong
    dtype, device = arguments.control.dtype, arguments.control.device
    sweep = TorchSweep(problem, grid, control_kind=control_kind, scheme=tableau, dtype=dtype, device=device)
    index = _first_bad(result, arguments.batch)
    if index is None:  # a sum over the batch is not finite: ask for its terms
        rows = arguments.control.expand(arguments.batch, *arguments.control.shape[-2:])
        index = _first_bad(sweep.evaluate(replace(arguments, control=rows), {"control_derivative"}), arguments.batch)
    place = None if index is None else _first_place(sweep, _single(arguments, index))
    if place is not None:
        who = f"problem {index} of the batch: " if arguments.batch > 1 else ""
        return NonFiniteError(f"{who}{place}; {_REMEDY}")
    return NonFiniteError(
        "the sweep returned numbers that are not finite, but the reference sweep does not: numbers near the largest "
        f"that {dtype} holds overflow in one and not in the other; {_REMEDY}, or scale the problem"
    )


def _wrong_argument(problem: Problem, arguments: Arguments) -> ProblemError | None:
    for name, value in vars(arguments).items():
        if value is None or bool(value.isfinite().all()):
            continue
        where = (~value.isfinite()).nonzero()[0].tolist()
        number = float(value[tuple(where)])
        return ProblemError(f"{_NAMES.get(name, name)} is {number:g} at index {where}; give finite numbers")
    early = arguments.final_time <= problem.t0
    if bool(early.any()):
        index = int(early.nonzero()[0])
        return ProblemError(
            f"final_time is {float(arguments.final_time[index]):g} for problem {index}, "
            f"not after the start of the horizon, {problem.t0:g}; give a later time"
        )
    return None


def _first_bad(result: SweepResult, batch: int) -> int | None:
    """The first problem whose own numbers are not finite; None where only a sum over the batch is not."""
    bad = torch.zeros(batch, dtype=torch.bool)
    for name, value in vars(result).items():
        shared = name == "control_derivative" and value is not None and value.dim() == 2
        if value is not None and not shared:
            bad |= ~value.isfinite().reshape(batch, -1).all(-1).cpu()
    return int(bad.nonzero()[0]) if bool(bad.any()) else None


def _single(arguments: Arguments, index: int) -> Arguments:
    """Problem `index` as a batch of one."""

    def row(value: Tensor | None, own: bool = True) -> Tensor | None:
        return value if value is None or not own else value[index : index + 1]

    data, control = arguments.data, arguments.control
    return Arguments(
        control=control if control.dim() == 2 else control[index : index + 1],
        initial_state=arguments.initial_state[index : index + 1],
        final_time=arguments.final_time[index : index + 1],
        parameters=arguments.parameters[index : index + 1],
        data=row(data, data is not None and data.dim() == 3),
        multipliers=row(arguments.multipliers),
        penalties=row(arguments.penalties),
    )


def _first_place(sweep: TorchSweep, arguments: Arguments) -> str | None:
    """A clause for the first value or derivative that is not finite, None where all are."""
    with torch.no_grad():
        path = sweep.forward(arguments, record={"final_time_derivative"})
        for k, stages in enumerate(path.stages):
            for i, stage in enumerate(stages):
                where = _where(sweep, k, i, stage)
                for name, value in (("dynamics", stage.dynamics), ("running_cost", stage.cost)):
                    if not bool(value.isfinite().all()):
                        return f"{name} returned {_show(value[..., 0])} {where}"
            if not bool(path.states[k + 1].isfinite().all()):
                return f"the state overflowed in step {k}, after the stage {where}"
        t, x = arguments.final_time, path.states[-1]
        cost, e = sweep.terminal_at(t, x, arguments.parameters.T)
        names = (("terminal_cost", cost), ("a terminal constraint", e))
        for name, value in names:
            if not bool(value.isfinite().all()):
                return f"{name} returned {_show(value[..., 0])} at t = {float(t):.6g}, where x = {_show(x[..., 0])}"
    return _first_derivative(sweep, arguments, path.stages, x)


def _first_derivative(sweep: TorchSweep, arguments: Arguments, steps: list[list[Stage]], x: Tensor) -> str | None:
    """The same for the derivatives, which are computed backward."""
    end = (arguments.final_time.detach(), x.detach(), arguments.parameters.T.detach())
    point = tuple(value.clone().requires_grad_() for value in end)
    with torch.enable_grad():
        values = sweep.terminal_at(*point)
    for name, value in zip(("terminal_cost", "a terminal constraint"), values, strict=True):
        for letter, gradient in zip(("t", "x", "theta"), _derivatives(value, point), strict=True):
            if not bool(gradient.isfinite().all()):
                return (
                    f"the derivative of {name} in {letter} is {_show(gradient[..., 0])} "
                    f"at t = {float(end[0]):.6g}, where x = {_show(x[..., 0])}"
                )
    for k in reversed(range(len(steps))):
        for i in reversed(range(len(steps[k]))):
            stage = steps[k][i]
            for name, value in (("dynamics", stage.dynamics), ("running_cost", stage.cost)):
                for letter, gradient in zip(("t", "x", "u", "theta"), _derivatives(value, stage.inputs), strict=True):
                    if not bool(gradient.isfinite().all()):
                        where = _where(sweep, k, i, stage)
                        return f"the derivative of {name} in {letter} is {_show(gradient[..., 0])} {where}"
    return None


def _derivatives(value: Tensor, sources: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Of the sum of the components, which is not finite where one of them has no finite derivative."""
    return vector_jacobian((value,), (torch.ones_like(value),), sources)


def _where(sweep: TorchSweep, k: int, i: int, stage: Stage) -> str:
    t, x, u, theta = (value.detach()[..., 0] for value in stage.inputs)
    parameters = f", theta = {_show(theta)}" if theta.numel() else ""
    return (
        f"at t = {float(t):.6g} (step {k} of {sweep.grid.steps}, stage {i + 1} of {sweep.tableau.stages}), "
        f"where x = {_show(x)}, u = {_show(u)}{parameters}"
    )


def _show(value: Tensor) -> str:
    if value.dim() == 0:
        return f"{float(value):.6g}"
    shown = ", ".join(f"{number:.6g}" for number in value.detach().flatten()[:8].tolist())
    return f"[{shown}{', ...' if value.numel() > 8 else ''}]"
