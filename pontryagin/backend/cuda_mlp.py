"""Multilayer perceptrons swept by a kernel on a GPU: a tile of the batch a block of threads, one launch a sweep.

The counterpart of `FusedMLP` (fused_mlp.py) for tensors on a GPU. Nothing waits for the device here, and nothing is
copied from it. Sums over the batch are made block by block, and the blocks are added up by torch: on one device they
have the same bits every time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from pontryagin.backend.cuda_driver import CudaDevice
from pontryagin.backend.cuda_launch import TableauData, mlp_job, segment_for
from pontryagin.backend.cuda_mlp_blocks import MAX_STAGES, block_bytes, blocks_for, record_rows, row_width
from pontryagin.backend.fused_mlp import Gradient, Rollout, Tape
from pontryagin.backend.mlp_arguments import MLPArguments
from pontryagin.codegen.cuda_mlp import Blocks, cuda_mlp_text
from pontryagin.errors import BackendError, ProblemError
from pontryagin.mlp import MLP
from pontryagin.tableau import Tableau


class Device(Protocol):
    """Where kernels run: a GPU, or what stands for one in tests."""

    memory: torch.device
    room: int  # bytes that the tape of a sweep may fill

    @property
    def processors(self) -> int: ...

    @property
    def shared_limit(self) -> int: ...

    def kernel(self, key: str, write: Callable[[], str]) -> Any: ...

    def resident(self, kernel: Any, threads: int, shared: int) -> int: ...

    def launch_blocks(
        self, kernel: Any, blocks: int, threads: int, shared: int, argument: ctypes.Structure
    ) -> None: ...


class CudaMLP:
    """Sweeps of one net by one tableau on one GPU, with running cost q/2 |x|^2 + r/2 |f|^2.

    Raises BackendError where there is no GPU, no NVRTC, or a layer does not fit into shared memory.
    """

    def __init__(
        self,
        mlp: MLP,
        tableau: Tableau,
        dtype: torch.dtype,
        *,
        state_cost: float = 0.0,
        velocity_cost: float = 0.0,
        device: torch.device,
        on: Device | None = None,
    ) -> None:
        if dtype not in (torch.float32, torch.float64):
            raise ProblemError(f"fused sweeps know float32 and float64, not {dtype}")
        if tableau.stages > MAX_STAGES:
            raise BackendError(f"{tableau.name} has {tableau.stages} stages; kernels know up to {MAX_STAGES}")
        self.mlp, self.tableau, self.dtype = mlp, tableau, dtype
        self._state_cost, self._velocity_cost = state_cost, velocity_cost
        self._on = on or self._opened(device)
        self._tableau = TableauData.of(tableau)
        self._kind = {"single": dtype == torch.float32, "velocity_kept": velocity_cost != 0.0}
        self._resident: dict[Blocks, int] = {}
        self._grids: Any = WeakTensorKeyDictionary()
        self.blocks(1)

    def keeps(self, batch: int, steps: int, rows: int) -> bool:
        """Whether the way forward is kept for the way back: where a tape of the whole batch has room, unmeasured."""
        blocks = self.blocks(max(batch, 1))
        return self._tape_bytes(blocks, -(-batch // blocks.lanes), steps) <= self._on.room

    def rollout(
        self,
        weights: Sequence[Tensor],
        rows: Tensor,
        t0: float,
        lengths: Tensor,
        x0: Tensor,
        *,
        keep: bool = False,
        threads: int = 1,
    ) -> Rollout:
        """x(t1) (B, D) and the running cost (B,) from x0 (B, D), over steps of `lengths` (N,) from t0."""
        given = self._arguments(weights, rows, t0, lengths, x0)
        final_state = self._empty(given.batch, self.mlp.dim)
        cost = self._empty(given.batch) if self._has_cost else None
        tape = None
        if keep:
            blocks = self.blocks(max(given.batch, 1))
            record = self._record(blocks)
            tape = Tape(self._empty(-(-given.batch // blocks.lanes), given.steps, record), [], given.batch, given.steps)
        self._run(given, kept=tape, final_state=final_state, cost=cost)
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
        threads: int = 1,
    ) -> Gradient:
        """Derivatives of p1 . x(t1) + cost_cotangent . cost, p1 (B, D); along the tape of that rollout, if given."""
        given = self._arguments(weights, rows, t0, lengths, x0)
        if tape is not None and (tape.batch, tape.steps) != (given.batch, given.steps):
            kept = f"{tape.batch} samples and {tape.steps} steps"
            raise ProblemError(f"the tape is of {kept}, the sweep of {given.batch} and {given.steps}")
        per_sample, scale = (
            (cost_cotangent, 0.0) if isinstance(cost_cotangent, Tensor) else (None, cost_cotangent or 0.0)
        )
        return self._back(
            given,
            scales={"cost_scale": scale},
            kept=tape,
            final_costate=given.tensor(p1, (given.batch, self.mlp.dim), "p1"),
            cost_cotangent=None if per_sample is None else given.tensor(per_sample, (given.batch,), "cost cotangent"),
        )

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
        threads: int = 1,
    ) -> tuple[Tensor, Tensor, Gradient]:
        """J = scale sum |x(t1) - target|^2 + cost_scale sum cost, x(t1), and the derivatives of J, in one pass.

        J () is float64, on the device.
        """
        given = self._arguments(weights, rows, t0, lengths, x0)
        final_state = self._empty(given.batch, self.mlp.dim)
        value = torch.zeros(max(1, self._grid(given)), dtype=torch.float64, device=self._on.memory)
        gradient = self._back(
            given,
            scales={"scale": scale, "cost_scale": cost_scale},
            target=given.tensor(target, (given.batch, self.mlp.dim), "target"),
            final_state=final_state,
            value=value,
        )
        return value.sum(), final_state, gradient

    def blocks(self, batch: int) -> Blocks:
        """How the batch is cut."""
        on = self._on
        return blocks_for(self.mlp, self.tableau.stages, batch, on.processors, on.shared_limit, **self._kind)

    def text(self, blocks: Blocks) -> str:
        """The CUDA text of the kernel."""
        return cuda_mlp_text(self.mlp, blocks, **self._kind)

    # ---- what is otherwise where kernels were compiled ahead of time (cuda_ahead_mlp.py) ----

    def _opened(self, device: torch.device) -> Any:
        return CudaDevice(device)

    @property
    def _most_layers(self) -> int:
        """Layers that the argument of the kernel has room for."""
        return self.mlp.layers

    def _argument(self, job: ctypes.Structure) -> ctypes.Structure:
        return job

    def _kernel(self, blocks: Blocks) -> Any:
        key = f"cuda perceptron {self.mlp} {blocks} {self._kind}"
        return self._on.kernel(key, lambda: self.text(blocks))

    def _shared(self, blocks: Blocks) -> int:
        return block_bytes(self.mlp, blocks, self.tableau.stages, **self._kind)

    @property
    def _has_cost(self) -> bool:
        return self._state_cost != 0.0 or self._velocity_cost != 0.0

    def _arguments(
        self, weights: Sequence[Tensor], rows: Tensor, t0: float, lengths: Tensor, x0: Tensor
    ) -> MLPArguments:
        return MLPArguments(self.mlp, self.tableau.stages, self.dtype, self._on.memory, weights, rows, t0, lengths, x0)

    def _back(
        self, given: MLPArguments, scales: dict[str, float], kept: Tape | None = None, **arrays: Tensor | None
    ) -> Gradient:
        """Runs both ways; sums of all blocks become derivatives in the weights, parameter by parameter."""
        size = given.weight_rows * self.mlp.parameter_count
        sums = torch.zeros(max(1, self._grid(given)), size, dtype=self.dtype, device=self._on.memory)
        initial = self._empty(given.batch, self.mlp.dim)
        self._run(given, scales, backward=True, kept=kept, initial_gradient=initial, sums=sums, **arrays)
        total = sums[0] if len(sums) == 1 else sums.sum(0)
        parts = torch.split(total, [w.numel() for w in given.weights])
        return Gradient(initial, [part.view_as(w) for part, w in zip(parts, given.weights, strict=True)])

    def _run(
        self,
        given: MLPArguments,
        scales: dict[str, float] | None = None,
        *,
        backward: bool = False,
        kept: Tape | None = None,
        **arrays: Tensor | None,
    ) -> None:
        if given.batch == 0:
            return
        blocks, grid = self.blocks(given.batch), self._grid(given)
        arrays |= self._on_device(given) | {"initial_state": given.x0}
        segment = given.steps
        if kept is not None:
            arrays["tape"] = kept.memory
        elif backward:
            segment, tape = self._tape(blocks, grid, given.steps)
            arrays |= tape
        job = mlp_job(self._most_layers)(
            batch=given.batch,
            steps=given.steps,
            segment=segment,
            weight_rows=given.weight_rows,
            backward=backward,
            kept=kept is not None,
            replay=backward and kept is not None,
            state_cost=self._state_cost,
            velocity_cost=self._velocity_cost,
            tableau=self._tableau,
            **(scales or {}),
            **{name: array.data_ptr() for name, array in arrays.items() if array is not None},
        )
        remaining = iter(given.weights)
        for layer, biased in enumerate(self.mlp.bias):
            job.weights[layer] = next(remaining).data_ptr()
            job.bias[layer] = next(remaining).data_ptr() if biased else None
        self._on.launch_blocks(self._kernel(blocks), grid, blocks.threads, self._shared(blocks), self._argument(job))

    def _grid(self, given: MLPArguments) -> int:
        """Blocks: a tile each, but no more than run at a time, or than there is room for the sums of."""
        if given.batch == 0:
            return 0
        blocks = self.blocks(given.batch)
        if blocks not in self._resident:
            self._resident[blocks] = self._on.resident(self._kernel(blocks), blocks.threads, self._shared(blocks))
        sums = given.weight_rows * self.mlp.parameter_count * self.dtype.itemsize
        return max(1, min(-(-given.batch // blocks.lanes), self._resident[blocks], self._on.room // sums))

    def _tape(self, blocks: Blocks, grid: int, steps: int) -> tuple[int, dict[str, Tensor | None]]:
        """Steps of a segment, room for their records, and for the state at the start of each segment."""
        segment = segment_for(steps, self._tape_bytes(blocks, grid, 1), self._on.room)
        arrays: dict[str, Tensor | None] = {"tape": self._empty(grid, segment, self._record(blocks))}
        if segment < steps:
            arrays["starts"] = self._empty(grid, -(-steps // segment), self.mlp.dim * row_width(blocks.lanes))
        return segment, arrays

    def _record(self, blocks: Blocks) -> int:
        """Numbers that a tile keeps of a step."""
        return self.tableau.stages * record_rows(self.mlp, self._kind["velocity_kept"]) * row_width(blocks.lanes)

    def _tape_bytes(self, blocks: Blocks, tiles: int, steps: int) -> int:
        return tiles * steps * self._record(blocks) * self.dtype.itemsize

    def _on_device(self, given: MLPArguments) -> dict[str, Tensor | None]:
        """The grid and the table of rows on the device: sent once for each table."""
        key = (given.t0, given.weight_rows)
        known = self._grids.get(given.rows)
        if known is None or known[0] != key or not torch.equal(known[1], given.lengths):
            if given.rows.numel() and not 0 <= int(given.rows.min()) <= int(given.rows.max()) < given.weight_rows:
                raise ProblemError(f"rows holds numbers beyond the {given.weight_rows} rows of weights")
            start = given.t0 + torch.cat([given.lengths.new_zeros(1), given.lengths.cumsum(0)[:-1]])
            grid = {"start": start, "length": given.lengths, "rows": given.rows}
            known = (key, given.lengths, {name: x.to(self._on.memory) for name, x in grid.items()})
            self._grids[given.rows] = known
        return dict(known[2])

    def _empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=self.dtype, device=self._on.memory)
