"""Fused sweeps of multilayer perceptrons against autograd through the same steps, written out in torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from pontryagin.backend.fused_mlp import FusedMLP, Gradient
from pontryagin.errors import ProblemError
from pontryagin.mlp import ACTIVATIONS, MLP
from pontryagin.tableau import RK4, TABLEAUS, Tableau

#: Beside float64 autograd only the order of sums differs.
ROUNDING = 1e-12


@dataclass
class Case:
    mlp: MLP
    tableau: Tableau
    weights: list[Tensor]
    rows: Tensor
    lengths: Tensor
    x0: Tensor
    t0: float = 0.3
    state_cost: float = 0.0
    velocity_cost: float = 0.0

    def fused(self) -> FusedMLP:
        return FusedMLP(
            self.mlp,
            self.tableau,
            self.x0.dtype,
            state_cost=self.state_cost,
            velocity_cost=self.velocity_cost,
        )

    @property
    def arguments(self) -> tuple[Any, ...]:
        return self.weights, self.rows, self.t0, self.lengths, self.x0


def rows_of(kind: str, steps: int, stages: int) -> Tensor:
    if kind == "constant":
        return torch.zeros(steps, stages, dtype=torch.int64)
    if kind == "per step":
        return torch.arange(steps)[:, None].expand(steps, stages)
    return torch.arange(steps * stages).reshape(steps, stages)  # per stage


def make_case(
    widths: Sequence[int] = (2, 7, 2),
    activations: Sequence[str] = ("tanh", "identity"),
    bias: Sequence[bool] | None = None,
    time: bool = True,
    tableau: Tableau = RK4,
    kind: str = "constant",
    batch: int = 5,
    steps: int = 3,
    dtype: torch.dtype = torch.float64,
    state_cost: float = 0.0,
    velocity_cost: float = 0.0,
) -> Case:
    generator = torch.Generator().manual_seed(1)
    mlp = MLP(tuple(widths), tuple(activations), tuple(bias or [True] * len(activations)), time)
    rows = rows_of(kind, steps, tableau.stages)
    count = int(rows.max()) + 1

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    weights = [random(count, *shape) * (shape[-1] ** -0.5 if len(shape) == 2 else 0.3) for shape in mlp.shapes]
    lengths = torch.linspace(0.8, 1.2, steps, dtype=torch.float64) / max(steps, 3)
    return Case(
        mlp,
        tableau,
        weights,
        rows,
        lengths,
        random(batch, mlp.dim),
        state_cost=state_cost,
        velocity_cost=velocity_cost,
    )


def unrolled(case: Case) -> tuple[Tensor, Tensor]:
    """x(t1) (B, D) and the running cost (B,), for autograd."""
    x, t = case.x0, case.t0
    cost = torch.zeros_like(x[:, 0])
    for n, h in enumerate(case.lengths.tolist()):
        velocities: list[Tensor] = []
        for i, (c, a) in enumerate(zip(case.tableau.c, case.tableau.a, strict=True)):
            stage = x
            for a_ij, f in zip(a, velocities, strict=True):
                stage = stage + h * a_ij * f
            weights = [w[case.rows[n, i]] for w in case.weights]
            f = case.mlp.apply(t + c * h, stage, weights)
            velocities.append(f)
            running = case.state_cost / 2 * (stage**2).sum(1) + case.velocity_cost / 2 * (f**2).sum(1)
            cost = cost + h * case.tableau.b[i] * running
        for b, f in zip(case.tableau.b, velocities, strict=True):
            x = x + h * b * f
        t += h
    return x, cost


def autograd(case: Case, p1: Tensor, cost_cotangent: Tensor | float) -> tuple[Tensor, Tensor, Gradient]:
    leaves = [case.x0.detach().requires_grad_(), *(w.detach().requires_grad_() for w in case.weights)]
    x0, *weights = leaves
    watched = Case(**{**case.__dict__, "x0": x0, "weights": weights})
    final, cost = unrolled(watched)
    loss = (p1 * final).sum() + (cost_cotangent * cost).sum()
    g, *gw = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    return final.detach(), cost.detach(), Gradient(g, gw)


def costate(case: Case) -> Tensor:
    return torch.sin(torch.arange(case.x0.numel(), dtype=case.x0.dtype)).reshape(case.x0.shape)


def difference(a: Tensor, b: Tensor) -> float:
    """The largest, beside the size of b."""
    if a.numel() == 0:
        return 0.0
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-3))


def assert_same(ours: Gradient, theirs: Gradient, tolerance: float) -> None:
    assert difference(ours.initial_state, theirs.initial_state) <= tolerance
    for i, (a, b) in enumerate(zip(ours.weights, theirs.weights, strict=True)):
        assert a.shape == b.shape
        assert difference(a, b) <= tolerance, f"parameter {i}"


def assert_all_ways_agree(case: Case, tolerance: float = ROUNDING) -> None:
    fused, p1 = case.fused(), costate(case)
    running = case.state_cost != 0.0 or case.velocity_cost != 0.0
    omega = torch.cos(torch.arange(case.x0.shape[0], dtype=case.x0.dtype))
    final, cost, expected = autograd(case, p1, omega)
    rollout = fused.rollout(*case.arguments, keep=True, threads=1)
    assert difference(rollout.final_state, final) <= tolerance
    assert (rollout.cost is not None) == running
    if rollout.cost is not None:
        assert difference(rollout.cost, cost) <= tolerance
    cotangent = omega if running else None
    assert_same(fused.gradient(*case.arguments, p1, cotangent, rollout.tape, threads=1), expected, tolerance)
    assert_same(fused.gradient(*case.arguments, p1, cotangent, threads=1), expected, tolerance)
    # J = scale |x1 - y|^2 + cost_scale cost
    target = torch.flip(case.x0, (1,)) * 0.5
    value, x1, gradient = fused.squared_error(*case.arguments, target, 0.25, cost_scale=0.7, threads=1)
    assert difference(x1, final) <= tolerance
    expected_value = 0.25 * ((final - target).double() ** 2).sum() + 0.7 * cost.double().sum()
    assert abs(value - float(expected_value)) <= tolerance * max(1.0, abs(value)) * 10
    assert_same(gradient, autograd(case, 0.5 * (final - target), 0.7)[2], tolerance)


@pytest.mark.parametrize("kind", ["constant", "per step", "per stage"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("tableau", TABLEAUS.values(), ids=TABLEAUS)
def test_sweeps_are_those_of_autograd(tableau: Tableau, activation: str, kind: str) -> None:
    # Both kernels: one hidden layer between few components, and layers of any kind.
    assert_all_ways_agree(make_case((2, 5, 2), (activation, "identity"), tableau=tableau, kind=kind))
    assert_all_ways_agree(make_case((3, 9, 3), (activation, activation), tableau=tableau, kind=kind))


SHAPES: dict[str, dict[str, Any]] = {
    "a matrix": {"widths": (3, 3), "activations": ("identity",)},
    "a matrix without bias": {"widths": (3, 3), "activations": ("identity",), "bias": (False,), "time": False},
    "one unit": {"widths": (1, 1, 1), "activations": ("tanh", "identity")},
    "one component": {"widths": (1, 13, 1), "activations": ("silu", "identity"), "bias": (False, True)},
    "three components": {"widths": (3, 8, 3), "activations": ("sin", "identity"), "bias": (True, False)},
    "four components": {"widths": (4, 33, 4), "activations": ("relu", "identity"), "time": False},
    "five components": {"widths": (5, 33, 5), "activations": ("tanh", "identity")},
    "activation at the end": {"widths": (4, 6, 4), "activations": ("tanh", "tanh")},
    "slope at the end": {"widths": (9, 6, 9), "activations": ("tanh", "gelu"), "bias": (False, False)},
    "three layers": {"widths": (2, 11, 17, 2), "activations": ("tanh", "softplus", "identity")},
    "wide": {"widths": (17, 41, 17), "activations": ("gelu_tanh", "identity")},
    "wide without bias": {"widths": (16, 40, 16), "activations": ("tanh", "identity"), "bias": (False, False)},
    "wide and narrow": {
        "widths": (20, 3, 21, 7, 20),
        "activations": ("tanh", "identity", "relu", "sin"),
        "time": False,
    },
    "wide at the end": {"widths": (33, 33), "activations": ("tanh",)},
}


@pytest.mark.parametrize("batch", [1, 3, 16, 37, 75])
@pytest.mark.parametrize("name", SHAPES)
def test_any_shape_and_batch(name: str, batch: int) -> None:
    assert_all_ways_agree(make_case(**SHAPES[name], kind="per step", batch=batch, steps=2))


@pytest.mark.parametrize("kind", ["constant", "per step"])
@pytest.mark.parametrize("name", SHAPES)
def test_running_costs_of_state_and_velocity(name: str, kind: str) -> None:
    for state_cost, velocity_cost in [(0.8, 0.0), (0.0, 0.3), (0.8, 0.3)]:
        assert_all_ways_agree(
            make_case(**SHAPES[name], kind=kind, batch=21, state_cost=state_cost, velocity_cost=velocity_cost)
        )


@pytest.mark.parametrize("name", SHAPES)
def test_float32_within_its_rounding(name: str) -> None:
    # Some fifty roundings of 6e-8 in a row; hardly any add up to more than these together.
    case = make_case(**SHAPES[name], batch=37, dtype=torch.float32, state_cost=0.5, velocity_cost=0.25)
    assert_all_ways_agree(case, 3e-5)


def test_long_horizons_are_made_again_in_segments() -> None:
    # 64 lanes of 200 units and four stages: segments of ten steps
    assert_all_ways_agree(make_case((2, 200, 2), steps=37, batch=70, kind="per step"), 1e-11)
    assert_all_ways_agree(make_case((9, 400, 9), ("silu", "identity"), steps=41, batch=40, velocity_cost=0.1), 1e-11)


def test_empty_batches_have_zero_gradients() -> None:
    case = make_case(batch=0, state_cost=1.0)
    rollout = case.fused().rollout(*case.arguments, threads=2)
    assert rollout.final_state.shape == (0, 2) and rollout.cost is not None and rollout.cost.shape == (0,)
    value, _, gradient = case.fused().squared_error(*case.arguments, case.x0, 1.0, threads=2)
    assert value == 0.0
    for w, g in zip(case.weights, gradient.weights, strict=True):
        assert g.shape == w.shape and not g.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", ["constant", "per step"])
@pytest.mark.parametrize("widths", [(2, 64, 2), (8, 40, 8)], ids=str)
def test_threads_change_nothing(widths: tuple[int, ...], kind: str, dtype: torch.dtype) -> None:
    case = make_case(widths, kind=kind, batch=1000, steps=5, dtype=dtype)
    fused = case.fused()
    one, two = (fused.squared_error(*case.arguments, case.x0, 1.0, threads=threads) for threads in (1, 3))
    assert one[0] == two[0]
    assert torch.equal(one[1], two[1]) and torch.equal(one[2].initial_state, two[2].initial_state)
    assert all(torch.equal(a, b) for a, b in zip(one[2].weights, two[2].weights, strict=True))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("widths", [(2, 5, 2), (9, 8, 9)], ids=str)
def test_not_a_number_stays_in_its_sample(widths: tuple[int, ...], activation: str) -> None:
    for dtype in (torch.float32, torch.float64):
        case = make_case(widths, (activation, "identity"), batch=37, dtype=dtype)
        clean = case.fused().rollout(*case.arguments, threads=1).final_state
        case.x0[11, 1] = float("nan")
        _, final, gradient = case.fused().squared_error(*case.arguments, torch.zeros_like(case.x0), 1.0, threads=1)
        others = torch.arange(37) != 11
        assert final[11].isnan().all() and torch.equal(final[others], clean[others])
        assert gradient.initial_state[11].isnan().all() and gradient.initial_state[others].isfinite().all()
        assert all(g.isnan().any() for g in gradient.weights)


def test_a_sample_does_not_depend_on_its_neighbours() -> None:
    case = make_case((2, 9, 2), batch=75, dtype=torch.float32)
    fused = case.fused()
    all_of_them = fused.rollout(*case.arguments, threads=1).final_state
    for i in (0, 63, 64, 74):
        alone = fused.rollout(*case.arguments[:4], case.x0[i : i + 1], threads=1).final_state
        assert torch.equal(alone[0], all_of_them[i])


def test_tapes_serve_twice_and_their_memory_serves_again() -> None:
    case = make_case((8, 16, 8), batch=40)
    fused, p1 = case.fused(), costate(case)
    rollout = fused.rollout(*case.arguments, keep=True, threads=1)
    tape = rollout.tape
    assert tape is not None
    first, second = (fused.gradient(*case.arguments, p1, tape=tape, threads=1) for _ in range(2))
    assert torch.equal(first.initial_state, second.initial_state)
    address = tape.memory.data_ptr()
    other = fused.rollout(*case.arguments, keep=True, threads=1).tape
    assert other is not None and other.memory.data_ptr() != address
    del rollout, tape
    again = fused.rollout(*case.arguments, keep=True, threads=1).tape
    assert again is not None and again.memory.data_ptr() == address


def test_only_small_batches_are_worth_keeping() -> None:
    fused = make_case((32, 128, 32)).fused()
    assert fused.keeps(16, 20, 1) and not fused.keeps(4096, 20, 1)


WRONG: dict[str, dict[str, Any]] = {
    "state": {"x0": torch.zeros(4, 3, dtype=torch.float64)},
    "state without a batch": {"x0": torch.zeros(2, dtype=torch.float64)},
    "dtype": {"x0": torch.zeros(4, 2)},
    "rows of another grid": {"rows": torch.zeros(2, 4, dtype=torch.int64)},
    "rows that are no integers": {"rows": torch.zeros(3, 4)},
    "rows beyond the weights": {"rows": torch.full((3, 4), 1)},
    "negative rows": {"rows": torch.full((3, 4), -1)},
    "no steps": {"lengths": torch.zeros(0)},
    "too few parameters": {"weights": [torch.zeros(1, 7, 3, dtype=torch.float64)]},
    "parameters without rows": {"weights": [torch.zeros(())] * 4},
    "parameters of another shape": {"weights": [torch.zeros(1, 7, 2, dtype=torch.float64)] * 4},
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_refused(name: str) -> None:
    case = Case(**{**make_case().__dict__, **WRONG[name]})
    fused = make_case().fused()
    with pytest.raises(ProblemError):
        fused.rollout(*case.arguments, threads=1)
    with pytest.raises(ProblemError):
        fused.squared_error(*case.arguments, case.x0, 1.0, threads=1)


def test_wrong_ends_are_refused() -> None:
    case = make_case()
    fused = case.fused()
    with pytest.raises(ProblemError, match="p1"):
        fused.gradient(*case.arguments, torch.zeros(5, 3, dtype=torch.float64), threads=1)
    with pytest.raises(ProblemError, match="target"):
        fused.squared_error(*case.arguments, torch.zeros(4, 2, dtype=torch.float64), 1.0, threads=1)
    with pytest.raises(ProblemError, match="cost cotangent"):
        fused.gradient(*case.arguments, case.x0, torch.zeros(4, dtype=torch.float64), threads=1)
    tape = fused.rollout(*make_case(batch=4).arguments, keep=True, threads=1).tape
    with pytest.raises(ProblemError, match="tape"):
        fused.gradient(*case.arguments, case.x0, tape=tape, threads=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((2, 2), ("tanh", "tanh"), (True, True), False), "one width more"),
        (((2, 0, 2), ("tanh", "tanh"), (True, True), False), "positive"),
        (((2, 3), ("tanh",), (True,), False), "as wide as the state"),
        (((2, 2), ("tanhh",), (True,), False), "did you mean tanh"),
    ],
)
def test_wrong_nets_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        MLP(*arguments)
