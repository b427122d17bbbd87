"""Kernels of perceptrons on a GPU against float64 on the CPU: shapes, sizes around a tile, memory full of NaN, streams.

Not a line of this has run where there is no GPU.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mlp_on_host import SCALES, named, omega_of, target_of
from test_fused_mlp import SHAPES, Case, costate, difference, make_case
from test_mlp_on_host import DEEP, expected
from torch import Tensor, nn

import pontryagin as pmp
from pontryagin.backend.cuda_mlp import CudaMLP
from pontryagin.tableau import TABLEAUS

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch):
    """What a sweep allocates holds NaN until it is written to."""
    empty = CudaMLP._empty
    monkeypatch.setattr(CudaMLP, "_empty", lambda self, *shape: empty(self, *shape).fill_(torch.nan))


def there(case: Case) -> Case:
    moved = {"weights": [w.cuda() for w in case.weights], "x0": case.x0.cuda()}
    return Case(**{**case.__dict__, **moved})


def sweeps_of(case: Case) -> CudaMLP:
    costs = {"state_cost": case.state_cost, "velocity_cost": case.velocity_cost}
    return CudaMLP(case.mlp, case.tableau, case.x0.dtype, **costs, device=torch.device("cuda", 0))


def every_sweep(case: Case) -> dict[str, Tensor]:
    sweeps, has_cost = sweeps_of(case), case.state_cost != 0.0 or case.velocity_cost != 0.0
    rollout = sweeps.rollout(*case.arguments)
    gradient = sweeps.gradient(*case.arguments, costate(case).cuda(), omega_of(case).cuda() if has_cost else None)
    value, x1, of_error = sweeps.squared_error(*case.arguments, target_of(case), SCALES[0], cost_scale=SCALES[1])
    found = {"final state": rollout.final_state, "value": value, "x1": x1}
    if rollout.cost is not None:
        found["cost"] = rollout.cost
    found |= named(gradient, "") | named(of_error, "of error: ")
    return {name: part.cpu() for name, part in found.items()}


def assert_as_on_the_cpu(case: Case, tolerance: float = 1e-11) -> None:
    found, wanted = every_sweep(there(case)), expected(case)
    assert found.keys() == wanted.keys()
    for name, part in found.items():
        assert difference(part, wanted[name]) <= tolerance, name


@pytest.mark.parametrize("kind", ["constant", "per step", "per stage"])
@pytest.mark.parametrize("scheme", TABLEAUS)
@pytest.mark.parametrize("name", DEEP)
def test_every_activation_and_tableau(name: str, scheme: str, kind: str) -> None:
    assert_as_on_the_cpu(make_case((3, 7, 5, 3), **DEEP[name], tableau=TABLEAUS[scheme], kind=kind, batch=70))


SOME = ["a matrix without bias", "one unit", "five components", "slope at the end", "wide", "wide at the end"]


@pytest.mark.parametrize("batch", [1, 7, 9, 5003])
@pytest.mark.parametrize("name", SOME)
def test_every_shape_and_batch(name: str, batch: int) -> None:
    assert_as_on_the_cpu(make_case(**SHAPES[name], batch=batch, kind="per step", steps=2))


@pytest.mark.parametrize("name", ["one unit", "wide", "wide at the end"])
def test_running_costs_and_float32(name: str) -> None:
    costs: dict[str, Any] = {"state_cost": 0.5, "velocity_cost": 0.25}
    assert_as_on_the_cpu(make_case(**SHAPES[name], batch=100, **costs))
    assert_as_on_the_cpu(make_case(**SHAPES[name], batch=100, dtype=torch.float32, **costs), 3e-5)


@pytest.mark.parametrize("widths", [(32, 128, 32), (64, 256, 64), (200, 200)], ids=str)
def test_nets_that_fill_shared_memory_and_more(widths: tuple[int, ...]) -> None:
    activations = ("tanh", "identity")[-len(widths) + 1 :]
    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 1e-4)):
        assert_as_on_the_cpu(make_case(widths, activations, batch=300, dtype=dtype), tolerance)


def test_sums_have_the_same_bits_every_time_and_segments_change_little() -> None:
    case = there(make_case((2, 64, 2), batch=20_000, steps=50, dtype=torch.float32))
    sweeps, p1 = sweeps_of(case), costate(case)
    first, *others = [sweeps.gradient(*case.arguments, p1) for _ in range(5)]
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(first.weights, other.weights, strict=True))
    sweeps._on.room = 1 << 20
    short = sweeps.gradient(*case.arguments, p1)
    assert torch.equal(first.initial_state, short.initial_state)
    for one, other in zip(short.weights, first.weights, strict=True):
        assert difference(one, other) <= 1e-5


def test_sweep_waits_for_what_its_stream_has_before_it() -> None:
    case = there(make_case((2, 64, 2), batch=1000))
    sweeps, p1 = sweeps_of(case), costate(case)
    wanted = sweeps.gradient(*case.arguments, p1)
    late = torch.full_like(case.x0, torch.nan)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        late.copy_(case.x0)
        found = sweeps.gradient(*case.arguments[:4], late, p1)
    stream.synchronize()
    assert torch.equal(found.initial_state, wanted.initial_state)
    assert all(torch.equal(a, b) for a, b in zip(found.weights, wanted.weights, strict=True))


def net_of(width: int) -> pmp.ODENet:
    torch.manual_seed(0)
    return pmp.ODENet(nn.Sequential(nn.Linear(3, width), nn.GELU(), nn.Linear(width, 2)), weights="per_step")


def test_public_net_on_a_gpu_takes_kernels() -> None:
    net, other = net_of(16), net_of(16).cuda()
    x, y = torch.randn(300, 2), torch.randn(300, 2)
    assert other._fuses(x.cuda())
    for one, device in ((net, "cpu"), (other, "cuda")):
        one.objective(x.to(device), y.to(device)).backward()
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        assert difference(two.grad.cpu(), one.grad) <= 1e-5
    net.zero_grad(), other.zero_grad()
    for one, device in ((net, "cpu"), (other, "cuda")):
        (one(x.to(device)) - y.to(device)).square().sum().backward()
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        assert difference(two.grad.cpu(), one.grad) <= 1e-5


def test_step_of_a_net_is_captured_in_a_cuda_graph() -> None:
    net = net_of(16).cuda()
    x, y = torch.randn(300, 2, device="cuda"), torch.randn(300, 2, device="cuda")

    def step() -> tuple[Tensor, ...]:
        return torch.autograd.grad(net.objective(x, y), list(net.parameters()))

    wanted = step()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step()
    graph.replay()
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)
