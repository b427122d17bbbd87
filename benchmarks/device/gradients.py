"""Objective and gradient of controlled problems, 100 RK4 steps, float32: against every way of PyTorch, JAX, diffrax."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from benchmarks import ours
from benchmarks.contender import TOLERANCE, Contender, NotMeasured
from benchmarks.device.attempts import attempt
from benchmarks.device.ceilings import Work, shares
from benchmarks.device.graphed import captured
from benchmarks.device.kernels import DEVICE, KERNEL, Kernels
from benchmarks.device.operations import Counted, Operations, Tally, of_one_step
from benchmarks.device.timing import interleaved
from benchmarks.ours import BACKEND, SWEEP
from benchmarks.peers import peers
from benchmarks.report import PER_STEP, Report
from benchmarks.workloads import CARTPOLE
from benchmarks.workloads.in_torch import autograd
from benchmarks.workloads.workload import STEPS, Answer, Batch, Namespace, Workload
from pontryagin.sweep import Arguments

TIER = "cuda"
SIZES = (1024, 65536, 2**20)
QUICK_SIZES = (1024, 65536)
GRADIENT = frozenset({"objective", "control_derivative"})
CHECKED = 32  # problems at either end

EAGER = "eager PyTorch and autograd"
GRAPH, COMPILED, BOTH = "CUDA graph of eager PyTorch", "torch.compile of one step", "CUDA graph of compiled steps"
DIFFRAX = "diffrax, constant steps of RK4"
FASTER = {1024: ">= 100", 65536: ">= 100", 2**20: ">= 40"}  # than eager PyTorch
Note = Callable[[str], None]
Maker = Callable[[Note], Iterator[Contender]]  # made when its turn has come
FASTER_THAN_BEST, FASTER_THAN_DIFFRAX, SHARE = ">= 10", ">= 20", ">= 60"


def cartpole(report: Report, quick: bool) -> None:
    for size in QUICK_SIZES if quick else SIZES:
        with attempt(report, f"cart-pole gradient, B={size}", torch.OutOfMemoryError):
            _one_size(report, CARTPOLE, size, quick)


def _one_size(report: Report, workload: Workload, size: int, quick: bool) -> None:
    batch, group = drawn(workload, size, torch.float32), f"{workload.name}, J and dJ/du, {STEPS} steps, float32"
    kernels, given = Kernels(ours.problem(workload), STEPS, batch.dtype), arguments(batch)
    error, seconds = asserted(KERNEL, _answer(kernels, given), batch), kernels.seconds(given, GRADIENT)
    report.row(KERNEL, _per_step(seconds, batch), PER_STEP, size, error, group)
    limit = SHARE if size == max(SIZES) else None
    shares(report, f"{workload.name} gradient", _work(workload, size, kernels), seconds, batch.dtype, size, limit)
    mine = ours.public(batch, TIER)
    error = asserted(SWEEP, mine.answer(), batch)
    calls = {BACKEND: lambda: kernels(given, GRADIENT), SWEEP: mine.call}
    times = interleaved(calls)
    for name in calls:
        report.row(name, _per_step(times.median(name), batch), PER_STEP, size, error, group)

    best: dict[str, float] = {}
    for name, make in _others(batch, quick):
        with attempt(report, f"{name}, {workload.name}, B={size}"):
            _beside(report, make, mine, batch, group, best)
    if EAGER in best:
        report.check(f"{workload.name}: {EAGER} over {SWEEP}", best[EAGER], FASTER[size], size)
    quickest = min((name for name in best if name in (GRAPH, COMPILED, BOTH)), key=best.__getitem__, default=None)
    if quickest:
        what = f"{workload.name}: {quickest}, the best of PyTorch, over {SWEEP}"
        report.check(what, best[quickest], FASTER_THAN_BEST, size)
    if DIFFRAX in best:
        report.check(f"{workload.name}: {DIFFRAX} over {SWEEP}", best[DIFFRAX], FASTER_THAN_DIFFRAX, size)


def _beside(report: Report, make: Maker, mine: Contender, batch: Batch, group: str, best: dict[str, float]) -> None:
    """Rows of the contenders that are made, and in `best` how many times longer than ours they take.

    A function of its own: what they hold of the device's memory is free when it returns.
    """
    for other in make(report.note):
        error = asserted(other.name, other.answer(), batch, other.scheme)
        wall = (other.name,) if other.name.startswith(("JAX", "diffrax")) else ()
        times = interleaved({other.name: other.call, SWEEP: mine.call}, 7, budget_seconds=8.0, wall=wall)
        report.row(other.name, _per_step(times.median(other.name), batch), PER_STEP, batch.size, error, group)
        best[other.name] = times.ratio(other.name, SWEEP)


def _others(batch: Batch, quick: bool) -> Iterator[tuple[str, Maker]]:
    """Names and makers: each is made when its turn has come, so that one that fails takes none along."""

    def graph_of(name: str, call: Callable[[], Answer]) -> Iterator[Contender]:
        replay, answer = captured(call)

        def filled() -> Answer:
            replay()
            return answer

        yield Contender(name, replay, filled)

    def named(peer: str, of: Batch) -> Maker:
        return lambda note: peers(of, 1, note, only=(peer,))

    def compiled_and_captured(note: Note) -> Iterator[Contender]:
        for contender in peers(batch, 1, note, only=("compile",)):
            yield contender
            yield from graph_of(BOTH, contender.answer)

    yield EAGER, named("eager", batch)
    yield GRAPH, lambda note: graph_of(GRAPH, lambda: autograd(batch))
    if quick:
        return
    yield COMPILED, compiled_and_captured
    if batch.size != SIZES[1]:
        return
    on_host = Batch(batch.workload, batch.initial_state.cpu(), batch.control.cpu())
    for peer in ("jax", "diffrax"):
        yield peer, _on_its_gpu(named(peer, on_host))
    yield "torchdiffeq", named("torchdiffeq", batch)


def _on_its_gpu(make: Maker) -> Maker:
    def made(note: Note) -> Iterator[Contender]:
        try:
            import jax
        except ImportError:
            raise NotMeasured("JAX is not installed") from None
        if jax.default_backend() != "gpu":
            raise NotMeasured("JAX is installed without CUDA")
        yield from make(note)

    return made


def drawn(workload: Workload, size: int, dtype: torch.dtype, steps: int = STEPS) -> Batch:
    """Problems drawn at random on the device, the same on every call."""
    generator = torch.Generator(DEVICE).manual_seed(0)

    def draw(middle: tuple[float, ...], spread: float, *shape: int) -> torch.Tensor:
        noise = torch.randn(*shape, len(middle), generator=generator, dtype=dtype, device=DEVICE)
        return noise.mul_(spread).add_(torch.tensor(middle, dtype=dtype, device=DEVICE))

    state = draw(workload.initial_state, workload.state_spread, size)
    return Batch(workload, state, draw(workload.control, workload.control_spread, size, steps))


def ends(size: int) -> torch.Tensor:
    """The rows that are checked: all of a small batch, the first and the last of a large one."""
    rows = torch.arange(size)
    return rows if size <= 2 * CHECKED else torch.cat([rows[:CHECKED], rows[-CHECKED:]])


def asserted(name: str, answer: Answer, batch: Batch, scheme: str = "rk4") -> float:
    """The error against float64 autograd on the CPU. Raises AssertionError where it is too large, or NaN."""
    rows = ends(batch.size)
    asked = batch.at(rows.to(batch.control.device))
    on_host = Batch(asked.workload, asked.initial_state.cpu(), asked.control.cpu())
    found = answer.at(rows.to(answer.objective.device))
    found = Answer(found.objective.cpu().double(), found.gradient.cpu().double())
    where = f"{batch.workload.name}, B={batch.size}"
    assert bool(found.objective.isfinite().all() & found.gradient.isfinite().all()), f"{name} answers NaN: {where}"
    error = found.error(autograd(on_host, scheme))
    assert error < TOLERANCE[batch.dtype], f"{name} is wrong by {error:.1e}: {where}"
    return error


def arguments(batch: Batch) -> Arguments:
    return Arguments(
        control=batch.control,
        initial_state=batch.initial_state,
        final_time=torch.full_like(batch.initial_state[:, 0], batch.workload.horizon),
        parameters=batch.initial_state.new_empty(batch.size, 0),
    )


def _answer(kernels: Kernels, given: Arguments) -> Answer:
    result = kernels.poisoned(given, GRADIENT)
    assert result.objective is not None
    assert result.control_derivative is not None
    return Answer(result.objective, result.control_derivative)


def operations(workload: Workload) -> Operations:
    """Of a step, with the running cost as one more state."""
    tally = Tally()
    function = Namespace(Counted.function, Counted.function, lambda rows, right: [])
    u = [Counted(tally) for _ in range(workload.m)]
    return of_one_step(lambda y: workload.rates(function, list(y), u), tally, workload.n + 1)


def _work(workload: Workload, size: int, kernels: Kernels) -> Work:
    """A step back makes its stages again. Controls are read on both ways, states kept on one and read on the other."""
    count = operations(workload)
    numbers = 3 * workload.m + 2 * workload.n * kernels.tape_rows(size)
    steps = size * STEPS
    return Work(steps * (2.0 * count.forward + count.reverse), steps * numbers * torch.float32.itemsize)


def _per_step(seconds: float, batch: Batch) -> float:
    return seconds / batch.size / batch.steps * 1e9
