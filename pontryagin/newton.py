"""From problems and guesses to Newton's method, and back to a control with what belongs to it.

The guess of the control is that of every method. The path is what that control leads to, or the line between the
known end states (the initial state where the end is free): whichever violates the constraints less; where somebody
guessed the control, that is meant, and the line is taken only if it is better by far. From grid to grid the last point
is prolonged with all its multipliers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pontryagin.answer import Answer
from pontryagin.backend.linearise import ReferenceShooting
from pontryagin.backend.multiple_shooting import multiple_shooting
from pontryagin.compiled_newton import in_core, solve_compiled
from pontryagin.control_set import ControlSet
from pontryagin.guess import Start
from pontryagin.instances import Instances
from pontryagin.optim import Callback, MethodResult
from pontryagin.optim.newton import NewtonResult, NewtonSettings, Warm, better_start, solve_newton
from pontryagin.shooting import Array, Dual, Primal
from pontryagin.status import Status
from pontryagin.tableau import tableau_named
from pontryagin.time_grid import TimeGrid

#: A violation of path constraints at the initial state from which a problem is infeasible.
VISIBLE = 1e-8

#: How much more a path may violate the constraints that follows from a control that somebody guessed.
MEANT = 30.0


@dataclass(frozen=True)
class NewtonAnswer(MethodResult):
    """What Newton's method found beside a control: nothing of it needs another sweep."""

    initial_state: Tensor  # (B, n)
    parameters: Tensor  # (B, q)
    state: Tensor  # (B, N+1, n)
    costate: Tensor  # (B, N+1, n)
    control_derivative: Tensor  # (B, K, m) of J + nu.psi + int mu.c, the plain one
    path_multipliers: Tensor  # (B, N+1, k) mu of the path constraints, per unit of time
    state_multipliers: Tensor  # (B, N+1, n) of the state bounds, per unit of time: those of high minus those of low
    warm: Warm
    worst: list[str]
    backend: str  # where it ran, and why there
    reason: str

    def pick(self, rows: Tensor) -> NewtonAnswer:
        """Problems `rows` of these."""
        tensors: dict[str, Any] = {name: value[rows] for name, value in vars(self).items() if isinstance(value, Tensor)}
        index = rows.tolist()
        status, worst = ([given[i] for i in index] for given in (self.status, self.worst))
        return replace(self, **tensors, status=status, worst=worst, warm=self.warm.rows(np.array(index)))

    def joined(self, other: NewtonAnswer) -> NewtonAnswer:
        """These problems, then the others."""
        tensors: dict[str, Any] = {
            name: torch.cat((value, getattr(other, name)))
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(
            self, **tensors, status=[*self.status, *other.status], worst=[*self.worst, *other.worst],
            warm=self.warm.joined(other.warm),
        )  # fmt: skip


def solve_by_newton(
    instances: Instances,
    start: Start,
    before: tuple[NewtonAnswer, TimeGrid] | None,
    *,
    scheme: str,
    guess: Answer | None,
    meant: bool,
    settings: NewtonSettings,
    callback: Callback | None,
    backend: str,
    threads: int,
) -> NewtonAnswer:
    """Solve on the grid of the start, from what was found on the grid `before`, or from a guess.

    guess: the solution that the start was taken from, where it was one; meant: whether the control was given at all.
    backend: "torch" evaluates formulas and runs the method in numpy, all others in the compiled core.

    Raises CaptureError when a function of the problem cannot become formulas.
    """
    grid, problem = start.control.grid, instances.problem
    sweep = instances.arguments(start.control, start.final_time)
    reference = multiple_shooting(
        problem,
        grid,
        start.control.kind,
        tableau_named(scheme),
        _array(instances.initial_state),
        _array(instances.parameters),
        None if sweep.data is None else _array(sweep.data),
    )
    core = None if backend == "torch" else in_core(problem, reference, backend, threads, instances.device)
    shooting = core or reference
    begin: Primal | Warm
    if before is not None:
        begin = prolonged(shooting, before[0].warm, before[1], grid)
    else:
        state = line(instances, grid) if guess is None else _states_of(guess, instances, grid)
        begin = shooting.pack(
            state, _array(start.control.values), _array(instances.parameters), _array(start.final_time)
        )
        if guess is None:
            favour = MEANT if meant else 1.0
            begin = better_start(reference, begin, favour) if core is None else core.better_start(begin, favour)
    if core is None:
        found = solve_newton(reference, begin, settings, callback)
    else:
        found = solve_compiled(core, begin, settings, callback)
    return _answer(instances, shooting, found, start)


def line(instances: Instances, grid: TimeGrid) -> Array:
    """x (B, N+1, n) from the initial to the terminal state. Free components of either end take the value of the other
    one, or the middle of their bounds; all lie within the bounds."""
    problem = instances.problem
    first = _array(instances.initial_state)
    free = np.full(problem.state_dim, math.nan)
    last = free if problem.terminal_state is None else _array(problem.terminal_state)
    middle = np.zeros(problem.state_dim)
    for box in (problem.state_bounds, problem.initial_bounds):
        if box is not None:
            middle = np.where(np.isfinite(_array(box[0])) | np.isfinite(_array(box[1])),
                              _array(ControlSet(*box).middle()), middle)  # fmt: skip
    first = np.where(np.isnan(first), np.where(np.isnan(last), middle, last), first)
    last = np.where(np.isnan(last), first, last)
    tau = grid.nodes.numpy()[:, None]
    x: Array = (1 - tau) * first[:, None] + tau * last[:, None]
    if problem.state_bounds is not None:
        x = np.clip(x, *(_array(side) for side in problem.state_bounds))
    return x


def _states_of(guess: Answer, instances: Instances, grid: TimeGrid) -> Array:
    """x (B, N+1, n) of a solution, read at the nodes of the grid."""
    known = guess.batched()
    old, states = known.control.grid.nodes.numpy(), _array(known.state)
    states = np.repeat(states, instances.batch // len(states), 0)  # several starts of each problem
    return _interpolated(states, old, grid.nodes.numpy())


def prolonged(shooting: ReferenceShooting, warm: Warm, old: TimeGrid, new: TimeGrid) -> Warm:
    """The same point on another grid: nodes by straight lines, what belongs to v at the times that v belongs to."""
    before, after = old.nodes.numpy(), new.nodes.numpy()
    ns, nv = warm.primal.state.shape[2], warm.primal.control.shape[2]
    nz = ns + nv

    def of_controls(values: Array) -> Array:  # (B, N, ...) -> (B, N', ...)
        if shooting.linear:
            return _interpolated(values, before[1:], after[1:])
        middle = (after[:-1] + after[1:]) / 2
        return values[:, np.searchsorted(before, middle) - 1]

    def of_nodes(values: Array) -> Array:
        found = _interpolated(values, before, after)
        for first in (ns, nz + ns) if values.shape[2] >= 2 * nz else ():
            found[:, :-1, first : first + nv] = of_controls(values[:, :-1, first : first + nv])
        return found

    state = of_nodes(warm.primal.state)
    n, m = shooting.equations.state_dim, shooting.equations.control_dim
    control = of_controls(warm.primal.control)
    if shooting.linear:  # u_k itself is a straight line between nodes
        control = state[:, 1:, n : n + m].copy()
    return Warm(
        Primal(state, control), of_nodes(warm.costate), warm.end, of_nodes(warm.sigma), of_nodes(warm.multiplier),
        warm.known,
    )  # fmt: skip


def _interpolated(values: Array, old: Array, new: Array) -> Array:
    """Rows (B, K, ...) at times `old`, read at times `new`; constant outside."""
    if len(old) == 1:
        return np.repeat(values, len(new), 1)
    k = np.clip(np.searchsorted(old, new, side="right") - 1, 0, len(old) - 2)
    share = np.clip((new - old[k]) / (old[k + 1] - old[k]), 0.0, 1.0)[:, None]
    with np.errstate(invalid="ignore", over="ignore"):  # of problems that are lost
        return (1 - share) * values[:, k] + share * values[:, k + 1]


def _answer(instances: Instances, shooting: ReferenceShooting, found: NewtonResult, start: Start) -> NewtonAnswer:
    """In tensors, in the order of a Solution."""
    problem, warm = instances.problem, found.warm
    point, n = warm.primal, problem.state_dim
    statement = shooting.statement
    ns, nz = point.state.shape[2], point.state.shape[2] + point.control.shape[2]
    mu = np.where(statement.active, warm.multiplier[..., 2 * nz :], 0.0)
    with np.errstate(all="ignore"):
        derivative, initial = shooting.derivatives(point, Dual(warm.costate, warm.end, mu))
    status, worst = list(found.status), list(found.worst)
    for b in np.flatnonzero(shooting.fixed_violation(point) > VISIBLE):
        status[b], worst[b] = Status.INFEASIBLE, "path_constraint at the initial state"
    costate = np.concatenate((initial[:, None, :n], warm.costate[:, 1:, :n]), 1)
    t1 = shooting.final_time(point)
    final_time = _array(start.final_time) if t1 is None else t1
    duration = (final_time - problem.t0)[:, None, None]
    paths = len(shooting.equations.path.values)
    gamma = mu[:, -1, paths : paths + problem.inequality_count]
    bounds = warm.multiplier[..., nz : nz + ns] - warm.multiplier[..., :ns]
    like = instances.initial_state

    def tensor(values: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(like)

    def inside(values: Tensor) -> Tensor:
        return problem.control_set.project(values)

    none = np.zeros((instances.batch, problem.equality_count + problem.inequality_count))
    return NewtonAnswer(
        control=inside(tensor(shooting.controls(point))),
        final_time=tensor(final_time).to(start.final_time),
        multipliers=tensor(np.concatenate((warm.end[:, : problem.equality_count], gamma), 1)),
        penalties=tensor(none),
        status=status,
        iterations=torch.from_numpy(found.iterations).to(like.device),
        residual=tensor(found.residual),
        violation=tensor(found.violation),
        objective=tensor(found.objective),
        sweeps=found.history[-1].sweeps if found.history else 0,
        history=list(found.history),
        initial_state=tensor(point.state[:, 0, :n]),
        parameters=tensor(shooting.parameters(point)),
        state=tensor(point.state[..., :n]),
        costate=tensor(costate),
        control_derivative=tensor(derivative),
        path_multipliers=tensor(mu[..., :paths] / duration),
        state_multipliers=tensor(bounds[..., :n] / duration),
        warm=warm,
        worst=worst,
        backend=getattr(shooting, "backend", "torch"),
        reason=getattr(shooting, "reason", "The formulas are evaluated by numpy."),
    )


def _array(values: Tensor) -> Array:
    return values.detach().double().numpy(force=True)
