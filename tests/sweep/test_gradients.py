"""Every derivative of a sweep, three ways: central differences, autograd through the unrolled sweep, the transpose.

On small problems all derivatives of all arguments, on a grid of uneven steps; on the gallery the derivative in
everything at once, at the guess that a person would start from, on ten steps, for every tableau and kind of control.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
import torch
from sweep_cases import (
    EVERYTHING,
    GALLERY,
    KINDS,
    SMALL,
    gallery_control,
    gallery_problem,
    random_arguments,
    uneven_grid,
)
from torch import Tensor

from pontryagin.backend.select import make_backend
from pontryagin.backend.torch_sweep import TorchSweep, eager_gradient
from pontryagin.problem import Problem
from pontryagin.sweep import BACKWARD_OUTPUTS, Arguments, SweepBackend, SweepResult
from pontryagin.tableau import TABLEAUS
from pontryagin.time_grid import TimeGrid

BACKENDS = ("torch", "interpreter", "native")
STEPS = 10


def product(names: Sequence[str], whole: Sequence[str] = ()) -> list[Any]:
    """(name, kind, scheme, backend). A compiler takes about two seconds for a native sweep: of every problem there is
    the one with RK4 and linear control, of those in `whole` all; the others are marked slow."""
    cases = []
    for name, kind, scheme, backend in itertools.product(names, KINDS, TABLEAUS, BACKENDS):
        few = backend != "native" or name in whole or (scheme, kind) == ("rk4", "linear")
        cases.append(pytest.param(name, kind, scheme, backend, marks=() if few else pytest.mark.slow))
    return cases


#: What is differentiated, and the derivative in it.
SOURCES = {
    "control": "control_derivative",
    "initial_state": "initial_state_derivative",
    "final_time": "final_time_derivative",
    "parameters": "parameter_derivative",
}

#: Rounding: some hundred operations of 1e-16 on numbers of one size.
EXACT = 1e-12
#: In float32 the same operations have 6e-8 each.
EXACT_FLOAT32 = 2e-4


def sweep_on(name: str, problem: Problem, grid: TimeGrid, kind: str, scheme: str, **options: object) -> SweepBackend:
    return make_backend(problem, grid, control_kind=kind, scheme=scheme, backend=name, threads=1, **options)  # type: ignore[arg-type]


def error_of(value: Tensor, reference: Tensor) -> float:
    """Largest difference over the largest number of the reference, or over one where that is smaller."""
    if value.shape != reference.shape:
        raise AssertionError(f"shape {tuple(value.shape)}, expected {tuple(reference.shape)}")
    if reference.numel() == 0:
        return 0.0
    return float((value.double() - reference).abs().max()) / max(1.0, float(reference.abs().max()))


def assert_same(result: SweepResult, reference: SweepResult, tolerance: float) -> None:
    for name, value in vars(reference).items():
        if value is not None:
            error = error_of(getattr(result, name), value)
            assert error <= tolerance, f"{name} differs by {error:.1e}"


# ---- small problems, every argument -------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def small_case(name: str, kind: str, scheme: str, shared: bool) -> tuple[Arguments, SweepResult]:
    problem, grid = SMALL[name](), uneven_grid(4)
    arguments = random_arguments(problem, grid, kind, shared=shared, cotangents=True)
    reference = TorchSweep(problem, grid, control_kind=kind, scheme=scheme)  # type: ignore[arg-type]
    return arguments, eager_gradient(reference, arguments, EVERYTHING)


@pytest.mark.parametrize(("name", "kind", "scheme", "backend"), product(list(SMALL), ["pendulum"]))
def test_all_results_agree_with_autograd_through_the_unrolled_sweep(
    name: str, kind: str, scheme: str, backend: str
) -> None:
    """With multipliers, penalties and cotangents: everything that Arguments holds."""
    arguments, reference = small_case(name, kind, scheme, False)
    sweep = sweep_on(backend, SMALL[name](), uneven_grid(4), kind, scheme)
    assert_same(sweep.evaluate(arguments, EVERYTHING), reference, EXACT)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SMALL)
def test_derivative_in_a_shared_control_sums_the_batch(name: str, kind: str, backend: str) -> None:
    arguments, reference = small_case(name, kind, "rk4", True)
    sweep = sweep_on(backend, SMALL[name](), uneven_grid(4), kind, "rk4")
    result = sweep.evaluate(arguments, EVERYTHING)
    assert_same(result, reference, EXACT)
    own = replace(arguments, control=arguments.control.expand(arguments.batch, -1, -1).contiguous())
    each = sweep.evaluate(own, EVERYTHING).control_derivative
    assert result.control_derivative is not None
    assert each is not None
    assert error_of(result.control_derivative, each.sum(0)) < EXACT


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SMALL)
def test_float32_agrees_with_float64_to_its_own_rounding(name: str, kind: str, backend: str) -> None:
    problem, grid = SMALL[name](), uneven_grid(4)
    arguments, reference = small_case(name, kind, "rk4", False)
    single = Arguments(**{k: None if v is None else v.float() for k, v in vars(arguments).items()})
    sweep = sweep_on(backend, problem, grid, kind, "rk4", dtype=torch.float32)
    result = sweep.evaluate(single, EVERYTHING)
    assert {value.dtype for value in vars(result).values() if value is not None} == {torch.float32}
    assert_same(result, reference, EXACT_FLOAT32)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", SMALL)
def test_absent_multipliers_and_cotangents_mean_zero_and_one(name: str, backend: str) -> None:
    problem, grid = SMALL[name](), uneven_grid(4)
    arguments = random_arguments(problem, grid, "linear")
    assert arguments.multipliers is not None
    assert arguments.penalties is not None
    zero = torch.zeros_like(arguments.multipliers)
    bare = replace(arguments, multipliers=None, penalties=None)
    spelled = replace(
        bare,
        multipliers=zero,
        penalties=zero,
        objective_cotangent=torch.ones_like(arguments.final_time),
        state_cotangent=arguments.initial_state.new_zeros(3, 5, problem.state_dim),
    )
    sweep = sweep_on(backend, problem, grid, "linear", "rk4")
    result = sweep.evaluate(bare, EVERYTHING)
    assert_same(result, sweep.evaluate(spelled, EVERYTHING), EXACT)
    assert result.lagrangian is not None
    assert result.objective is not None
    assert torch.equal(result.lagrangian, result.objective)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("output", sorted(EVERYTHING))
def test_an_output_asked_for_alone_is_the_one_among_all(output: str, backend: str) -> None:
    problem, grid = SMALL["pendulum"](), uneven_grid(4)
    arguments = random_arguments(problem, grid, "linear", cotangents=output in BACKWARD_OUTPUTS)
    sweep = sweep_on(backend, problem, grid, "linear", "rk4")
    alone = sweep.evaluate(arguments, {output})
    assert {name for name, value in vars(alone).items() if value is not None} == {output}
    everything = sweep.evaluate(arguments, EVERYTHING)
    assert error_of(getattr(alone, output), getattr(everything, output)) < 1e-15


# ---- the transpose ------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # used by torch's forward differentiation
@pytest.mark.parametrize(("name", "kind", "scheme", "backend"), product(list(SMALL), ["pendulum"]))
def test_costate_sweep_is_the_transpose_of_the_linearised_state_sweep(
    name: str, kind: str, scheme: str, backend: str
) -> None:
    """<A v, w> = <v, A' w>, where A is the derivative of all states in u and x0, applied by forward differentiation."""
    problem, grid = SMALL[name](), uneven_grid(3)
    arguments = random_arguments(problem, grid, kind)
    arguments = replace(arguments, multipliers=None, penalties=None)
    v_u, v_x = torch.randn_like(arguments.control), torch.randn_like(arguments.initial_state)
    reference = TorchSweep(problem, grid, control_kind=kind, scheme=scheme)  # type: ignore[arg-type]
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual
        moving = replace(
            arguments, control=dual(arguments.control, v_u), initial_state=dual(arguments.initial_state, v_x)
        )
        _, _, _, state = reference.unrolled(moving)
        forward = torch.autograd.forward_ad.unpack_dual(state).tangent
    assert forward is not None
    w = torch.randn_like(forward)
    backward = sweep_on(backend, problem, grid, kind, scheme).evaluate(
        replace(arguments, objective_cotangent=torch.zeros_like(arguments.final_time), state_cotangent=w),
        {"control_derivative", "initial_state_derivative"},
    )
    assert backward.control_derivative is not None
    assert backward.initial_state_derivative is not None
    left = (forward * w).sum((1, 2))
    right = (backward.control_derivative * v_u).sum((1, 2)) + (backward.initial_state_derivative * v_x).sum(1)
    size = forward.abs().sum((1, 2)) * w.abs().amax((1, 2))
    assert bool(((left - right).abs() <= 1e-14 * size).all())


