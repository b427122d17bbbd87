"""Which backend sweeps a problem: the choice, and the sentence that says why."""

from __future__ import annotations

from typing import Any

import torch

from pontryagin.backend.compiled import CompiledSweep
from pontryagin.backend.cuda_interpreter import InterpretedCudaSweep
from pontryagin.backend.cuda_sweep import CudaSweep
from pontryagin.backend.native import AutoSweep, NativeSweep
from pontryagin.backend.torch_sweep import TorchSweep
from pontryagin.errors import BackendError, CaptureError, ProblemError, unknown_name
from pontryagin.hamiltonian import kept
from pontryagin.problem import Problem
from pontryagin.sweep import ControlKind
from pontryagin.tableau import Tableau, tableau_named
from pontryagin.time_grid import CONTROL_KINDS, TimeGrid

BACKENDS = ("auto", "torch", "interpreter", "native", "cuda")


def make_backend(
    problem: Problem,
    grid: TimeGrid,
    *,
    control_kind: ControlKind,
    scheme: str | Tableau = "rk4",
    backend: str = "auto",
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    threads: int | None = None,
) -> TorchSweep | CompiledSweep:
    """A sweep backend for the problem on this grid; its `reason` is a sentence that says why it was chosen.

    "auto" is a compiled tier when the functions can be captured as formulas: for tensors on the CPU the interpreter at
    once, generated C++ where it is in the cache or pays; for CUDA tensors kernels, where they can be compiled. It is
    torch otherwise. `threads` is None for torch's own number. The same request returns the same object.

    Raises ProblemError for an unknown name or type, CaptureError when a compiled tier was asked for and the functions
    cannot be captured, BackendError when the backend cannot run here.
    """
    if not isinstance(backend, str) or backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    if not isinstance(control_kind, str) or control_kind not in CONTROL_KINDS:
        raise unknown_name("control kind", control_kind, CONTROL_KINDS)
    if dtype not in (torch.float64, torch.float32):
        raise ProblemError(f"a sweep in {dtype} does not exist; use torch.float64 or torch.float32")
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise ProblemError(f"threads is {threads!r}; give a whole number from 1, or None for torch's own number")
    tableau, device = tableau_named(scheme), torch.device(device)
    threads = threads or torch.get_num_threads()

    key = (backend, grid.key, control_kind, tableau, dtype, device, threads)
    return kept(
        problem, "backends", key, lambda: _make(problem, grid, control_kind, tableau, backend, dtype, device, threads)
    )


def _make(
    problem: Problem,
    grid: TimeGrid,
    control_kind: ControlKind,
    tableau: Tableau,
    backend: str,
    dtype: torch.dtype,
    device: torch.device,
    threads: int,
) -> TorchSweep | CompiledSweep:
    def on_torch(reason: str) -> TorchSweep:
        return TorchSweep(
            problem, grid, control_kind=control_kind, scheme=tableau, dtype=dtype, device=device, reason=reason
        )

    def on_cpu(tier: type[CompiledSweep], reason: str) -> CompiledSweep:
        scheme: Any = tableau
        sweep = tier(problem, grid, control_kind=control_kind, scheme=scheme, dtype=dtype, threads=threads)
        sweep.reason = reason
        return sweep

    def on_gpu(reason: str) -> CudaSweep:
        def made(tier: type[CudaSweep]) -> CudaSweep:
            scheme: Any = tableau
            return tier(problem, grid, control_kind=control_kind, scheme=scheme, dtype=dtype, device=device)

        try:
            sweep = made(CudaSweep)
        except BackendError as refusal:
            try:
                sweep = made(InterpretedCudaSweep)
            except BackendError:
                raise refusal from None
            reason = f"{reason} Kernels compiled ahead of time interpret them, because {refusal}"
        sweep.reason = reason
        return sweep

    match backend:
        case "cuda":
            return on_gpu("Kernels on a GPU were asked for.")
        case "torch":
            return on_torch("torch was asked for.")
        case "interpreter" | "native":
            if device.type != "cpu":
                raise BackendError(
                    f'backend "{backend}" runs on the CPU and the tensors are on {device}; move them, or use "torch"'
                )
            if backend == "native":
                return on_cpu(NativeSweep, "Compiled C++ was asked for.")
            return on_cpu(CompiledSweep, "The interpreter was asked for.")
    if device.type == "cuda":
        try:
            return on_gpu("The functions are captured as formulas and the tensors are on a GPU.")
        except CaptureError as refusal:
            return on_torch(f"The functions cannot be captured as formulas: {refusal}")
        except BackendError as refusal:
            return on_torch(f"Kernels cannot be made for {device}: {refusal}")
    if device.type != "cpu":
        return on_torch(f"The tensors are on {device}, where only torch runs.")
    try:
        return on_cpu(AutoSweep, "The functions are captured as formulas and the tensors are on the CPU.")
    except CaptureError as refusal:
        return on_torch(f"The functions cannot be captured as formulas: {refusal}")
