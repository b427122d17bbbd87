"""Newton's method against other solvers: cart-pole swing-up and Van der Pol once, and a batch of cart-poles.

100 steps of the fourth-order Runge-Kutta method, one thread. Each control is integrated again by numpy and its
objective and end are asserted before anything is timed. The cart-pole has several minima; the tables say who found
which.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np

from benchmarks import machine
from benchmarks.newton_peers import ours
from benchmarks.newton_peers.peers import CARTPOLE_PEERS, CASADI, VAN_DER_POL_PEERS, Entry, maker, peers
from benchmarks.newton_peers.solver import Solver, answer, asserted
from benchmarks.newton_peers.statement import CARTPOLE, VAN_DER_POL, Array, Statement
from benchmarks.report import Report
from benchmarks.starts import disturbed
from benchmarks.timing import Times, interleaved

KINDS = ("constant", "linear")

#: How many times faster ours has to be.
IPOPT, FDDP, LOOP, ILQR = ">= 10", ">= 30", ">= 100", ">= 100"
MILLISECONDS = "<= 0.4"  # Van der Pol

#: Of the problems of a batch has to reach the end.
SHARE = 0.99

#: Problems of the batch; of the loop of CasADi and of iLQR so many are timed, and the time is scaled.
BATCH, LOOPED, MAPPED = 1000, 20, 250
QUICK = {"batch": 50, "looped": 3, "mapped": 20, "rounds": 1}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", default="native", help="of ours (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="few rounds and a small batch")


def run(given: argparse.Namespace) -> Report:
    machine.use_cores(1)
    report, quick = Report("newton_peers"), QUICK if given.quick else {}
    rounds = quick.get("rounds", 15)
    single = _single(report, CARTPOLE, CARTPOLE_PEERS, given.backend, rounds)
    mine = _named(single, ours.NAME, "constant")
    for peer, limit in (("CasADi, IPOPT from a line, constant", IPOPT), ("crocoddyl", FDDP)):
        for name in [name for name in single.seconds if name.startswith(peer)]:
            report.check(f"{CARTPOLE.name}: {name} over ours", single.ratio(name, mine), limit)
    single = _single(report, VAN_DER_POL, VAN_DER_POL_PEERS, given.backend, rounds)
    for kind in KINDS:
        spent = single.median(_named(single, ours.NAME, kind)) * 1e3
        report.check(f"{VAN_DER_POL.name}, {kind} control, milliseconds", spent, MILLISECONDS)
    _batch(report, given.backend, quick.get("batch", BATCH), quick.get("looped", LOOPED), quick.get("mapped", MAPPED))
    return report


def _named(times: Times, name: str, kind: str) -> str:
    return next(found for found in times.seconds if found.startswith(name) and kind in found)


def _single(report: Report, statement: Statement, others: Sequence[Entry], backend: str, rounds: int) -> Times:
    """One solve by everybody, seconds by name."""
    solvers = [ours.newton(statement, kind, backend, 1) for kind in KINDS]
    solvers += peers(statement, tuple(others), report.note)
    minima = {kind: _minima(statement, solvers, kind) for kind in KINDS}
    lines = {}
    for solver in solvers:
        kind = next(kind for kind in KINDS if f"{kind} control" in solver.name)
        found, error = asserted(solver, statement, minima[kind])
        words = f"{found.iterations} iterations, J = {found.objective[0]:.7g}, end to {found.miss:.0e}"
        lines[solver.name] = (f"{solver.name} ({solver.tolerance}): {words}", error)
    times = interleaved({solver.name: solver.solve for solver in solvers}, rounds=rounds, budget_seconds=20)
    for name, (line, error) in lines.items():
        report.row(line, times.median(name) * 1e3, "ms", error=error, group=f"{statement.name}, one solve")
    return times


def _minima(statement: Statement, solvers: Sequence[Solver], kind: str) -> set[float]:
    """What IPOPT finds, or ours where it is not installed: local minima of the problem on these steps."""
    known = [solver for solver in solvers if f"{kind} control" in solver.name]
    judges = [solver for solver in known if "IPOPT" in solver.name] or known[:1]
    start = statement.initial_state[None]
    return {float(answer(solver, statement, start).objective[0]) for solver in judges}


def _batch(report: Report, backend: str, size: int, looped: int, mapped: int) -> None:
    """Cart-poles from disturbed initial states; seconds for the whole batch."""
    group = f"{CARTPOLE.name}, {size} initial states, one thread"
    starts = np.concatenate((CARTPOLE.initial_state[None], disturbed(CARTPOLE.problem, size - 1, seed=0).numpy()))
    mine = ours.newton(CARTPOLE, "constant", backend, 1, starts)
    mine.solve()
    spent, found = _timed(report, mine, starts, size, group)
    for what, limit, package, module, function, arguments, count in (
        ("the loop of CasADi", LOOP, *CASADI, ("constant", "ipopt", "line"), looped),
        ("iLQR", ILQR, "jax", "in_jax", "ilqr", (), mapped),
    ):
        made = maker(package, module, function, report.note)
        if made is not None:
            solver = made(CARTPOLE, *arguments, initial_state=starts[:count])
            other, _ = _timed(report, solver, starts[:count], size, group, found[:count])
            report.check(f"{CARTPOLE.name}: {what} over ours", other / spent, limit, size)


def _timed(
    report: Report, solver: Solver, starts: Array, size: int, group: str, ours_there: Array | None = None
) -> tuple[float, Array]:
    """Seconds for `size` problems, from one call of as many as there are starts, and J. The ends are asserted.

    Objectives are shown beside ours from the same starts: with several minima nobody's need to be the same.
    """
    began = time.perf_counter()
    solved = solver.solve()
    spent = (time.perf_counter() - began) * size / len(starts)
    objective, end = CARTPOLE.led_to(solved.control, starts)
    share = float((CARTPOLE.missed(end) <= solver.end).mean())
    assert share >= SHARE, f"{solver.name} reaches the end in {share:.0%} of {len(starts)} problems"
    words = f"end to {solver.end:.0e} in {share:.1%}, mean J = {objective.mean():.5g}"
    if ours_there is not None:
        words += f" (ours {ours_there.mean():.5g})"
        if len(starts) < size:
            words += f", {len(starts)} timed and scaled"
    report.row(f"{solver.name} ({solver.tolerance}): {words}", spent, "s", size, group=group)
    return spent, objective