def test_euler_with_step_one_is_back_propagation_through_a_residual_network() -> None:
    """x_{k+1} = x_k + f(x_k, w_k): the costate recursion is the backward pass of a ResNet, weight by weight."""
    depth, width = 6, 3

    def layer(t: Tensor, x: Tensor, w: Tensor) -> Tensor:
        return torch.tanh(w[: width * width].reshape(width, width) @ x + w[width * width :])

    problem = Problem(
        dynamics=layer,
        terminal_cost=lambda t, x: ((x - 0.5) ** 2).sum(),
        initial_state=[0.1, -0.2, 0.3],
        horizon=(0.0, float(depth)),
        control_dim=width * width + width,
    )
    weights = torch.randn(depth, 12, dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[0.1, -0.2, 0.3]], dtype=torch.float64)
    layers = [x]
    for k in range(depth):
        layers.append(layers[-1] + layer(x, layers[-1][0], weights[k]))
    loss = ((layers[-1] - 0.5) ** 2).sum()
    costates = torch.autograd.grad(loss, layers[1:], retain_graph=True)
    (gradient,) = torch.autograd.grad(loss, weights)
    for backend in BACKENDS:
        sweep = sweep_on(backend, problem, TimeGrid.uniform(depth), "constant", "euler")
        result = sweep.evaluate(
            Arguments(weights.detach()[None], x, torch.tensor([float(depth)]).double(), x.new_empty(1, 0)),
            {"control_derivative", "costate"},
        )
        assert result.control_derivative is not None
        assert result.costate is not None
        assert error_of(result.control_derivative[0], gradient) < EXACT
        assert error_of(result.costate[0, 1:], torch.cat(costates)) < EXACT


