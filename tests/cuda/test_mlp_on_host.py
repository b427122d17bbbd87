"""The kernel of perceptrons on the host gives what autograd and the kernels of the CPU give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mlp_on_host import SCALES, every_sweep, has_cost, kernels, named, omega_of, target_of
from test_fused_mlp import SHAPES, Case, autograd, costate, difference, make_case

from pontryagin.backend.cuda_mlp_blocks import block_bytes
from pontryagin.codegen.cuda_mlp import Blocks
from pontryagin.errors import BackendError, ProblemError
from pontryagin.tableau import TABLEAUS

#: Beside float64 autograd only the order of sums differs.
ROUNDING = 1e-12


def expected(case: Case) -> dict[str, torch.Tensor]:
    """By autograd, through the same steps written out."""
    omega = omega_of(case) if has_cost(case) else torch.zeros_like(case.x0[:, 0])
    final, cost, gradient = autograd(case, costate(case), omega)
    error = final - target_of(case)
    value = SCALES[0] * (error.double() ** 2).sum() + SCALES[1] * cost.double().sum()
    found = {"final state": final, "x1": final, "value": value}
    if has_cost(case):
        found["cost"] = cost
    found |= named(gradient, "")
    return found | named(autograd(case, 2 * SCALES[0] * error, SCALES[1])[2], "of error: ")


def assert_as_expected(case: Case, tolerance: float = ROUNDING, **device: Any) -> None:
    found, wanted = every_sweep(case, **device), expected(case)
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        assert value.shape == wanted[name].shape, name
        assert difference(value, wanted[name]) <= tolerance, name


DEEP: dict[str, dict[str, Any]] = {
    "tanh, relu, gelu": {"activations": ("tanh", "relu", "gelu")},
    "gelu_tanh, silu, softplus": {"activations": ("gelu_tanh", "silu", "softplus"), "bias": (True, False, True)},
    "sin, identity, tanh": {"activations": ("sin", "identity", "tanh"), "time": False},
}


@pytest.mark.parametrize("kind", ["constant", "per step", "per stage"])
@pytest.mark.parametrize("scheme", ["euler", "midpoint", "rk4", "dormand_prince"])
@pytest.mark.parametrize("name", DEEP)
def test_every_activation_and_tableau(name: str, scheme: str, kind: str) -> None:
    case = make_case((3, 7, 5, 3), **DEEP[name], tableau=TABLEAUS[scheme], kind=kind, batch=11)
    assert_as_expected(case)


@pytest.mark.parametrize("batch", [1, 37, 150, 300])
def test_every_size_of_batch_and_tile(batch: int) -> None:
    """Tiles of 8, 16 and 32 samples, full and not; blocks with several tiles."""
    assert_as_expected(make_case((3, 7, 5, 3), **DEEP["tanh, relu, gelu"], batch=batch, kind="per step"))


WIDTHS = ["a matrix without bias", "one unit", "five components", "slope at the end", "wide", "wide at the end"]


@pytest.mark.parametrize("name", WIDTHS)
def test_every_width(name: str) -> None:
    assert_as_expected(make_case(**SHAPES[name], kind="per step", batch=19))


def test_running_costs_of_state_and_velocity() -> None:
    for state_cost, velocity_cost in [(0.8, 0.0), (0.0, 0.3), (0.8, 0.3)]:
        case = make_case(**SHAPES["wide at the end"], batch=19, state_cost=state_cost, velocity_cost=velocity_cost)
        assert_as_expected(case)


@pytest.mark.parametrize("widths", [(2, 64, 2), (17, 41, 17)], ids=str)
def test_float32_within_its_rounding(widths: tuple[int, ...]) -> None:
    """As for the kernels of the CPU: some fifty roundings of 6e-8 in a row."""
    case = make_case(widths, batch=70, dtype=torch.float32, state_cost=0.5, velocity_cost=0.25)
    assert_as_expected(case, 3e-5)


def test_kernels_of_the_cpu_give_the_same() -> None:
    case = make_case((2, 5, 2), batch=11, state_cost=0.5)
    value, x1, gradient = case.fused().squared_error(
        *case.arguments, target_of(case), SCALES[0], cost_scale=SCALES[1], threads=1
    )
    found = every_sweep(case)
    assert difference(found["x1"], x1) <= ROUNDING
    assert abs(float(found["value"]) - value) <= ROUNDING * abs(value)
    for name, part in named(gradient, "of error: ").items():
        assert difference(found[name], part) <= ROUNDING, name


@pytest.mark.parametrize("kind", ["constant", "per step"])
@pytest.mark.parametrize("left_out", ["sums", "sums and weights"])
def test_what_does_not_fit_into_shared_memory_changes_no_bit(left_out: str, kind: str) -> None:
    case = make_case((20, 24, 20), batch=19, kind=kind)
    whole, cut = Blocks(8, 64, 0, True), Blocks(8, 64, 0 if left_out == "sums" else 120, False)
    assert kernels(case).blocks(19) == whole
    limit = block_bytes(case.mlp, cut, 4, single=False, velocity_kept=False)
    assert kernels(case, shared_limit=limit).blocks(19) == cut  # panels of five rows, and of four columns
    wanted, found = every_sweep(case), every_sweep(case, shared_limit=limit)
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name
    assert_as_expected(case, shared_limit=limit)


def test_layer_that_fits_nowhere_is_a_sentence() -> None:
    with pytest.raises(BackendError, match=r"layer of 24 units needs more than the 9000 bytes"):
        kernels(make_case((20, 24, 20)), shared_limit=9000)


@pytest.mark.parametrize("batch", [5, 300])
def test_tape_of_the_way_forward_gives_the_bits_that_a_new_one_gives(batch: int) -> None:
    case = make_case((3, 7, 5, 3), **DEEP["tanh, relu, gelu"], batch=batch, kind="per step", state_cost=0.3)
    for backwards in (False, True):
        sweeps = kernels(case, backwards=backwards)
        rollout = sweeps.rollout(*case.arguments, keep=True)
        wanted = sweeps.rollout(*case.arguments)
        assert torch.equal(rollout.final_state, wanted.final_state)
        anew = sweeps.gradient(*case.arguments, costate(case), omega_of(case))
        for _ in range(2):
            along = sweeps.gradient(*case.arguments, costate(case), omega_of(case), rollout.tape)
            assert torch.equal(along.initial_state, anew.initial_state)
            assert all(torch.equal(a, b) for a, b in zip(along.weights, anew.weights, strict=True))
    with pytest.raises(ProblemError, match="the tape is of"):
        sweeps.gradient(*case.arguments[:4], case.x0[1:], costate(case)[1:], tape=rollout.tape)


def test_way_forward_is_kept_where_there_is_room_for_all_of_it() -> None:
    case = make_case((2, 16, 2), batch=200)
    tiles, steps, stages, rows, width = 13, 3, 4, 18, 20
    size = tiles * steps * stages * rows * width * 8
    assert kernels(case, room=size).keeps(200, 3, 1)
    assert not kernels(case, room=size - 1).keeps(200, 3, 1)


@pytest.mark.parametrize("room", [0, 15_000])
def test_segments_change_no_bit(room: int) -> None:
    case = make_case((3, 7, 5, 3), **DEEP["tanh, relu, gelu"], batch=40, steps=23, kind="per step", state_cost=0.3)
    short = kernels(case, room=room)
    # the same blocks: with little room there would be fewer of them
    whole = kernels(case, processors=1)
    arguments = (*case.arguments, costate(case), omega_of(case))
    found, wanted = short.gradient(*arguments), whole.gradient(*arguments)
    job = short._on.launches[-1][3]
    assert job.segment < 23 and job.starts
    assert whole._on.launches[-1][3].segment == 23
    assert torch.equal(found.initial_state, wanted.initial_state)
    for one, other in zip(found.weights, wanted.weights, strict=True):
        assert difference(one, other) <= ROUNDING


def test_sums_have_the_same_bits_every_time() -> None:
    case = make_case((2, 16, 2), batch=200, dtype=torch.float32)
    sweeps = kernels(case)
    first, *others = [sweeps.gradient(*case.arguments, costate(case)) for _ in range(3)]
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(first.weights, other.weights, strict=True))


def test_a_sample_does_not_depend_on_its_neighbours() -> None:
    """Nor on how large the tiles are."""
    case = make_case((2, 16, 2), batch=200, dtype=torch.float32)
    sweeps = kernels(case)
    whole = sweeps.rollout(*case.arguments).final_state
    assert sweeps.blocks(200).lanes != sweeps.blocks(1).lanes
    for i in (0, 31, 32, 199):
        alone = sweeps.rollout(*case.arguments[:4], case.x0[i : i + 1]).final_state
        assert torch.equal(alone[0], whole[i])


def test_not_a_number_stays_in_its_sample() -> None:
    case = make_case((2, 16, 2), batch=200, dtype=torch.float32)
    sweeps = kernels(case)
    clean = sweeps.rollout(*case.arguments).final_state
    case.x0[11, 1] = torch.nan
    _, final, gradient = sweeps.squared_error(*case.arguments, torch.zeros_like(case.x0), 1.0)
    others = torch.arange(200) != 11
    assert final[11].isnan().all() and torch.equal(final[others], clean[others])
    assert gradient.initial_state[11].isnan().all() and gradient.initial_state[others].isfinite().all()
    assert all(g.isnan().any() for g in gradient.weights)


def test_empty_batches_have_zero_gradients_and_launch_nothing() -> None:
    case = make_case((2, 16, 2), batch=0, state_cost=1.0)
    sweeps = kernels(case)
    rollout = sweeps.rollout(*case.arguments)
    assert rollout.final_state.shape == (0, 2) and rollout.cost is not None and rollout.cost.shape == (0,)
    value, _, gradient = sweeps.squared_error(*case.arguments, case.x0, 1.0)
    assert value == 0.0
    assert all(g.shape == w.shape and not g.any() for w, g in zip(case.weights, gradient.weights, strict=True))
    assert not sweeps._on.launches


def test_wrong_arguments_are_refused() -> None:
    case = make_case((2, 5, 2), batch=11)
    sweeps = kernels(case)
    with pytest.raises(ProblemError, match="p1 has shape"):
        sweeps.gradient(*case.arguments, torch.zeros(5, 3, dtype=torch.float64))
    case.rows = torch.full((3, 4), 1)
    with pytest.raises(ProblemError, match="beyond the 1 rows of weights"):
        sweeps.rollout(*case.arguments)
    case.x0 = case.x0.float()
    with pytest.raises(ProblemError, match=r"x0 is torch\.float32 on cpu"):
        sweeps.rollout(*case.arguments)
