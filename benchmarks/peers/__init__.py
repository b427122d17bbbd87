"""The same answers by other packages, where they are installed: a table of who they are, and contenders for a batch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from benchmarks.contender import Contender, NotMeasured
from benchmarks.workloads.workload import Batch


@dataclass(frozen=True)
class Peer:
    package: str
    module: str  # the file here
    maker: str  # its function (batch, threads) -> Contender


PEERS = {
    "eager": Peer("torch", "eager", "eager"),
    "compile": Peer("torch", "eager", "compiled"),
    "torchdiffeq": Peer("torchdiffeq", "torchdiffeq", "by_autograd"),
    "torchdiffeq adjoint": Peer("torchdiffeq", "torchdiffeq", "by_adjoint"),
    "jax": Peer("jax", "jax", "scanned"),
    "diffrax": Peer("diffrax", "diffrax", "constant_steps"),
    "casadi": Peer("casadi", "casadi", "virtual_machine"),
    "casadi looped": Peer("casadi", "casadi", "looped_c"),
    "casadi unrolled": Peer("casadi", "casadi", "unrolled_c"),
}


def peers(batch: Batch, threads: int, note: Callable[[str], None], only: Collection[str]) -> Iterator[Contender]:
    """Contenders of the peers named; `note` is told why where there is none."""
    for name in only:
        peer = PEERS[name]
        if find_spec(peer.package) is None:
            note(f"{name}: {peer.package} is not installed")
            continue
        module = importlib.import_module(f"benchmarks.peers.{peer.module}")
        try:
            yield getattr(module, peer.maker)(batch, threads)
        except NotMeasured as reason:
            note(f"{name}: {reason}")
