"""Multilayer perceptrons swept by compiled code on the CPU: x' = f(t, x, w(t)) forward, its costate equation back.

The way back is the exact transpose of the discrete way forward, with p f_w summed over the batch. Weights are
rows (R, ...) of each parameter; a table (N, s) says which row stage i of step n uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pontryagin import _core
from pontryagin.backend.mlp_arguments import MLPArguments
from pontryagin.errors import ProblemError
from pontryagin.mlp import MLP
from pontryagin.tableau import Tableau

#: Keeping the way forward of a whole batch pays where it stays in a cache; and where making a number of it again costs
#: many multiply-adds, from memory, too.
CACHED_BYTES, KEPT_BYTES, MANY_PRODUCTS = 8 << 20, 256 << 20, 32

CPU = torch.device("cpu")


class Tape:
    """The way forward of one rollout; its memory goes back to the sweeper when nobody holds it any more."""

    def __init__(self, memory: Tensor, idle: list[Tensor], batch: int, steps: int) -> None:
        self.memory, self.batch, self.steps = memory, batch, steps
        self._idle = idle

    def __del__(self) -> None:
        if len(self._idle) < 4:
            self._idle.append(self.memory)


@dataclass(frozen=True)
class Rollout:
    """final_state (B, D); cost (B,) where there is a running cost; the tape where it was asked for."""

    final_state: Tensor
    cost: Tensor | None
    tape: Tape | None


@dataclass(frozen=True)
class Gradient:
    """Derivatives in the initial state (B, D), and in the weights, shaped as these."""

    initial_state: Tensor
    weights: list[Tensor]


class FusedMLP:
    """Sweeps of one net by one tableau, with running cost q/2 |x|^2 + r/2 |f|^2 (state_cost q, velocity_cost r).

    The cost of a sample is sum_n h_n sum_i b_i L(stage i of step n). `threads` is the number of threads; results do not
    depend on it. Raises ProblemError for tensors of wrong shape, type or device.
    """

    def __init__(
        self,
        mlp: MLP,
        tableau: Tableau,
        dtype: torch.dtype,
        *,
        state_cost: float = 0.0,
        velocity_cost: float = 0.0,
    ) -> None:
        if dtype not in (torch.float32, torch.float64):
            raise ProblemError(f"fused sweeps know float32 and float64, not {dtype}")
        self.mlp, self.tableau, self.dtype = mlp, tableau, dtype
        self._has_cost = state_cost != 0.0 or velocity_cost != 0.0
        self._single = dtype == torch.float32
        self._core = _core.MlpSweeper(
            widths=mlp.widths,
            activations=mlp.activations,
            bias=mlp.bias,
            time=mlp.time,
            a=tableau.a,
            b=tableau.b,
            c=tableau.c,
            state_cost=state_cost,
            velocity_cost=velocity_cost,
        )
        self._idle: list[Tensor] = []  # memory of tapes

    def keeps(self, batch: int, steps: int, rows: int) -> bool:
        """Whether the way forward of such a batch is worth keeping for the way back (`rollout(keep=True)`).

        The number of rows of weights does not change the answer: they are not on the tape.
        """
        size = self._core.tape_bytes(self._single, batch, steps)
        numbers_of_stage = self.mlp.dim + sum(self.mlp.widths[1:-1])
        dear = self.mlp.parameter_count >= MANY_PRODUCTS * numbers_of_stage
        return size <= (KEPT_BYTES if dear else CACHED_BYTES)

    def rollout(
        self,
        weights: Sequence[Tensor],
        rows: Tensor,
        t0: float,
        lengths: Tensor,
        x0: Tensor,
        *,
        keep: bool = False,
        threads: int,
    ) -> Rollout:
        """x(t1) (B, D) and the running cost (B,) from x0 (B, D), over steps of `lengths` (N,) from t0."""
        run = _Run(self, weights, rows, t0, lengths, x0, threads)
        final_state = torch.empty_like(run.x0)
        cost = run.x0.new_empty(run.batch) if self._has_cost else None
        tape = self._tape(run.batch, run.steps) if keep else None
        run(final_state=final_state, cost=cost, tape=tape)
        return Rollout(final_state, cost, tape)

    def gradient(
        self,
        weights: Sequence[Tensor],
        rows: Tensor,
        t0: float,
        lengths: Tensor,
        x0: Tensor,
        p1: Tensor,
        cost_cotangent: Tensor | float | None = None,
        tape: Tape | None = None,
        *,
        threads: int,
    ) -> Gradient:
        """Derivatives of p1 . x(t1) + cost_cotangent . cost, p1 (B, D); along the tape of that rollout, if given."""
        run = _Run(self, weights, rows, t0, lengths, x0, threads)
        if tape is not None and (tape.batch, tape.steps) != (run.batch, run.steps):
            raise ProblemError(
                f"the tape is of {tape.batch} samples and {tape.steps} steps, the sweep of {run.batch} and {run.steps}"
            )
        per_sample, scale = (
            (cost_cotangent, 0.0) if isinstance(cost_cotangent, Tensor) else (None, cost_cotangent or 0.0)
        )
        return run(
            final_costate=run.tensor(p1, (run.batch, self.mlp.dim), "p1"),
            cost_cotangent=None if per_sample is None else run.tensor(per_sample, (run.batch,), "cost cotangent"),
            cost_scale=scale,
            tape=tape,
            backward=True,
            replay=tape is not None,
        )[1]

    def squared_error(
        self,
        weights: Sequence[Tensor],
        rows: Tensor,
        t0: float,
        lengths: Tensor,
        x0: Tensor,
        target: Tensor,
        scale: float,
        *,
        cost_scale: float = 0.0,
        threads: int,
    ) -> tuple[float, Tensor, Gradient]:
        """J = scale sum |x(t1) - target|^2 + cost_scale sum cost, x(t1), and the derivatives of J, in one pass."""
        run = _Run(self, weights, rows, t0, lengths, x0, threads)
        final_state = torch.empty_like(run.x0)
        value, gradient = run(
            final_state=final_state,
            target=run.tensor(target, (run.batch, self.mlp.dim), "target"),
            scale=scale,
            cost_scale=cost_scale,
            backward=True,
        )
        return value, final_state, gradient

    def _tape(self, batch: int, steps: int) -> Tape:
        """Memory that was used before, where there is enough: fresh pages cost more than the sweep."""
        needed = self._core.tape_bytes(self._single, batch, steps)
        memory: Tensor | None = None
        small: list[Tensor] = []
        while memory is None:
            try:
                found = self._idle.pop()  # one step of the interpreter: no other thread has this memory
            except IndexError:
                memory = torch.empty(max(needed, 1), dtype=torch.uint8)
            else:
                if found.numel() >= needed:
                    memory = found
                else:
                    small.append(found)
        self._idle.extend(small)
        return Tape(memory, self._idle, batch, steps)


class _Run(MLPArguments):
    """The arguments that all sweeps have in common, as addresses for the core."""

    def __init__(self, sweeper: FusedMLP, *arguments: Any) -> None:
        *given, self.threads = arguments
        self.sweeper = sweeper
        super().__init__(sweeper.mlp, sweeper.tableau.stages, sweeper.dtype, CPU, *given)

    def __call__(
        self,
        *,
        final_state: Tensor | None = None,
        cost: Tensor | None = None,
        final_costate: Tensor | None = None,
        target: Tensor | None = None,
        cost_cotangent: Tensor | None = None,
        scale: float = 0.0,
        cost_scale: float = 0.0,
        tape: Tape | None = None,
        backward: bool = False,
        replay: bool = False,
    ) -> tuple[float, Gradient]:
        initial_gradient = torch.empty_like(self.x0) if backward else None
        gradients = [torch.empty_like(w) for w in self.weights] if backward else []
        value = self._core_run(
            backward,
            replay,
            scale,
            cost_scale,
            (
                self.lengths, self.rows, self.x0, final_costate, target, cost_cotangent,
                final_state, cost, initial_gradient, None if tape is None else tape.memory,
            ),
            gradients,
        )  # fmt: skip
        return value, Gradient(self.x0 if initial_gradient is None else initial_gradient, gradients)

    def _core_run(
        self,
        backward: bool,
        replay: bool,
        scale: float,
        cost_scale: float,
        tensors: Sequence[Tensor | None],
        gradients: Sequence[Tensor],
    ) -> float:
        try:
            return self.sweeper._core.run(
                self.sweeper._single,
                self.steps,
                self.t0,
                self.batch,
                self.weight_rows,
                backward,
                replay,
                scale,
                cost_scale,
                self.threads,
                [0 if tensor is None else tensor.data_ptr() for tensor in tensors],
                [w.data_ptr() for w in self.weights],
                [g.data_ptr() for g in gradients],
            )
        except ValueError as error:
            raise ProblemError(str(error)) from None
