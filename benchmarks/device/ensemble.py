"""An ensemble of Lorenz systems, 1000 RK4 steps to time 1, each with its own x0 and rho: the final state, and more.

J = |x(1)|^2 / 2,    x1' = 10 (x2 - x1),   x2' = x1 (rho - x3) - x2,   x3' = x1 x2 - 8/3 x3

Forward: x(1) and no path. Gradient: x(1), dJ/dx0 and dJ/drho, the states kept, or in segments where they are too many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

import pontryagin as pmp
from benchmarks.device.attempts import attempt
from benchmarks.device.ceilings import Work, shares
from benchmarks.device.gradients import BOTH, COMPILED, EAGER, GRAPH, ends
from benchmarks.device.graphed import captured
from benchmarks.device.kernels import DEVICE, KERNEL, Kernels
from benchmarks.device.operations import Counted, Tally, of_one_step
from benchmarks.device.timing import interleaved
from benchmarks.ours import BACKEND
from benchmarks.report import Report
from benchmarks.timing import Call
from benchmarks.workloads.lorenz import BETA, SIGMA
from benchmarks.workloads.workload import rk4
from pontryagin.sweep import Arguments

STEPS, HORIZON = 1000, 1.0
SIZES, QUICK_SIZES = (8, 1024, 32768, 131072, 2**20, 2**23), (8, 131072)
MAIN = 131072  # the size of the limits
COMPARED, QUICK_COMPARED = (MAIN,), (1024,)
TOLERANCE = {torch.float64: 1e-9, torch.float32: 5e-3}  # relative, in the largest norm of a problem's numbers
MS = "ms a call"

FORWARD = frozenset({"terminal"})
GRADIENT = frozenset({"terminal", "initial_state_derivative", "parameter_derivative"})
Made = tuple[Call, Callable[[], list[Tensor]]]  # what is timed, and what it answers
WAYS = {"final state": FORWARD, "gradient": GRADIENT}
FORWARD_LIMIT, GRADIENT_LIMIT, SHARE = "<= 0.5", "<= 6", ">= 60"  # milliseconds; times forward; percent


@dataclass(frozen=True)
class Systems:
    initial_state: Tensor  # (B, 3)
    rho: Tensor  # (B, 1)

    def at(self, rows: Tensor) -> Systems:
        """In float64 on the CPU."""
        rows = rows.to(self.rho.device)
        return Systems(self.initial_state[rows].cpu().double(), self.rho[rows].cpu().double())


def rates(x: Sequence[Any], rho: Any) -> list[Any]:
    return [SIGMA * (x[1] - x[0]), x[0] * (rho - x[2]) - x[1], x[0] * x[1] - BETA * x[2]]


def problem() -> pmp.Problem:
    """The final state is read off a terminal constraint, which has no multiplier. The control is of no effect."""
    return pmp.Problem(
        name="Lorenz ensemble",
        dynamics=lambda t, x, u, theta: torch.stack(rates(x.unbind(), theta[0])),
        terminal_cost=lambda t, x: 0.5 * (x * x).sum(),
        terminal_constraint=lambda t, x: x,
        initial_state=[1.0, 0.0, 0.0],
        parameters={"rho": 28.0},
        horizon=(0.0, HORIZON),
        control_dim=1,
    )


def drawn(size: int, dtype: torch.dtype) -> Systems:
    generator = torch.Generator(DEVICE).manual_seed(0)
    x = torch.randn(size, 3, generator=generator, dtype=dtype, device=DEVICE)
    rho = torch.rand(size, 1, generator=generator, dtype=dtype, device=DEVICE)
    return Systems(x + torch.tensor([1.0, 0.0, 0.0], dtype=dtype, device=DEVICE), 21.0 + 7.0 * rho)


def arguments(systems: Systems) -> Arguments:
    x, rho = systems.initial_state, systems.rho
    return Arguments(
        control=x.new_zeros(STEPS, 1),
        initial_state=x,
        final_time=torch.full_like(rho[:, 0], HORIZON),
        parameters=rho,
    )


# ---- the same in plain PyTorch --------------------------------------------------------------------------------------


def one_step(x: Tensor, rho: Tensor) -> Tensor:
    """x (3, B), rho (B,)."""
    result: Tensor = rk4(lambda z: torch.stack(rates(z.unbind(), rho)), x, HORIZON / STEPS)
    return result


def in_torch(systems: Systems, outputs: frozenset[str], step: Callable[..., Tensor] = one_step) -> list[Tensor]:
    """x(1) (B, 3), and where they are asked for dJ/dx0 (B, 3) and dJ/drho (B, 1)."""
    backward = outputs == GRADIENT
    start = systems.initial_state.T.contiguous().requires_grad_(backward)
    rho = systems.rho[:, 0].clone().requires_grad_(backward)
    with torch.set_grad_enabled(backward):
        x = start
        for _ in range(STEPS):
            x = step(x, rho)
    if not backward:
        return [x.T]
    by_state, by_rho = torch.autograd.grad(0.5 * x.square().sum(), (start, rho))
    return [x.detach().T, by_state.T, by_rho[:, None]]


def error(found: Sequence[Tensor], systems: Systems, outputs: frozenset[str]) -> float:
    """The largest relative difference to float64 on the CPU; an answer with NaN is infinitely wrong."""
    rows = ends(len(systems.rho))
    largest = 0.0
    for one, other in zip(found, in_torch(systems.at(rows), outputs), strict=True):
        mine = one[rows.to(one.device)].cpu().double()
        if not bool(mine.isfinite().all()):
            return float("inf")
        largest = max(largest, float(((mine - other).abs().amax(1) / other.abs().amax(1)).max()))
    return largest


def asserted(name: str, found: Sequence[Tensor], systems: Systems, outputs: frozenset[str]) -> float:
    wrong = error(found, systems, outputs)
    dtype = systems.rho.dtype
    assert wrong < TOLERANCE[dtype], f"{name} is wrong by {wrong:.1e}: Lorenz ensemble, {dtype}, B={len(systems.rho)}"
    return wrong


# ---- sections -------------------------------------------------------------------------------------------------------


def ours(report: Report, quick: bool) -> None:
    """Kernels for all sizes and both types, until memory ends."""
    for dtype in (torch.float32, torch.float64):
        kernels = Kernels(problem(), STEPS, dtype)
        for size in QUICK_SIZES if quick else SIZES:
            with attempt(report, f"Lorenz ensemble, {dtype}, B={size}", torch.OutOfMemoryError):
                _one_size(report, kernels, drawn(size, dtype))


def _one_size(report: Report, kernels: Kernels, systems: Systems) -> None:
    size, dtype, given = len(systems.rho), systems.rho.dtype, arguments(systems)
    limited = size == MAIN and dtype == torch.float32
    seconds = {}
    for way, outputs in WAYS.items():
        group = f"Lorenz ensemble, {way}, {STEPS} steps, {str(dtype).removeprefix('torch.')}"
        result = kernels.poisoned(given, outputs)
        found = [result.terminal, result.initial_state_derivative, result.parameter_derivative]
        wrong = asserted(KERNEL, [x for x in found if x is not None], systems, outputs)
        seconds[way] = kernels.seconds(given, outputs)
        report.row(KERNEL, seconds[way] * 1e3, MS, size, wrong, group)
        whole = interleaved({BACKEND: partial(kernels, given, outputs)}, budget_seconds=4.0)
        report.row(BACKEND, whole.median(BACKEND) * 1e3, MS, size, wrong, group)
        work = work_of(size, outputs, dtype, kernels.tape_rows(size))
        shares(report, group, work, seconds[way], dtype, size, SHARE if limited else None)
    if limited:
        report.check("Lorenz ensemble, final state: kernel, ms", seconds["final state"] * 1e3, FORWARD_LIMIT, size)
        ratio = seconds["gradient"] / seconds["final state"]
        report.check("Lorenz ensemble: gradient over final state", ratio, GRADIENT_LIMIT, size)


def work_of(size: int, outputs: frozenset[str], dtype: torch.dtype, tape_rows: float) -> Work:
    """Forward, the arrays of problems alone are moved. On the way back stages are made again from the states kept."""
    tally = Tally()
    rho = Counted(tally)
    count = of_one_step(lambda x: rates(list(x), rho), tally, 3)
    ends_of_problem = size * (3 + 1 + 1 + 3)  # x0, rho, final time; x(1)
    if outputs == FORWARD:
        return Work(float(size * STEPS * count.forward), float(ends_of_problem * dtype.itemsize))
    numbers = size * STEPS * 2 * 3 * tape_rows + ends_of_problem + size * 4
    return Work(size * STEPS * (2.0 * count.forward + count.reverse), numbers * dtype.itemsize)


def others(report: Report, quick: bool) -> None:
    """Every way of PyTorch beside ours."""
    for size in QUICK_COMPARED if quick else COMPARED:
        systems = drawn(size, torch.float32)
        kernels, given = Kernels(problem(), STEPS, torch.float32), arguments(systems)
        for way, outputs in WAYS.items():
            mine = partial(kernels, given, outputs)
            for name, make in _makers(systems, outputs, quick).items():
                with attempt(report, f"{name}, Lorenz ensemble, {way}, B={size}"):
                    _beside(report, name, make, mine, systems, way)


def _beside(report: Report, name: str, make: Callable[[], Made], mine: Call, systems: Systems, way: str) -> None:
    """A function of its own: what the other holds of the device's memory is free when it returns."""
    call, answer = make()
    size, group = len(systems.rho), f"Lorenz ensemble, {way}, {STEPS} steps, float32: PyTorch"
    wrong = asserted(name, answer(), systems, WAYS[way])
    times = interleaved({name: call, BACKEND: mine}, 5, budget_seconds=6.0)
    report.row(name, times.median(name) * 1e3, MS, size, wrong, group)
    report.row(f"{name} over {BACKEND}", times.ratio(name, BACKEND), "times", size, group=group)


def _makers(systems: Systems, outputs: frozenset[str], quick: bool) -> dict[str, Callable[[], Made]]:
    def plain(step: Callable[..., Tensor]) -> Made:
        call = partial(in_torch, systems, outputs, step)
        return call, call

    def graphed(step: Callable[..., Tensor]) -> Made:
        replay, result = captured(partial(in_torch, systems, outputs, step), warm=1)

        def answer() -> list[Tensor]:
            replay()
            return result

        return replay, answer

    found: dict[str, Callable[[], Made]] = {
        EAGER: lambda: plain(one_step),
        GRAPH: lambda: graphed(one_step),
    }
    if not quick:
        step = torch.compile(one_step, dynamic=False)
        found |= {COMPILED: lambda: plain(step), BOTH: lambda: graphed(step)}
    return found
