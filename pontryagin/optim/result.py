"""What a first-order method hands back, and what it tells on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from pontryagin.status import Status


@dataclass(frozen=True)
class IterationInfo:
    """One row of the iteration table. In a batch: over the problems still running, as each field says."""

    iteration: int
    running: int  # problems still running
    objective: float  # J, mean
    residual: float  # scaled optimality residual of the augmented Lagrangian, largest
    violation: float  # scaled violation of the terminal constraints, largest
    step: float  # step length accepted last, smallest
    penalty: float  # of the scaled terminal constraints, largest; 0 without constraints
    sweeps: int  # sweeps of one problem so far, rollouts counted whole, all problems together
    seconds: float  # since the start


#: Called after each iteration; True stops the solve with Status.INTERRUPTED.
Callback = Callable[[IterationInfo], "bool | None"]


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
