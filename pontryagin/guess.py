"""Where a solve starts: the caller's guess as a control on the grid, and random starts beside it.

A guess is one of
    None                 the middle of the control bounds, or the admissible control nearest to zero
    number, (m,)         that control at all times
    (K, m), (B, K, m)    rows spread evenly over the horizon: nodes of a linear control, pieces of a constant one
    function of time     t, a 0-d tensor, to (m,), read at the nodes or in mid-interval
    Control              as it is, read on the grid
    Solution             its control, final time and multipliers: a warm start
    Start                as it is, grid and all: one of the random starts below

Random starts keep the guess as the first. The others run in straight lines between KNOTS random controls: uniform
within the bounds, normal about the guess where there is none. A free final time is drawn between half and twice its
guess. All problems of a batch see the same draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pontryagin.answer import Answer
from pontryagin.control import Control, Kind, rows_of
from pontryagin.errors import ProblemError
from pontryagin.hamiltonian import kept
from pontryagin.instances import Instances
from pontryagin.shooting import Array
from pontryagin.time_grid import TimeGrid
from pontryagin.values import as_array, numbers

#: Random controls that a random start runs through.
KNOTS = 5


@dataclass(frozen=True)
class Origin:
    """The solution that starts were taken from."""

    solution: Answer  # of a batch
    rows: NDArray[np.intp]  # (B,) of it, -1 for a start that has nothing of it

    def picked(self, rows: Tensor) -> Origin:
        """Of these starts."""
        return replace(self, rows=self.rows[rows.numpy(force=True)])

    def among_others(self, starts: int) -> Origin:
        """Of the first of so many starts of each problem."""
        rows = np.full((len(self.rows), starts), -1)
        rows[:, 0] = self.rows
        return replace(self, rows=rows.flatten())


@dataclass(frozen=True)
class Start:
    """Where the first iteration begins, for B problems. r = number of terminal constraints; None is a fresh start."""

    control: Control  # (B, K, m)
    final_time: Tensor  # (B,)
    multipliers: Tensor | None = None  # (B, r)
    penalties: Tensor | None = None  # (B, r)
    origin: Origin | None = None

    @cached_property
    def arrays(self) -> tuple[Array, Array]:
        """Control and final time in float64."""
        return as_array(self.control.values), as_array(self.final_time)


def read_guess(guess: Any, instances: Instances, kind: Kind, grid: TimeGrid) -> Start:
    """The guess on this grid. ProblemError for a shape that fits no problem, NaN, and a batch of another size."""
    if isinstance(guess, Start):
        return guess
    if guess is None:
        return _usual(instances, kind, grid)
    problem, batch = instances.problem, instances.batch
    like = instances.initial_state
    final_time = like.new_full((batch,), problem.t1_guess)
    multipliers = penalties = origin = None
    if isinstance(guess, Answer):
        if guess.batch not in (None, 1, batch):
            raise ProblemError(f"guess is a solution of {guess.batch} problems, these are {batch}; give one size")
        known = guess.batched()
        control = known.control
        if known.state.shape[2] == problem.state_dim:
            origin = Origin(known, np.arange(batch) % len(known.state))
        if problem.free_final_time is not None:
            final_time = known.final_time.to(like).expand(batch)
        if known.multipliers.shape[1] == problem.equality_count + problem.inequality_count:
            multipliers = known.multipliers.to(like).expand(batch, -1)
            penalties = known.penalties.to(like).expand(batch, -1)
    elif isinstance(guess, Control):
        control = guess
    elif callable(guess):
        control = _function(guess, instances, kind, grid)
    else:
        control = _rows(numbers("guess", guess), problem.control_dim, kind)
    _check(control, instances)
    values = control.on(grid, kind).values.to(like)
    return Start(Control(values.expand(batch, -1, -1), kind, grid), final_time, multipliers, penalties, origin)


def random_starts(start: Start, instances: Instances, starts: int, seed: int, steady: bool = False) -> Start:
    """`starts` starts for each problem, one after the other: (B starts) rows, the given one first.

    steady: every second of the others keeps its first random control at all times.
    """
    if starts == 1:
        return start
    problem, grid, kind = instances.problem, start.control.grid, start.control.kind
    generator = torch.Generator().manual_seed(seed)
    box = problem.control_set
    low, high = box.low.cpu(), box.high.cpu()
    share = torch.rand(starts - 1, KNOTS, box.size, generator=generator, dtype=torch.float64)
    noise = torch.randn(starts - 1, KNOTS, box.size, generator=generator, dtype=torch.float64)
    if steady:
        share[::2], noise[::2] = share[::2, :1], noise[::2, :1]
    stretch = 2.0 ** (2 * torch.rand(starts - 1, generator=generator, dtype=torch.float64) - 1)

    given = start.control.values.double().cpu()  # (B, K, m)
    knots = TimeGrid.uniform(KNOTS - 1)
    about = Control(given, kind, grid).on(knots, "linear").values.unsqueeze(1)  # (B, 1, KNOTS, m)
    size = 1 + given.abs().amax((1, 2))[:, None, None, None]
    both = low.isfinite() & high.isfinite()
    drawn = torch.where(both, low.nan_to_num() + share * (high - low).nan_to_num(), box.project(about + size * noise))
    batch = given.shape[0]
    drawn = drawn.expand(batch, -1, -1, -1).flatten(0, 1)
    drawn = Control(drawn, "linear", knots).on(grid, kind).values.reshape(batch, starts - 1, -1, box.size)
    values = torch.cat((given.unsqueeze(1), drawn), 1).flatten(0, 1).to(start.control.values)

    rows = torch.arange(batch).repeat_interleave(starts).to(start.final_time.device)
    times = start.final_time.repeat_interleave(starts)
    if problem.free_final_time is not None:
        factor = torch.cat((torch.ones(1, dtype=torch.float64), stretch)).repeat(batch).to(times)
        times = (problem.t0 + factor * (times - problem.t0)).clamp(*problem.free_final_time[1:])
    multipliers, penalties = (None if value is None else value[rows] for value in (start.multipliers, start.penalties))
    origin = start.origin and start.origin.among_others(starts)
    return Start(Control(values, kind, grid), times, multipliers, penalties, origin)


def _usual(instances: Instances, kind: Kind, grid: TimeGrid) -> Start:
    """Where nobody guesses; for one problem it is made once."""
    problem, batch, like = instances.problem, instances.batch, instances.initial_state

    def made() -> Start:
        middle = problem.control_set.middle().to(like).expand(batch, rows_of(kind, grid), -1)
        return Start(Control(middle, kind, grid), like.new_full((batch,), problem.t1_guess))

    return kept(problem, "starts", (kind, grid.key, like.dtype, like.device), made) if batch == 1 else made()


def _rows(values: Tensor, m: int, kind: Kind) -> Control:
    """A control from a number, (m,), (K, m) or (B, K, m)."""
    if values.dim() == 0:
        values = values.expand(m)
    if values.dim() == 1:
        if values.shape[0] != m:
            hint = "; rows of a single control still have a last axis: guess[:, None]" if m == 1 else ""
            raise ProblemError(f"guess has shape {tuple(values.shape)}; give ({m},), (K, {m}) or (B, K, {m}){hint}")
        values = values.expand(1 + (kind == "linear"), -1)
    if values.dim() > 3 or values.shape[-1] != m:
        raise ProblemError(f"guess has shape {tuple(values.shape)}; give ({m},), (K, {m}) or (B, K, {m})")
    steps = values.shape[-2] - (kind == "linear")
    if steps < 1:
        raise ProblemError("guess has one row, but a linear control needs two; for one value at all times give (m,)")
    return Control(values, kind, TimeGrid.uniform(steps))


def _function(guess: Callable[[Tensor], Any], instances: Instances, kind: Kind, grid: TimeGrid) -> Control:
    """A control from a function of time."""
    problem = instances.problem
    nodes = grid.nodes if kind == "linear" else (grid.nodes[:-1] + grid.nodes[1:]) / 2
    rows = []
    for time in problem.t0 + nodes * (problem.t1_guess - problem.t0):
        try:
            value = guess(time)
        except Exception as error:
            raise ProblemError(f"guess raised {type(error).__name__} at t = {float(time):g}: {error}") from error
        row = numbers(f"guess({float(time):g})", value).double()
        if row.dim() == 0 and problem.control_dim == 1:
            row = row.reshape(1)
        if row.shape != (problem.control_dim,):
            raise ProblemError(
                f"guess({float(time):g}) has shape {tuple(row.shape)}; return ({problem.control_dim},), one number for "
                "each control"
            )
        rows.append(row)
    return _on(grid, kind, torch.stack(rows))


def _on(grid: TimeGrid, kind: Kind, values: Tensor) -> Control:
    assert values.shape[-2] == rows_of(kind, grid)
    return Control(values, kind, grid)


def _check(control: Control, instances: Instances) -> None:
    """The control of a guess fits these problems."""
    m, batch = instances.problem.control_dim, instances.batch
    if control.shape[-1] != m:
        raise ProblemError(f"guess has {control.shape[-1]} controls; {instances.problem.name} has {m}")
    if control.values.dim() == 3 and control.shape[0] not in (1, batch):
        raise ProblemError(
            f"guess is for {control.shape[0]} problems, these are {batch}; give one size, or no batch axis"
        )
    if not bool(control.values.isfinite().all()):
        raise ProblemError("guess holds numbers that are not finite; start from finite controls")
