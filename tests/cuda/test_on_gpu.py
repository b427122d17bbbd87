"""Kernels on a GPU against float64 on the CPU: the gallery, sizes around a block, memory full of NaN, streams.

Not a line of this has run where there is no GPU.
"""

from __future__ import annotations

import pytest
import torch
from cuda_golden import KERNELS
from sweep_cases import EVERYTHING, SMALL, gallery_problem, random_arguments, uneven_grid

from pontryagin import sweep
from pontryagin.backend.cuda_sweep import CudaSweep
from pontryagin.backend.native import NativeSweep
from pontryagin.backend.select import make_backend
from pontryagin.problem import Problem
from pontryagin.sweep import Arguments, SweepResult
from pontryagin.time_grid import TimeGrid

pytestmark = pytest.mark.gpu

GALLERY = ("cartpole_kelly", "quadrotor_tracking", "orbit_raising", "pendulum_swing_up_T3", "moon_lander", "cstr_kirk")
SIZES = (1, 31, 64, 65, 1000)


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch):
    """What a sweep allocates holds NaN until it is written to."""
    empty = CudaSweep._empty
    monkeypatch.setattr(CudaSweep, "_empty", lambda self, *shape: empty(self, *shape).fill_(torch.nan))


def there(arguments: Arguments) -> Arguments:
    return Arguments(**{name: None if x is None else x.cuda() for name, x in vars(arguments).items()})


def on_gpu(problem: Problem, grid: TimeGrid, kind: str, dtype: torch.dtype = torch.float64) -> CudaSweep:
    found = make_backend(problem, grid, control_kind=kind, backend="cuda", device="cuda", dtype=dtype)  # type: ignore
    assert isinstance(found, CudaSweep)
    return found


def assert_close(found: SweepResult, expected: SweepResult, tolerance: float) -> None:
    for name in sorted(EVERYTHING):
        one, other = getattr(found, name).double().cpu(), getattr(expected, name).double()
        scale = 1.0 + float(other.abs().max()) if other.numel() else 1.0
        torch.testing.assert_close(
            one, other, rtol=tolerance, atol=tolerance * scale, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("kind", ["constant", "linear"])
@pytest.mark.parametrize("name", [*SMALL, *(name for name in KERNELS if name not in SMALL), *GALLERY])
def test_gpu_gives_what_the_cpu_gives(name, kind):
    problem = SMALL[name]() if name in SMALL else KERNELS[name][0]() if name in KERNELS else gallery_problem(name)
    grid = uneven_grid(9)
    reference = make_backend(problem, grid, control_kind=kind, backend="interpreter")
    for shared in (False, True):
        asked = random_arguments(problem, grid, kind, 70, shared=shared, cotangents=True)
        expected = reference.evaluate(asked, EVERYTHING)
        assert_close(on_gpu(problem, grid, kind).evaluate(there(asked), EVERYTHING), expected, 1e-10)


@pytest.mark.parametrize("name", ["integrator", "pendulum", "tracking_linear"])
def test_single_precision_is_near_double_precision(name):
    problem, grid = SMALL[name](), uneven_grid(9)
    asked = random_arguments(problem, grid, "linear", 70, cotangents=True)
    expected = make_backend(problem, grid, control_kind="linear", backend="interpreter").evaluate(asked, EVERYTHING)
    assert_close(on_gpu(problem, grid, "linear", torch.float32).evaluate(there(asked), EVERYTHING), expected, 1e-4)


@pytest.mark.parametrize("batch", SIZES)
def test_problem_has_the_same_bits_in_batches_of_every_size(batch):
    problem, grid = SMALL["pendulum"](), uneven_grid(9)
    backend = on_gpu(problem, grid, "linear")
    whole = there(random_arguments(problem, grid, "linear", max(SIZES), cotangents=True))
    expected = backend.evaluate(whole, EVERYTHING)
    part = Arguments(**{name: None if x is None else x[:batch] for name, x in vars(whole).items()})
    found = backend.evaluate(part, EVERYTHING)
    for name in EVERYTHING:
        assert torch.equal(getattr(found, name), getattr(expected, name)[:batch]), name


@pytest.mark.parametrize("count", SIZES)
def test_hamiltonian_at_points_is_that_of_the_cpu(count):
    problem, grid = SMALL["pendulum"](), uneven_grid(9)
    sizes = (problem.state_dim, problem.state_dim, problem.control_dim, problem.parameter_dim)
    given = [torch.rand(count).double(), *(torch.randn(count, size).double() for size in sizes)]
    expected = make_backend(problem, grid, control_kind="linear", backend="interpreter").hamiltonian(*given, None)
    found = on_gpu(problem, grid, "linear").hamiltonian(*(x.cuda() for x in given), None)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-13, atol=1e-13)


