"""What a first-order method hands back, and what it tells on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

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


class Row(NamedTuple):
    """An IterationInfo whose numbers are still on the device."""

    iteration: int
    running: int
    values: tuple[Tensor, ...]  # (G,) objective, residual, violation, step and penalty
    sweeps: int
    seconds: float


#: What an IterationInfo has of the values of a row.
OVER: tuple[Callable[[Tensor], Tensor], ...] = (torch.mean, torch.amax, torch.amax, torch.amin, torch.amax)


def read(rows: Sequence[Row]) -> list[IterationInfo]:
    """The numbers of rows; from a device they all come in one copy, for which alone it is waited."""
    if not rows:
        return []
    tensors = [
        values if values.numel() == 1 else over(values)
        for row in rows
        for values, over in zip(row.values, OVER, strict=True)
    ]
    numbers: list[float]
    if tensors[0].is_cpu:
        numbers = [tensor.item() for tensor in tensors]
    else:
        numbers = torch.cat([tensor.view(1) for tensor in tensors]).tolist()
    infos = []
    for k, row in enumerate(rows):
        objective, residual, violation, step, penalty = numbers[k * len(OVER) : (k + 1) * len(OVER)]
        infos.append(
            IterationInfo(
                row.iteration, row.running, objective, residual, violation, step, penalty, row.sweeps, row.seconds
            )
        )
    return infos


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

    def ended(self, status: list[Status]) -> MethodResult:
        """The same with these statuses."""
        return replace(self, status=status)


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
