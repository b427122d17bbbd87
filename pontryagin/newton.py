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

from pontryagin.backend.linearise import ReferenceShooting
from pontryagin.backend.multiple_shooting import multiple_shooting
from pontryagin.compiled_newton import fits_core, in_core, solve_compiled
from pontryagin.control_set import ControlSet
from pontryagin.guess import Origin, Start
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
    meant: bool,
    settings: NewtonSettings,
    callback: Callback | None,
    backend: str,
    threads: int,
) -> NewtonAnswer:
    """Solve on the grid of the start, from what was found on the grid `before`, or from a guess.

    meant: whether the control was given.
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
    in_numpy = backend == "torch" or (backend == "auto" and not fits_core(reference))
    core = None if in_numpy else in_core(problem, reference, backend, threads, instances.device)
    shooting, (control, final_time) = core or reference, start.arrays
    begin: Primal | Warm
    if before is not None:
        begin = prolonged(shooting, before[0].found.warm, before[1], grid)
    else:
        begin = shooting.pack(line(instances, grid), control, theta, final_time)
        favour = MEANT if meant else 1.0
        if start.origin is None or (start.origin.rows < 0).any():
            begin = better_start(reference, begin, favour) if core is None else core.better_start(begin, favour)
        if start.origin is not None:
            begin = _resumed(begin, start.origin, start, problem, shooting)
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


def _resumed(
    point: Primal, origin: Origin, start: Start, problem: Problem, shooting: ReferenceShooting
) -> Primal | Warm:
    """Starts from a solution have its states; of this problem they are where it ended, with all its multipliers."""
    solution, grid, taken = origin.solution, start.control.grid, origin.rows >= 0
    here, n = taken[:, None, None], problem.state_dim
    state = point.state.copy()
    states = _interpolated(as_array(solution.state), solution.control.grid.nodes.numpy(), grid.nodes.numpy())
    state[..., :n] = np.where(here, states[origin.rows], state[..., :n])
    point = Primal(state, point.control)
    ended = solution.last_point
    if ended is None or solution.problem is not problem or solution.control.kind != start.control.kind:
        return point
    warm = Warm.of(value.numpy() for value in ended).rows(origin.rows)
    warm = prolonged(shooting, warm, solution.control.grid, grid)
    known = warm.known & taken
    if not known.any():
        return point
    here = known[:, None, None]
    state = np.where(here, warm.primal.state, point.state)
    return replace(warm, primal=Primal(state, np.where(here, warm.primal.control, point.control)), known=known)


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
