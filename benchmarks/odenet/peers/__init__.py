"""The same gradient by other packages, where they are installed: a table of who they are, and contenders for a task."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterator
from importlib.util import find_spec

from benchmarks.odenet.contender import Contender
from benchmarks.odenet.task import Task

#: The package, the file here, and its function of a task.
PEERS = {
    "eager": ("torch", "torch", "eager"),
    "compile": ("torch", "torch", "compiled_loss"),
    "compile step": ("torch", "torch", "compiled_step"),
    "jax": ("jax", "jax", "scanned"),
    "diffrax": ("diffrax", "diffrax", "constant_steps"),
    "torchdiffeq": ("torchdiffeq", "torchdiffeq", "three_eighths"),
}


def peers(problem: Task, note: Callable[[str], None], only: Collection[str] = tuple(PEERS)) -> Iterator[Contender]:
    """Contenders of the peers named; `note` is told which package is missing."""
    for name in only:
        package, module, maker = PEERS[name]
        if find_spec(package) is None:
            note(f"{name}: {package} is not installed")
            continue
        yield getattr(importlib.import_module(f"benchmarks.odenet.peers.{module}"), maker)(problem)
