"""What a first-order method hands back, and what it tells on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pontryagin.optim.lagrangian import Lagrangian, Point
from pontryagin.status import Status


@dataclass(frozen=True)
class IterationInfo:
    """One row of the iteration table. In a batch: over the problems still running, as each field says.

    Where the host does not look after each iteration, those that have finished since the last look are among them.
    """

    iteration: int
    running: int  # problems still running
    objective: float  # J, mean
    residual: float  # scaled optimality residual of the augmented Lagrangian, largest
    violation: float  # scaled violation of the terminal constraints, largest
    step: float  # step length accepted last, smallest; 0 where a line search goes on in the next iteration
    penalty: float  # of the scaled terminal constraints, largest; 0 without constraints
    sweeps: int  # sweeps of one problem so far, rollouts counted whole, all problems together
    seconds: float  # since the start


#: Called after each iteration; True stops the solve with Status.INTERRUPTED.
Callback = Callable[[IterationInfo], "bool | None"]


@dataclass(frozen=True)
class Row:
    """An IterationInfo whose numbers are tensors (G,) of the groups that it is over."""

    iteration: int
    running: int
    objective: Tensor
    residual: Tensor
    violation: Tensor
    step: Tensor
    penalty: Tensor
    sweeps: int
    seconds: float


#: How a row is over its groups.
OVER: dict[str, Callable[[Tensor], Tensor]] = {
    "objective": torch.mean,
    "residual": torch.amax,
    "violation": torch.amax,
    "step": torch.amin,
    "penalty": torch.amax,
}


def read(rows: Sequence[Row]) -> list[IterationInfo]:
    """The numbers of rows, all of them in one copy from the device."""
    if not rows:
        return []
    numbers = torch.stack([_over(getattr(row, name), over) for row in rows for name, over in OVER.items()])
    return [
        IterationInfo(**(vars(row) | dict(zip(OVER, own, strict=True))))
        for row, own in zip(rows, numbers.view(len(rows), -1).tolist(), strict=True)
    ]


def _over(values: Tensor, over: Callable[[Tensor], Tensor]) -> Tensor:
    return values.view(()) if values.numel() == 1 else over(values)


@dataclass(frozen=True)
class MethodResult:
    """The best control found, one status for each problem. r = number of terminal constraints."""

    control: Tensor  # like the start: (B, K, m), or (K, m) shared by the batch; inside the bounds exactly
    final_time: Tensor  # (B,)
    multipliers: Tensor  # (B, r) omega: with them and zero penalties the Lagrangian has the gradient of the last sweep
    penalties: Tensor  # (B, r) rho of the last augmented Lagrangian
    status: list[Status]  # (B)
    iterations: Tensor  # (B,) int64
    residual: Tensor  # (B,) scaled optimality residual
    violation: Tensor  # (B,) scaled violation of the terminal constraints, 0 without
    objective: Tensor  # (B,) phi + int L of the minimised problem
    sweeps: int  # sweeps of one problem, rollouts counted whole, all problems together
    history: list[IterationInfo]


@dataclass(frozen=True)
class Standing:
    """How the running groups stand; made at once, so that whoever interrupts finds it whole."""

    rows: Tensor  # (G,) their numbers in the batch
    point: Point
    best: Point | None  # with the lowest J seen, where J may rise
    residual: Tensor  # (G,)
    violation: Tensor  # (G,)
    omega: Tensor  # (G, R)
    rho: Tensor  # (G, R)
    verdict: Tensor  # (G,) how they end, as a place in a list; zero while they run
    ended: Tensor  # (G,) the iteration in which they do


class Ledger:
    """The final values of G groups, written down when a group leaves."""

    def __init__(self, point: Point, lagrangian: Lagrangian) -> None:
        self.lagrangian = lagrangian
        self.z, self.objective = point.z.clone(), point.objective.clone()
        self.residual = torch.full_like(point.objective, torch.nan)
        self.violation = torch.full_like(point.objective, torch.nan)
        self.omega, self.rho = lagrangian.nu.clone(), lagrangian.rho.clone()
        self.iterations = torch.zeros_like(point.objective, dtype=torch.long)
        self.status: list[Status | None] = [None] * point.z.shape[0]

    def running(self, rows: Tensor) -> Tensor:
        """(G,) which of these numbers have no end yet."""
        return torch.tensor([self.status[row] is None for row in rows.tolist()], device=rows.device)

    def write(self, status: Status, standing: Standing, which: Tensor) -> None:
        """The groups `which` (G,) of `standing` end with `status`."""
        rows = standing.rows[which]
        self.z[rows], self.objective[rows] = standing.point.z[which], standing.point.objective[which]
        self.residual[rows], self.violation[rows] = standing.residual[which], standing.violation[which]
        self.omega[rows], self.rho[rows] = standing.omega[which], standing.rho[which]
        self.iterations[rows] = standing.ended[which]
        for row in rows.tolist():
            self.status[row] = status

    def result(self, sweeps: int, history: list[IterationInfo]) -> MethodResult:
        """What was written, one row a problem: under a shared control all problems of the batch tell the same."""
        variables, start = self.lagrangian.variables, self.lagrangian.start
        batch, groups = start.batch, self.z.shape[0]
        each = batch // groups
        control, final_time = variables.answer(self.z)
        return MethodResult(
            control=control,
            final_time=start.final_time if final_time is None else final_time,
            multipliers=self.omega.reshape(batch, -1),
            penalties=self.rho.reshape(batch, -1),
            status=[status or Status.INTERRUPTED for status in self.status for _ in range(each)],
            iterations=self.iterations.repeat_interleave(each),
            residual=self.residual.repeat_interleave(each),
            violation=self.violation.repeat_interleave(each),
            objective=self.lagrangian.objectives(self.z) if variables.shared else self.objective,
            sweeps=sweeps,
            history=history,
        )
