"""Perceptrons swept by the kernel on the host, in both orders of threads, with memory full of NaN before."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from block_emulator import BlockEmulator
from torch import Tensor

from pontryagin.backend.cuda_mlp import CudaMLP
from pontryagin.backend.fused_mlp import Gradient
from pontryagin.neural import fused

sys.path.append(str(Path(__file__).parents[1] / "neural"))
from test_fused_mlp import Case, costate


def poisoned(tier: type[CudaMLP]) -> type[CudaMLP]:
    """What these kernels allocate holds NaN until it is written to."""

    def empty(self: Any, *shape: int) -> Tensor:
        return tier._empty(self, *shape).fill_(torch.nan)

    return type("Poisoned", (tier,), {"_empty": empty})


def kernels(
    case: Case, tier: type[CudaMLP] = CudaMLP, emulator: Callable[..., Any] = BlockEmulator, **device: Any
) -> CudaMLP:
    return poisoned(tier)(
        case.mlp,
        case.tableau,
        case.x0.dtype,
        state_cost=case.state_cost,
        velocity_cost=case.velocity_cost,
        device=torch.device("cpu"),
        on=emulator(**device),
    )


def omega_of(case: Case) -> Tensor:
    return torch.cos(torch.arange(len(case.x0), dtype=case.x0.dtype))


def has_cost(case: Case) -> bool:
    return case.state_cost != 0.0 or case.velocity_cost != 0.0


def target_of(case: Case) -> Tensor:
    return torch.flip(case.x0, (1,)) * 0.5


SCALES = (0.25, 0.7)


def every_sweep(case: Case, **device: Any) -> dict[str, Tensor]:
    """All outputs of all sweeps by name; the same bits in whatever order the threads of a block take turns."""
    forwards, backwards = (_every_sweep(case, kernels(case, backwards=order, **device)) for order in (False, True))
    for name, value in forwards.items():
        assert torch.equal(value, backwards[name]), f"{name} depends on which thread comes first"
    return forwards


def _every_sweep(case: Case, sweeps: CudaMLP) -> dict[str, Tensor]:
    rollout = sweeps.rollout(*case.arguments)
    omega = omega_of(case) if has_cost(case) else None
    gradient = sweeps.gradient(*case.arguments, costate(case), omega)
    value, x1, of_error = sweeps.squared_error(*case.arguments, target_of(case), SCALES[0], cost_scale=SCALES[1])
    found = {"final state": rollout.final_state, "value": value, "x1": x1}
    if rollout.cost is not None:
        found["cost"] = rollout.cost
    return found | named(gradient, "") | named(of_error, "of error: ")


def named(gradient: Gradient, prefix: str) -> dict[str, Tensor]:
    parts = {f"{prefix}parameter {i}": w for i, w in enumerate(gradient.weights)}
    return parts | {f"{prefix}initial state": gradient.initial_state}


def emulate_nets(monkeypatch: pytest.MonkeyPatch) -> dict[Any, CudaMLP]:
    """Kernels for GPUs serve the nets on the CPU from here on; answers those that are made."""
    known: dict[Any, CudaMLP] = {}

    def made(mlp: Any, tableau: Any, dtype: Any, device: Any, state: float, velocity: float) -> CudaMLP:
        key = (mlp, tableau, dtype, state, velocity)
        if key not in known:
            costs = {"state_cost": state, "velocity_cost": velocity}
            known[key] = CudaMLP(mlp, tableau, dtype, **costs, device=device, on=BlockEmulator())
        return known[key]

    monkeypatch.setattr(fused, "_kernels", made)
    return known
