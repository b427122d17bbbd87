"""The sweep under torch.autograd: gradients, the operator's own checks, and problems that travel between processes."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from sweep_cases import SMALL, branching
from torch import Tensor, nn

from pontryagin.backend.operator import sweep_backward_operator, sweep_operator
from pontryagin.backend.torch_sweep import TorchSweep
from pontryagin.data import Data
from pontryagin.errors import BackendError, NotYetSupported
from pontryagin.evaluate import _prepare, sweep
from pontryagin.problem import Problem
from pontryagin.sweep import Arguments
from pontryagin.time_grid import TimeGrid

BACKENDS = ("torch", "interpreter", "native")
N = 4

# torch.compile and its parts warn about themselves
QUIET = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def learned(net: nn.Module, gain: nn.Parameter) -> Problem:
    """Dynamics with a network and a gain as nn.Parameters, and declared parameters beside them."""
    return Problem(
        dynamics=lambda t, x, u, p: net(x) * p[0] + torch.stack([u[0], gain * u[1] + t]),
        running_cost=lambda t, x, u, p: 0.5 * u[0] ** 2 + p[1] * x[0] ** 2 * u[1],
        terminal_cost=lambda t, x, p: gain * x[1] ** 2 * p[1] * t,
        initial_state=[0.0, 0.5],
        terminal_state=[1.0, None],
        parameters={"a": 1.0, "b": [0.5]},
        horizon=(0.2, 1.0),
        control_dim=2,
    )


def make_learned() -> tuple[Problem, list[nn.Parameter]]:
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    gain = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
    return learned(net, gain), [gain, *net.parameters()]


def leaves(problem: Problem, shared: bool) -> tuple[Tensor, ...]:
    """u, x0, theta, t1 that require grad, for three problems."""
    u = torch.randn(*([] if shared else [3]), N, problem.control_dim, dtype=torch.float64)
    x0 = problem.initial_state + 0.1 * torch.randn(3, problem.state_dim, dtype=torch.float64)
    theta = problem.parameter_values * (1 + 0.1 * torch.rand(3, problem.parameter_dim, dtype=torch.float64))
    t1 = problem.t1_guess * (1 + 0.2 * torch.rand(3, dtype=torch.float64))
    return tuple(value.requires_grad_() for value in (u, x0, theta, t1))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
def test_gradients_of_objective_and_state_are_those_of_plain_autograd(shared: bool, backend: str) -> None:
    """In u, x0, theta, t1 and in the nn.Parameters behind the functions; multipliers do not belong to the objective."""
    problem, weights = make_learned()
    u, x0, theta, t1 = leaves(problem, shared)
    c, w = torch.randn(3, dtype=torch.float64), torch.randn(3, N + 1, 2, dtype=torch.float64)
    sources = (u, x0, theta, t1, *weights)
    answer = sweep(
        problem, u, control="constant", initial_state=x0, parameters=theta, final_time=t1, multipliers=[0.7],
        backend=backend,
    )  # fmt: skip
    assert answer.objective is not None
    assert answer.state is not None
    found = torch.autograd.grad((c * answer.objective).sum() + (w * answer.state).sum(), sources)
    reference = TorchSweep(problem, TimeGrid.uniform(N), control_kind="constant")
    objective, _, _, state = reference.unrolled(Arguments(u, x0, t1, theta))
    expected = torch.autograd.grad((c * objective).sum() + (w * state).sum(), sources)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
def test_parameters_declared_and_data_take_part(backend: str) -> None:
    problem = SMALL["tracking_linear"]()
    u = torch.randn(2, N + 1, 2, dtype=torch.float64, requires_grad=True)
    answer = sweep(problem, u, control="linear", backend=backend, outputs=["objective"])
    assert answer.objective is not None
    (found,) = torch.autograd.grad(answer.objective.sum(), u)
    grid = TimeGrid.uniform(N)
    assert problem.data is not None
    reference = TorchSweep(problem, grid, control_kind="linear")
    data = problem.data.on_grid(grid.times(problem.t0, problem.t1_guess))
    arguments = Arguments(
        u, problem.initial_state.expand(2, -1), torch.full((2,), 2.5).double(), u.new_empty(2, 0), data
    )
    (expected,) = torch.autograd.grad(reference.unrolled(arguments)[0].sum(), u)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_accumulate_only_where_they_are_wanted(backend: str) -> None:
    problem, weights = make_learned()
    weights[0].requires_grad_(False)
    u, x0, _, _ = leaves(problem, False)
    answer = sweep(problem, u.detach(), control="constant", initial_state=x0, backend=backend)
    assert answer.objective is not None
    answer.objective.sum().backward()
    assert u.grad is None
    assert weights[0].grad is None
    assert x0.grad is not None
    assert all(weight.grad is not None for weight in weights[1:])


def test_a_parameter_that_is_frozen_at_first_learns_when_it_is_thawed() -> None:
    """On torch, which calls the functions each time; formulas hold a frozen parameter as a number."""
    problem, weights = make_learned()
    u = torch.randn(N, 2, dtype=torch.float64)
    for weight in weights:
        weight.requires_grad_(False)
    frozen = sweep(problem, u, control="constant", backend="torch").objective
    assert frozen is not None
    assert not frozen.requires_grad
    weights[0].requires_grad_(True)
    thawed = sweep(problem, u, control="constant", backend="torch").objective
    assert thawed is not None
    (gradient,) = torch.autograd.grad(thawed, weights[0])
    assert float(gradient) != 0.0


def test_a_training_step_changes_what_the_next_sweep_sees() -> None:
    problem, weights = make_learned()
    u = torch.randn(5, N, 2, dtype=torch.float64)
    for backend in BACKENDS:
        optimiser = torch.optim.SGD(weights, lr=0.05)
        losses = []
        for _ in range(4):
            optimiser.zero_grad()
            loss = sweep(problem, u, control="constant", backend=backend, outputs=["state"]).state
            assert loss is not None
            total = (loss[:, -1] - 1.0).square().mean()
            total.backward()
            optimiser.step()
            losses.append(total.item())
        assert losses == sorted(losses, reverse=True)


def test_costate_and_gradients_are_marked_as_not_differentiable() -> None:
    problem = SMALL["pendulum"]()
    u = torch.randn(3, N, 1, dtype=torch.float64, requires_grad=True)
    answer = sweep(problem, u, control="constant")
    differentiable = {name for name, value in vars(answer).items() if isinstance(value, Tensor) and value.requires_grad}
    assert differentiable == {"objective", "state"}


def test_no_grad_and_plain_tensors_record_nothing() -> None:
    problem = SMALL["pendulum"]()
    u = torch.randn(3, N, 1, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        inside = sweep(problem, u, control="constant").objective
    with torch.inference_mode():
        sweep(problem, u, control="constant")
    assert inside is not None
    assert not inside.requires_grad
    torch.testing.assert_close(inside, sweep(problem, u, control="constant").objective.detach(), rtol=1e-14, atol=0)  # type: ignore[union-attr]


def test_second_derivatives_are_refused_with_the_way_round() -> None:
    problem = SMALL["pendulum"]()
    u = torch.randn(3, N, 1, dtype=torch.float64, requires_grad=True)
    answer = sweep(problem, u, control="constant")
    assert answer.objective is not None
    (gradient,) = torch.autograd.grad(answer.objective.sum(), u, create_graph=True)
    with pytest.raises(NotYetSupported, match="differentiated once, not twice"):
        gradient.sum().backward()


@QUIET
@pytest.mark.parametrize("transform", ["grad", "vmap", "jacrev", "jvp"])
def test_transforms_of_torch_func_are_refused_with_the_way_round(transform: str) -> None:
    problem = SMALL["pendulum"]()
    u = torch.randn(3, N, 1, dtype=torch.float64)

    def total(u: Tensor) -> Any:
        return sweep(problem, u, control="constant", outputs=["objective"]).objective.sum()  # type: ignore[union-attr]

    transforms: dict[str, Callable[[], Any]] = {
        "grad": lambda: torch.func.grad(total)(u),
        "vmap": lambda: torch.vmap(total)(u),
        "jacrev": lambda: torch.func.jacrev(total)(u),
        "jvp": lambda: torch.func.jvp(total, (u,), (u,)),
    }
    with pytest.raises(NotYetSupported, match="cannot be called under transforms"):
        transforms[transform]()


# ---- the operator -------------------------------------------------------------------------------------------------


@QUIET
@pytest.mark.parametrize("outputs", [None, frozenset({"objective"}), frozenset({"state", "control_gradient"})])
@pytest.mark.parametrize("backend", BACKENDS)
def test_operator_passes_the_checks_of_torch(backend: str, outputs: frozenset[str] | None) -> None:
    problem, _ = make_learned()
    u, x0, theta, t1 = leaves(problem, False)
    prepared, _ = _prepare(problem, (u, x0, theta, None, t1, None), ("constant", "rk4", backend, outputs, 1))
    implicit = list(prepared.call.backend.implicit_parameters)
    torch.library.opcheck(sweep_operator, (u, x0, t1, theta, None, None, implicit, prepared.call.handle))


@QUIET
@pytest.mark.parametrize("backend", BACKENDS)
def test_backward_operator_passes_the_checks_of_torch(backend: str) -> None:
    problem, _ = make_learned()
    u, x0, theta, t1 = (value.detach() for value in leaves(problem, False))
    prepared, _ = _prepare(problem, (u, x0, theta, None, t1, None), ("constant", "rk4", backend, None, 1))
    implicit = [parameter.detach() for parameter in prepared.call.backend.implicit_parameters]
    w = torch.randn(3, N + 1, 2, dtype=torch.float64)
    for wanted in ([True, False, True, True], [True] * 4):
        torch.library.opcheck(
            sweep_backward_operator, (u, x0, t1, theta, None, implicit, t1, w, wanted, prepared.call.handle)
        )


@QUIET
def test_a_function_under_torch_compile_may_sweep() -> None:
    problem = SMALL["pendulum"]()
    u = torch.randn(3, N, 1, dtype=torch.float64, requires_grad=True)

    def loss(u: Tensor) -> Any:
        return (sweep(problem, 2 * u, control="constant").objective ** 2).sum() * 3  # type: ignore[operator]

    compiled = torch.compile(loss, backend="aot_eager")
    value, expected = compiled(u), loss(u)
    torch.testing.assert_close(value, expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(torch.autograd.grad(value, u), torch.autograd.grad(expected, u), rtol=1e-13, atol=1e-15)


def test_a_handle_whose_problem_is_gone_says_so() -> None:
    problem = SMALL["integrator"].__wrapped__()  # type: ignore[attr-defined]
    u = torch.randn(1, N, 1, dtype=torch.float64)
    prepared, _ = _prepare(problem, (u, None, None, None, None, None), ("constant", "rk4", "torch", None, 1))
    arguments = (u, torch.zeros(1, 2).double(), torch.ones(1).double(), u.new_empty(1, 0), None, None, [])
    handle = prepared.call.handle
    sweep_operator(*arguments, handle)
    del prepared, problem
    gc.collect()
    with pytest.raises(BackendError, match="no longer exists"):
        sweep_operator(*arguments, handle)


def test_a_graph_outlives_its_problem() -> None:
    problem, _ = make_learned()
    u = torch.randn(3, N, 2, dtype=torch.float64, requires_grad=True)
    answer = sweep(problem, u, control="constant")
    del problem
    gc.collect()
    assert answer.objective is not None
    answer.objective.sum().backward()
    assert u.grad is not None
    assert bool(u.grad.abs().sum() > 0)


# ---- problems that travel -----------------------------------------------------------------------------------------


def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return torch.stack([x[1], u[0] - torch.sin(x[0])])


def running_cost(t: Tensor, x: Tensor, u: Tensor, d: Tensor) -> Tensor:
    return u[0] ** 2 + (x[0] - d[0]) ** 2


def picklable() -> Problem:
    return Problem(
        dynamics=dynamics, running_cost=running_cost, initial_state=[0.1, 0.2], horizon=(0.0, 1.0),
        data=Data([[0.0], [1.0]]),
    )  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "travel", [copy.deepcopy, lambda problem: pickle.loads(pickle.dumps(problem))], ids=["deepcopy", "pickle"]
)
def test_a_copied_problem_sweeps_alike_with_handles_of_its_own(
    travel: Callable[[Problem], Problem], backend: str
) -> None:
    problem = picklable()
    u = torch.randn(3, N, 1, dtype=torch.float64, requires_grad=True)
    first = sweep(problem, u, control="constant", backend=backend)
    other = travel(problem)
    assert not other._cache
    second = sweep(other, u, control="constant", backend=backend)
    assert first.objective is not None
    assert second.objective is not None
    assert torch.equal(first.objective, second.objective)
    one, two = (torch.autograd.grad(answer.objective.sum(), u)[0] for answer in (first, second))  # type: ignore[union-attr]
    assert torch.equal(one, two)


def gradient_in_child(problem: Problem, u: Tensor, backend: str, results: Any) -> None:
    u = u.clone().requires_grad_()
    answer = sweep(problem, u, control="constant", backend=backend)
    answer.objective.sum().backward()  # type: ignore[union-attr]
    results.put(u.grad.tolist())  # type: ignore[union-attr]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_forked_process_sweeps_with_the_problem_of_its_parent(backend: str) -> None:
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system does not fork")
    problem = picklable()
    u = torch.randn(3, N, 1, dtype=torch.float64)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    with torch.no_grad():
        expected = sweep(problem, u, control="constant", backend=backend).control_gradient  # used before the fork
    child = context.Process(target=gradient_in_child, args=(problem, u, backend, results))
    child.start()
    found = torch.tensor(results.get(timeout=60), dtype=torch.float64)
    child.join(timeout=60)
    assert child.exitcode == 0
    assert expected is not None
    torch.testing.assert_close(found * N, expected, rtol=1e-12, atol=1e-13)


def test_functions_evaluated_one_by_one_are_differentiated_too() -> None:
    problem = branching()
    u = torch.randn(2, N, 1, dtype=torch.float64, requires_grad=True)
    answer = sweep(problem, u, control="constant", outputs=["objective"])
    assert answer.objective is not None
    (gradient,) = torch.autograd.grad(answer.objective.sum(), u)
    step = 1e-6
    for k in range(N):
        moved = u.detach().repeat(2, 1, 1)
        moved[:2, k] += step
        moved[2:, k] -= step
        values = sweep(problem, moved, control="constant", outputs=["objective"]).objective
        assert values is not None
        torch.testing.assert_close((values[:2] - values[2:]) / (2 * step), gradient[:, k, 0], rtol=1e-6, atol=1e-8)
