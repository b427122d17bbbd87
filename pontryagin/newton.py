"""From problems and guesses to Newton's method, and back to a control with what belongs to it.

The guess of the control is that of every method. The path is what that control leads to, or the line between the
known end states (the initial state where the end is free): whichever violates the constraints less; where somebody
guessed the control, that is meant, and the line is taken only if it is better by far. From grid to grid the last point
is prolonged with all its multipliers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pontryagin.answer import Answer
from pontryagin.backend.linearise import ReferenceShooting
from pontryagin.backend.multiple_shooting import multiple_shooting
from pontryagin.compiled_newton import in_core, solve_compiled
from pontryagin.control_set import ControlSet
from pontryagin.guess import Start
from pontryagin.hamiltonian import remembered
from pontryagin.instances import Instances
from pontryagin.newton_answer import NewtonAnswer
from pontryagin.optim import Callback
from pontryagin.optim.newton import NewtonSettings, Warm, better_start, solve_newton
from pontryagin.problem import Problem
from pontryagin.shooting import Array, Mask, Primal
from pontryagin.status import Status
from pontryagin.tableau import tableau_named
from pontryagin.time_grid import TimeGrid
from pontryagin.values import as_array

#: A violation of path constraints at the initial state from which a problem is infeasible.
VISIBLE = 1e-8

#: How much more a path may violate the constraints that follows from a control that somebody guessed.
MEANT = 30.0


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
    (initial_state, theta), data = instances.arrays, instances.data_on(grid)
    reference = multiple_shooting(
        problem,
        grid,
        start.control.kind,
        tableau_named(scheme),
        initial_state,
        theta,
        None if data is None else as_array(data),
    )
    core = None if backend == "torch" else in_core(problem, reference, backend, threads, instances.device)
    shooting, (control, final_time) = core or reference, start.arrays
    begin: Primal | Warm
    if before is not None:
        begin = prolonged(shooting, before[0].found.warm, before[1], grid)
    else:
        state = line(instances, grid) if guess is None else _states_of(guess, instances, grid)
        begin = shooting.pack(state, control, theta, final_time)
        if guess is not None:
            begin = _resumed(begin, guess, start, problem, shooting)
        else:
            favour = MEANT if meant else 1.0
            begin = better_start(reference, begin, favour) if core is None else core.better_start(begin, favour)
    if core is None:
        found = solve_newton(reference, begin, settings, callback)
    else:
        found = solve_compiled(core, begin, settings, callback)
    if problem.path_count:
        for b in np.flatnonzero(shooting.fixed_violation(found.warm.primal) > VISIBLE):
            found.status[b], found.worst[b] = Status.INFEASIBLE, "path_constraint at the initial state"
    return NewtonAnswer(problem, instances.initial_state, shooting, found, final_time)


def line(instances: Instances, grid: TimeGrid) -> Array:
    """x (B, N+1, n) from the initial to the terminal state. Free components of either end take the value of the other
    one, or the middle of their bounds; all lie within the bounds."""
    ends, (first, _) = remembered(instances.problem, "line", Ends.of), instances.arrays
    if ends.free:
        first = np.where(np.isnan(first), ends.first, first)
    both = np.empty((len(first), 2, first.shape[1]))
    both[:, 0], both[:, 1] = first, np.where(ends.open, first, ends.last)
    x: Array = grid.shares @ both
    return x if ends.bounds is None else np.clip(x, *ends.bounds)


@dataclass(frozen=True)
class Ends:
    """What a problem says of lines between its ends."""

    first: Array  # (n,) where the initial state is free
    free: bool  # whether it is, somewhere
    last: Array  # (n,)
    open: Mask  # (n,) where it is free
    bounds: tuple[Array, Array] | None  # (n,) each

    @classmethod
    def of(cls, problem: Problem) -> Ends:
        last, middle = np.full(problem.state_dim, math.nan), np.zeros(problem.state_dim)
        if problem.terminal_state is not None:
            last = as_array(problem.terminal_state)
        for box in (problem.state_bounds, problem.initial_bounds):
            if box is not None:
                low, high = (as_array(side) for side in box)
                middle = np.where(np.isfinite(low) | np.isfinite(high), as_array(ControlSet(*box).middle()), middle)
        bounds = problem.state_bounds
        return cls(
            first=np.where(np.isnan(last), middle, last),
            free=bool(problem.initial_state.isnan().any()),
            last=last,
            open=np.isnan(last),
            bounds=bounds and (as_array(bounds[0]), as_array(bounds[1])),
        )


def _states_of(guess: Answer, instances: Instances, grid: TimeGrid) -> Array:
    """x (B, N+1, n) of a solution, read at the nodes of the grid."""
    known = guess.batched()
    old, states = known.control.grid.nodes.numpy(), as_array(known.state)
    states = np.repeat(states, instances.batch // len(states), 0)  # several starts of each problem
    return _interpolated(states, old, grid.nodes.numpy())


def _resumed(
    point: Primal, guess: Answer, start: Start, problem: Problem, shooting: ReferenceShooting
) -> Primal | Warm:
    """Where a solution of this problem ended, with all its multipliers: for those that begin with its control."""
    known, control = guess.batched(), start.control
    if known.last_point is None or known.problem is not problem or known.control.kind != control.kind:
        return point
    count = len(point.state) // len(known.state)  # several starts of each problem
    warm = prolonged(shooting, Warm.of(value.numpy() for value in known.last_point), known.control.grid, control.grid)
    warm = warm.rows(np.arange(len(known.state)).repeat(count))
    theirs = known.control.on(control.grid, control.kind).values.to(control.values).repeat_interleave(count, 0)
    same = warm.known & (control.values == theirs).flatten(1).all(1).numpy(force=True)
    if not same.any():
        return point
    state, values = (
        np.where(same[:, None, None], old, new)
        for old, new in ((warm.primal.state, point.state), (warm.primal.control, point.control))
    )
    return replace(warm, primal=Primal(state, values), known=same)


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