# ---- the gallery --------------------------------------------------------------------------------------------------

#: Explicit steps as long as a tenth of these horizons leave the numbers that a computer holds, from the guess of the
#: gallery. Their gradients are compared on this part of the horizon; that the whole one overflows is a test below.
SHORTENED = {"hypersensitive": 1e-3, "cstr_kirk": 0.2, "lotka_volterra_fishing": 0.4}

#: Here steps as long as a tenth of the horizon leave numbers, but a map too steep for central differences.
STEEP = {"goddard_cops": 0.01, "hang_glider_cops": 0.05, "rayleigh_mixed": 0.5, "space_shuttle_reentry": 0.05}


@lru_cache(maxsize=4)
def gallery_case(name: str, kind: str, scheme: str) -> tuple[TorchSweep, Arguments, SweepResult]:
    """The guess with random multipliers, so that constraints take part, and the derivatives there by autograd."""
    problem, grid = gallery_problem(name), TimeGrid.uniform(STEPS)
    generator = torch.Generator().manual_seed(7)
    r = problem.equality_count + problem.inequality_count
    t1 = problem.t0 + (SHORTENED | STEEP).get(name, 1.0) * (problem.t1_guess - problem.t0)
    data = None if problem.data is None else problem.data.on_grid(grid.times(problem.t0, problem.t1_guess))
    arguments = Arguments(
        control=gallery_control(name, grid, kind)[None],
        initial_state=problem.initial_state.nan_to_num(nan=0.0)[None],
        final_time=torch.tensor([t1], dtype=torch.float64),
        parameters=problem.parameter_values[None],
        data=data,
        multipliers=torch.randn(1, r, generator=generator, dtype=torch.float64),
        penalties=torch.ones(1, r, dtype=torch.float64),
    )
    reference = TorchSweep(problem, grid, control_kind=kind, scheme=scheme, batching="lanes")  # type: ignore[arg-type]
    return reference, arguments, eager_gradient(reference, arguments, {"lagrangian", *SOURCES.values()})


def flat_gradient(result: SweepResult) -> Tensor:
    """The first problem's derivative in u, x0, t1 and theta, as one vector."""
    return torch.cat([getattr(result, name)[0].reshape(-1) for name in SOURCES.values()])


