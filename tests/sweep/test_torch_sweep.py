"""The reference sweep itself: its Hamiltonian, its three ways through a batch, its constraint terms, its parameters."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sweep_cases import EVERYTHING, KINDS, SMALL, branching, random_arguments, uneven_grid
from torch import Tensor, nn

from pontryagin.backend.select import make_backend
from pontryagin.backend.torch_sweep import TorchSweep
from pontryagin.errors import PontryaginError
from pontryagin.problem import Problem
from pontryagin.time_grid import TimeGrid

BACKENDS = ("torch", "interpreter")


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("backend", BACKENDS)
def test_hamiltonian_and_its_gradients_at_points(name: str, backend: str) -> None:
    """H = L + p.f, H_x and H_u by autograd of the formula, one sample at a time."""
    problem = SMALL[name]()
    sweep = make_backend(problem, TimeGrid.uniform(2), control_kind="constant", backend=backend, threads=1)
    points = 4
    t = torch.rand(points, dtype=torch.float64)
    x, p = (torch.rand(points, problem.state_dim, dtype=torch.float64) + 0.1 for _ in range(2))
    u = torch.randn(points, problem.control_dim, dtype=torch.float64)
    theta = problem.parameter_values.expand(points, -1).contiguous()
    d = None if problem.data is None else torch.randn(points, problem.data_dim, dtype=torch.float64)
    value, by_state, by_control = sweep.hamiltonian(t, x, p, u, theta, d)
    f = problem.functions
    for i in range(points):
        xi, ui = x[i].clone().requires_grad_(), u[i].clone().requires_grad_()
        di = x.new_empty(0) if d is None else d[i]
        point = (t[i], xi, ui, theta[i], di)
        h = f.running_cost(*point) + p[i] @ f.dynamics(*point)
        expected = torch.autograd.grad(h, (xi, ui))
        torch.testing.assert_close(value[i], h.detach(), rtol=1e-13, atol=1e-14)
        torch.testing.assert_close(by_state[i], expected[0], rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(by_control[i], expected[1], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["pendulum", "tracking_linear", "tracking_constant"])
def test_vmap_loop_and_lanes_give_the_same_numbers(name: str, kind: str) -> None:
    problem, grid = SMALL[name](), uneven_grid(3)
    arguments = random_arguments(problem, grid, kind, cotangents=True)
    results = [
        TorchSweep(problem, grid, control_kind=kind, batching=batching).evaluate(arguments, EVERYTHING)  # type: ignore[arg-type]
        for batching in ("vmap", "loop", "lanes")
    ]
    for field in EVERYTHING:
        for other in results[1:]:
            torch.testing.assert_close(getattr(results[0], field), getattr(other, field), rtol=1e-13, atol=1e-14)


def test_the_loop_is_chosen_for_branches_and_says_so_once() -> None:
    sweep = TorchSweep(branching(), TimeGrid.uniform(2), control_kind="constant", reason="torch was asked for.")
    assert sweep.batching == "loop"
    assert sweep.reason.startswith("torch was asked for. Samples are evaluated one by one because torch.vmap refuses")
    assert TorchSweep(SMALL["pendulum"](), TimeGrid.uniform(2), control_kind="constant").reason == ""


def test_a_problem_of_the_batch_does_not_see_its_neighbours() -> None:
    problem, grid = SMALL["pendulum"](), uneven_grid(4)
    arguments = random_arguments(problem, grid, "linear", batch=5)
    sweep = TorchSweep(problem, grid, control_kind="linear")
    many = sweep.evaluate(arguments, EVERYTHING)
    alone = {name: None if value is None else value[2:3] for name, value in vars(arguments).items()}
    one = sweep.evaluate(replace(arguments, **alone), EVERYTHING)
    for field in EVERYTHING:
        # sine and cosine of torch differ in the last bit between the vector and its remainder
        torch.testing.assert_close(getattr(many, field)[2:3], getattr(one, field), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rho", [0.0, 1e-3, 2.0])
def test_constraint_terms_are_those_of_the_augmented_lagrangian(rho: float, backend: str) -> None:
    """nu e + rho/2 e^2 for equalities, (max(0, nu + rho e)^2 - nu^2) / (2 rho) for inequalities, nu e without rho."""
    problem = Problem(
        dynamics=lambda t, x, u: u,
        terminal_cost=lambda t, x: 0.0 * x[0],
        terminal_state=[0.5, None],
        terminal_inequality=lambda t, x: x[1:],
        initial_state=[0.0, 0.0],
        horizon=(0.0, 1.0),
        control_dim=2,
    )
    ends = torch.tensor([-2.0, -1e-3, 0.0, 0.4, 3.0], dtype=torch.float64)
    x, y, nu = (value.flatten() for value in torch.meshgrid(ends, ends, ends, indexing="ij"))
    x0 = torch.stack([x, y], 1)
    batch = len(x)
    sweep = make_backend(problem, TimeGrid.uniform(1), control_kind="constant", backend=backend, threads=1)
    multipliers = torch.stack([nu, nu], 1)
    arguments = random_arguments(problem, TimeGrid.uniform(1), "constant", batch=batch)
    result = sweep.evaluate(
        replace(
            arguments,
            control=torch.zeros(batch, 1, 2, dtype=torch.float64),
            initial_state=x0,
            multipliers=multipliers,
            penalties=torch.full_like(multipliers, rho),
        ),
        {"lagrangian", "terminal", "costate"},
    )
    e, g = x - 0.5, y
    equality, force = nu * e + rho / 2 * e**2, nu + rho * g
    inequality = (force.clamp(min=0) ** 2 - nu**2) / (2 * rho) if rho else nu * g
    omega = torch.stack([nu + rho * e, force.clamp(min=0) if rho else nu], 1)
    torch.testing.assert_close(result.terminal, torch.stack([e, g], 1), rtol=0, atol=1e-15)
    # the quotient loses digits where rho is small, the backends do not
    torch.testing.assert_close(result.lagrangian, equality + inequality, rtol=1e-12, atol=1e-12)
    assert result.costate is not None
    torch.testing.assert_close(result.costate[:, -1], omega, rtol=1e-14, atol=1e-15)


def test_parameters_behind_the_functions_are_found_in_order_and_once() -> None:
    first, second, unused = (nn.Parameter(torch.tensor(float(i)).double()) for i in range(3))
    plain = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    problem = Problem(
        dynamics=lambda t, x, u: second * x * plain + first * u,
        running_cost=lambda t, x, u: second * u[0] ** 2,
        terminal_cost=lambda t, x: first,
        initial_state=[0.0],
        horizon=(0.0, 1.0),
        control_dim=1,
    )
    found = TorchSweep(problem, TimeGrid.uniform(2), control_kind="constant").implicit_parameters
    assert [id(parameter) for parameter in found] == [id(second), id(first)]
    assert unused not in set(found)


def test_a_function_that_draws_random_numbers_is_named() -> None:
    def running_cost(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
        return u[0] * torch.rand(())

    problem = Problem(
        dynamics=lambda t, x, u: u, running_cost=running_cost, initial_state=[0.0], horizon=(0.0, 1.0), control_dim=1
    )
    with pytest.raises(PontryaginError, match="running_cost draws random numbers"):
        TorchSweep(problem, TimeGrid.uniform(2), control_kind="constant")


def test_the_same_request_returns_the_same_backend() -> None:
    problem, grid = SMALL["integrator"](), TimeGrid.uniform(3)
    first = make_backend(problem, grid, control_kind="constant", threads=1)
    assert make_backend(problem, TimeGrid.uniform(3), control_kind="constant", threads=1) is first
    assert make_backend(problem, uneven_grid(3), control_kind="constant", threads=1) is not first
    assert make_backend(problem, grid, control_kind="linear", threads=1) is not first


@pytest.mark.gpu
@pytest.mark.parametrize("name", SMALL)
def test_the_reference_sweeps_tensors_on_a_gpu(name: str) -> None:
    if name == "network":
        pytest.skip("its matrices are on the CPU")
    problem, grid = SMALL[name](), uneven_grid(4)
    arguments = random_arguments(problem, grid, "linear", cotangents=True)
    there = {field: None if value is None else value.cuda() for field, value in vars(arguments).items()}
    here = TorchSweep(problem, grid, control_kind="linear").evaluate(arguments, EVERYTHING)
    found = TorchSweep(problem, grid, control_kind="linear", device="cuda").evaluate(
        replace(arguments, **there), EVERYTHING
    )
    for field in EVERYTHING:
        assert getattr(found, field).device.type == "cuda"
        torch.testing.assert_close(getattr(found, field).cpu(), getattr(here, field), rtol=1e-11, atol=1e-12)
