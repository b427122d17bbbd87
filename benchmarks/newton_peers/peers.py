"""Who else solves one problem, where it is installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec

from benchmarks.newton_peers.solver import Refused, Solver
from benchmarks.newton_peers.statement import Statement

#: Package, module here, function, arguments.
CASADI = ("casadi", "in_casadi", "shooting")
CARTPOLE_PEERS = (
    (*CASADI, ("constant", "ipopt", "line")),
    (*CASADI, ("constant", "ipopt", "zero")),
    (*CASADI, ("constant", "fatrop", "line")),
    (*CASADI, ("constant", "fatrop", "zero")),
    (*CASADI, ("linear", "ipopt", "line")),
    (*CASADI, ("linear", "ipopt", "zero")),
    ("crocoddyl", "in_crocoddyl", "box_fddp", ()),
    ("acados_template", "in_acados", "sqp", ()),
)
VAN_DER_POL_PEERS = (
    (*CASADI, ("constant", "ipopt", "zero")),
    (*CASADI, ("constant", "fatrop", "zero")),
    (*CASADI, ("linear", "ipopt", "zero")),
)
Entry = tuple[str, str, str, tuple[str, ...]]


def peers(statement: Statement, entries: tuple[Entry, ...], note: Callable[[str], None]) -> Iterator[Solver]:
    """The solvers that there are; `note` is told why where there is none."""
    for package, module, function, arguments in entries:
        made = maker(package, module, function, note)
        if made is None:
            continue
        try:
            yield made(statement, *arguments)
        except Refused as reason:
            note(str(reason))


def maker(package: str, module: str, function: str, note: Callable[[str], None]) -> Callable[..., Solver] | None:
    """The function of a module here, None where its package is not installed."""
    if find_spec(package) is None:
        note(f"{package} is not installed")
        return None
    return getattr(importlib.import_module(f"benchmarks.newton_peers.{module}"), function)  # type: ignore[no-any-return]