def moved(arguments: Arguments, steps: Tensor) -> Arguments:
    """The one problem as a batch: itself first, then itself moved by each row of `steps`, laid out as flat_gradient."""
    sources = {name: getattr(arguments, name) for name in SOURCES}
    parts = torch.split(steps, [value[0].numel() for value in sources.values()], 1)
    rows = {
        name: torch.cat([value, value + part.reshape(len(steps), *value.shape[1:])])
        for (name, value), part in zip(sources.items(), parts, strict=True)
    }
    count = len(steps) + 1
    assert arguments.multipliers is not None
    assert arguments.penalties is not None
    return replace(
        arguments,
        **rows,
        multipliers=arguments.multipliers.expand(count, -1).contiguous(),
        penalties=arguments.penalties.expand(count, -1).contiguous(),
    )


def sensitivity(sweep: TorchSweep, arguments: Arguments, gradient: Tensor) -> float:
    """How many units of rounding the gradient moves, of its norm, when every input moves by one unit."""
    eps = torch.finfo(torch.float64).eps
    inputs = torch.cat([getattr(arguments, name)[0].reshape(-1) for name in SOURCES])
    signs = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).sign()
    nudged = moved(arguments, (eps * signs * inputs)[None])
    result = sweep.evaluate(nudged, set(SOURCES.values()))
    other = torch.cat([getattr(result, name)[1].reshape(-1) for name in SOURCES.values()])
    return float((other - gradient).norm() / gradient.norm()) / eps


#: Lengths of the steps of central differences; the pair of neighbours that agree best is believed.
LENGTHS = (1e-2, 1e-3, 1e-4, 1e-5)
#: The fourth-order stencil [f(-2h) - 8 f(-h) + 8 f(h) - f(2h)] / 12 h.
STENCIL = torch.tensor([[-2.0, 1 / 12], [-1.0, -8 / 12], [1.0, 8 / 12], [2.0, -1 / 12]], dtype=torch.float64)


@pytest.mark.parametrize(("name", "kind", "scheme", "backend"), product(GALLERY))
def test_gradient_of_the_gallery_agrees_with_differences_and_with_autograd(
    name: str, kind: str, scheme: str, backend: str
) -> None:
    reference, arguments, expected = gallery_case(name, kind, scheme)
    gradient = flat_gradient(expected)
    norm = float(gradient.norm())
    size = 1 + torch.cat([getattr(arguments, name)[0].reshape(-1) for name in SOURCES]).abs()
    generator = torch.Generator().manual_seed(11)
    directions = torch.randn(3, gradient.numel(), generator=generator, dtype=torch.float64)
    directions *= size / directions.norm(dim=1, keepdim=True)
    lengths = torch.tensor(LENGTHS, dtype=torch.float64)
    steps = (lengths[:, None, None, None] * STENCIL[:, 0, None, None] * directions).flatten(0, 2)

    sweep = sweep_on(backend, gallery_problem(name), reference.grid, kind, scheme)
    result = sweep.evaluate(moved(arguments, steps), {"lagrangian", *SOURCES.values()})

    # autograd: to rounding, or to what one unit of rounding in the input does, where that is more
    error = float((flat_gradient(result) - gradient).norm())
    if error > EXACT * norm:
        assert error <= EXACT * norm * sensitivity(reference, arguments, gradient)

    # central differences, in units of the size of each input: to 1e-7 of the norm
    assert result.lagrangian is not None
    values = result.lagrangian[1:].reshape(len(LENGTHS), len(STENCIL), 3)
    differences = (STENCIL[:, 1, None] * values).sum(1) / lengths[:, None]  # (lengths, 3)
    believed = differences.diff(dim=0).abs().argmin(0) + 1
    slopes = differences[believed, torch.arange(3)]
    assert float((slopes - directions @ gradient).abs().max()) <= 1e-7 * float((size * gradient).norm())


@pytest.mark.parametrize("name", SHORTENED)
def test_ten_steps_over_the_whole_horizon_overflow_where_the_list_says_so(name: str) -> None:
    problem, grid = gallery_problem(name), TimeGrid.uniform(STEPS)
    overflows = []
    for scheme in TABLEAUS:
        sweep = TorchSweep(problem, grid, control_kind="constant", scheme=scheme)
        result = sweep.evaluate(
            Arguments(
                gallery_control(name, grid, "constant")[None],
                problem.initial_state[None],
                torch.tensor([problem.t1_guess], dtype=torch.float64),
                problem.parameter_values[None],
            ),
            {"control_derivative"},
        )
        assert result.control_derivative is not None
        largest = float(result.control_derivative.abs().max())
        overflows.append(not largest < 1e3)  # not finite, or on its way there
    assert any(overflows)
