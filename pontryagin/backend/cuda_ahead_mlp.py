"""Multilayer perceptrons swept on a GPU by kernels that were compiled ahead of time: any net, its shape an argument.

The numbers are those of `CudaMLP`, whose kernels are compiled for one net and keep its weights in shared memory.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch

from pontryagin.backend.cuda_ahead_device import AheadDevice
from pontryagin.backend.cuda_launch import mlp_job
from pontryagin.backend.cuda_mlp import CudaMLP
from pontryagin.backend.cuda_mlp_blocks import MAX_STAGES, record_rows, row_width
from pontryagin.codegen.cuda_mlp import Blocks
from pontryagin.errors import BackendError
from pontryagin.mlp import ACTIVATIONS

#: As csrc/include/pontryagin/device_any_mlp.hpp: layers that an argument has room for, bytes of a shape in a block.
MOST_LAYERS, SHAPE_BYTES = 8, 432

#: Activations in the order of csrc/include/pontryagin/mlp.hpp.
NUMBERS = {name: number for number, name in enumerate(ACTIVATIONS)}

#: What kernels were compiled for: 16 samples a tile, 128 threads a block.
BLOCKS = Blocks(lanes=16, threads=128, panel=0, near_sums=False)


class AnyMlpJob(ctypes.Structure):
    """DeviceAnyMlpJob of the same header."""

    _fields_ = [
        ("sweep", mlp_job(MOST_LAYERS)),
        ("layers", ctypes.c_longlong),
        ("timed", ctypes.c_longlong),
        ("velocity_kept", ctypes.c_longlong),
        ("widths", ctypes.c_longlong * (MOST_LAYERS + 1)),
        ("activations", ctypes.c_longlong * MOST_LAYERS),
        ("biased", ctypes.c_longlong * MOST_LAYERS),
    ]


class AheadMLP(CudaMLP):
    """The counterpart of `CudaMLP` where NVRTC is missing.

    Raises BackendError where there is no GPU, the package was built without kernels, or the net has too many layers or
    units for them.
    """

    def blocks(self, batch: int) -> Blocks:
        """The only cut that there is, whatever the batch."""
        if self.mlp.layers > MOST_LAYERS:
            raise BackendError(f"kernels compiled ahead of time take nets of up to {MOST_LAYERS} layers")
        if self._shared(BLOCKS) > self._on.shared_limit:
            raise BackendError(
                f"a sweep of this net needs more than the {self._on.shared_limit} bytes of shared memory that a block "
                'has on this device; take backend="torch"'
            )
        return BLOCKS

    def _opened(self, device: torch.device) -> Any:
        return AheadDevice(device, "mlp")

    @property
    def _most_layers(self) -> int:
        return MOST_LAYERS

    def _argument(self, job: ctypes.Structure) -> ctypes.Structure:
        whole = AnyMlpJob(
            sweep=job,
            layers=self.mlp.layers,
            timed=self.mlp.time,
            velocity_kept=self._kind["velocity_kept"],
        )
        whole.widths[: len(self.mlp.widths)] = self.mlp.widths
        for layer, (activation, biased) in enumerate(zip(self.mlp.activations, self.mlp.bias, strict=True)):
            whole.activations[layer] = NUMBERS[activation]
            whole.biased[layer] = biased
        return whole

    def _kernel(self, blocks: Blocks) -> Any:
        on: Any = self._on  # takes names, not texts
        return on.kernel(f"pontryagin_mlp_{'float' if self._kind['single'] else 'double'}")

    def _shared(self, blocks: Blocks) -> int:
        size = 4 if self._kind["single"] else 8
        numbers = (MAX_STAGES + 2) * MAX_STAGES + 1 + blocks.lanes * 8 // size
        rows = 3 * self.mlp.dim + 2 + self.tableau.stages * self.mlp.dim
        rows += record_rows(self.mlp, self._kind["velocity_kept"])
        return SHAPE_BYTES + (numbers + rows * row_width(blocks.lanes)) * size