def test_segments_change_no_bit():
    problem, grid = SMALL["pendulum"](), uneven_grid(200)
    backend = on_gpu(problem, grid, "linear")
    asked = there(random_arguments(problem, grid, "linear", 100, cotangents=True))
    wanted = EVERYTHING - {"state"}
    expected = backend.evaluate(asked, wanted)
    backend._on.room = 40 * 100 * 2 * 8
    found = backend.evaluate(asked, wanted)
    for name in wanted:
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


def test_sweep_waits_for_what_its_stream_has_before_it():
    """Arguments are made on a stream of their own, late, and the sweep on it sees them."""
    problem, grid = SMALL["pendulum"](), uneven_grid(50)
    backend = on_gpu(problem, grid, "linear")
    asked = there(random_arguments(problem, grid, "linear", 1000))
    expected = backend.evaluate(asked, EVERYTHING)
    late = Arguments(**{name: None if x is None else torch.full_like(x, torch.nan) for name, x in vars(asked).items()})
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        for name, x in vars(asked).items():
            if x is not None:
                getattr(late, name).copy_(x)
        found = backend.evaluate(late, EVERYTHING)
    stream.synchronize()
    for name in EVERYTHING:
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


def test_derivative_in_a_shared_control_has_the_same_bits_every_time():
    problem, grid = SMALL["pendulum"](), uneven_grid(9)
    backend = on_gpu(problem, grid, "linear")
    asked = there(random_arguments(problem, grid, "linear", 5000, shared=True))
    first, *others = [backend.evaluate(asked, {"control_derivative"}).control_derivative for _ in range(5)]
    assert all(torch.equal(first, other) for other in others)


def test_bits_are_those_of_the_cpu_where_formulas_are_arithmetic_alone():
    """The same templates, and multiply-adds fused in the same places on a CPU that has them."""
    problem, grid = SMALL["tracking_linear"](), uneven_grid(9)
    asked = random_arguments(problem, grid, "linear", 70)
    expected = NativeSweep(problem, grid, control_kind="linear").evaluate(asked, {"state", "costate"})
    found = on_gpu(problem, grid, "linear").evaluate(there(asked), {"state", "costate"})
    assert torch.equal(found.state.cpu(), expected.state)
    assert torch.equal(found.costate.cpu(), expected.costate)


def test_public_sweep_of_cuda_tensors_takes_kernels_and_is_differentiable():
    problem = SMALL["pendulum"]()
    u = torch.zeros(3, 11, 1, dtype=torch.float64, device="cuda", requires_grad=True)
    answer = sweep(problem, u, control="linear")
    assert answer.backend == "cuda"
    answer.objective.sum().backward()
    assert u.grad.device.type == "cuda"
    assert bool(u.grad.isfinite().all())


def test_arguments_on_the_cpu_are_sent_and_results_come_back():
    problem = SMALL["pendulum"]()
    u = torch.zeros(3, 11, 1, dtype=torch.float64)
    answer, expected = (sweep(problem, u, control="linear", backend=name) for name in ("cuda", "interpreter"))
    assert answer.objective.device.type == "cpu"
    torch.testing.assert_close(answer.objective, expected.objective, rtol=1e-12, atol=1e-12)
