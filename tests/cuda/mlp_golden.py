"""The texts in csrc/tests/golden/cuda_mlp: `python tests/cuda/mlp_golden.py` writes them anew.

Nets of benchmarks, a deep one with slopes that are kept, and two that do not fit into shared memory as a whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from block_emulator import BlockEmulator

from pontryagin.backend.cuda_mlp import CudaMLP
from pontryagin.mlp import MLP
from pontryagin.tableau import RK4

FOLDER = Path(__file__).resolve().parents[2] / "csrc" / "tests" / "golden" / "cuda_mlp"
COMMAND = "python tests/cuda/mlp_golden.py"

#: Multiprocessors, and bytes of shared memory that a block may have, of the device that texts are for (sm_80: 163 KiB).
PROCESSORS, SHARED = 108, 163 << 10


class Golden(NamedTuple):
    mlp: MLP
    dtype: torch.dtype = torch.float32
    batch: int = 4096
    velocity_cost: float = 0.0


def perceptron(*widths: int, activations: tuple[str, ...] = ("tanh", "identity"), time: bool = True) -> MLP:
    return MLP(widths, activations, (True,) * len(activations), time)


KERNELS = {
    "narrow": Golden(perceptron(2, 64, 2)),
    "middle": Golden(perceptron(32, 128, 32)),
    "few_samples": Golden(perceptron(32, 128, 32), batch=256),
    "deep_double": Golden(
        MLP((3, 9, 5, 3), ("gelu", "silu", "tanh"), (True, True, False), True), torch.float64, 4096, 1.0
    ),
    "sums_in_memory": Golden(perceptron(64, 192, 64, activations=("softplus", "identity"), time=False)),
    "panels": Golden(perceptron(200, 200, activations=("sin",), time=False)),
}


def sweeper(name: str) -> CudaMLP:
    golden = KERNELS[name]
    on = BlockEmulator(PROCESSORS, SHARED)
    return CudaMLP(golden.mlp, RK4, golden.dtype, velocity_cost=golden.velocity_cost, device=torch.device("cpu"), on=on)


def text_named(name: str) -> str:
    found = sweeper(name)
    return found.text(found.blocks(KERNELS[name].batch))


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in KERNELS:
        path = FOLDER / f"{name}.cu"
        path.write_text(text_named(name), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
