"""The public `sweep`: shapes in and out, units of its gradients, what it accepts and what it refuses, with words."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from sweep_cases import KINDS, SMALL, branching
from torch import Tensor

from pontryagin.control import Control
from pontryagin.data import Data
from pontryagin.errors import BackendError, CaptureError, NotYetSupported, PontryaginError, ProblemError
from pontryagin.evaluate import FIELDS, sweep
from pontryagin.problem import Problem
from pontryagin.tableau import RK4, Tableau
from pontryagin.time_grid import TimeGrid

N = 5


def controls(problem: Problem, *lead: int, kind: str = "constant", dtype: torch.dtype = torch.float64) -> Tensor:
    return 0.3 * torch.randn(*lead, N + (kind == "linear"), problem.control_dim, dtype=dtype)


# ---- shapes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SMALL)
def test_without_a_batch_axis_in_what_is_given_the_answer_has_none(name: str, kind: str) -> None:
    problem = SMALL[name]()
    n, q = problem.state_dim, problem.parameter_dim
    u = controls(problem, kind=kind)
    answer = sweep(problem, u, control=kind)
    shapes = {field: tuple(getattr(answer, field).shape) for field in FIELDS}
    assert shapes == {
        "objective": (),
        "state": (N + 1, n),
        "costate": (N + 1, n),
        "control_gradient": tuple(u.shape),
        "initial_state_gradient": (n,),
        "parameter_gradient": (q,),
        "final_time_gradient": (),
    }


@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
@pytest.mark.parametrize("name", SMALL)
def test_with_a_batch_axis_the_answer_has_it(name: str, shared: bool) -> None:
    problem = SMALL[name]()
    n, q = problem.state_dim, problem.parameter_dim
    u = controls(problem, *([] if shared else [3]))
    answer = sweep(problem, u, control="constant", initial_state=problem.initial_state.expand(3, -1))
    shapes = {field: tuple(getattr(answer, field).shape) for field in FIELDS}
    assert shapes == {
        "objective": (3,),
        "state": (3, N + 1, n),
        "costate": (3, N + 1, n),
        "control_gradient": tuple(u.shape),
        "initial_state_gradient": (3, n),
        "parameter_gradient": (3, q),
        "final_time_gradient": (3,),
    }


@pytest.mark.parametrize("argument", ["initial_state", "parameters", "final_time", "multipliers", "u"])
def test_any_argument_may_bring_the_batch(argument: str) -> None:
    """And a row of the batch is what the same row gives alone."""
    problem = SMALL["pendulum"]()
    single = {
        "u": controls(problem),
        "initial_state": problem.initial_state,
        "parameters": problem.parameter_values,
        "final_time": torch.tensor(1.5, dtype=torch.float64),
        "multipliers": torch.tensor([0.3, -0.2, 0.7], dtype=torch.float64),
    }
    rows = single[argument] * torch.tensor([1.0, 1.1], dtype=torch.float64).reshape(2, *[1] * single[argument].dim())
    many = sweep(problem, control="constant", **(single | {argument: rows}))  # type: ignore[arg-type]
    for i in range(2):
        one = sweep(problem, control="constant", **(single | {argument: rows[i]}))  # type: ignore[arg-type]
        for field in FIELDS:
            if argument == "u" or field != "control_gradient":
                torch.testing.assert_close(getattr(many, field)[i], getattr(one, field), rtol=1e-13, atol=1e-14)


def test_only_what_was_asked_for_is_answered() -> None:
    problem = SMALL["integrator"]()
    for outputs in (["state"], {"objective", "control_gradient"}, frozenset({"costate"}), ("final_time_gradient",)):
        answer = sweep(problem, controls(problem), control="constant", outputs=outputs)
        assert {field for field in FIELDS if getattr(answer, field) is not None} == set(outputs)


def test_lists_and_arrays_are_float64_and_tensors_keep_their_type() -> None:
    problem = SMALL["integrator"]()
    u = controls(problem, 2)
    expected = sweep(problem, u, control="constant")
    assert expected.objective is not None
    for given in (u.tolist(), u.numpy(), u.float().double().numpy().astype(np.float32)):
        answer = sweep(problem, given, control="constant", initial_state=[[0.0, 0.0], [0, 0]])
        assert answer.objective is not None
        assert answer.objective.dtype == torch.float64
        torch.testing.assert_close(answer.objective, expected.objective, rtol=1e-6, atol=0)
    single = sweep(problem, u.float(), control="constant", initial_state=[0.0, 0.0])
    assert {getattr(single, field).dtype for field in FIELDS} == {torch.float32}


def test_control_of_a_solution_brings_its_kind_and_its_grid() -> None:
    problem = SMALL["integrator"]()
    grid = TimeGrid(torch.tensor([0.0, 0.1, 0.4, 1.0], dtype=torch.float64))
    u = Control(torch.randn(4, 1, dtype=torch.float64), "linear", grid)
    answer = sweep(problem, u)
    assert answer.state is not None
    fine = sweep(problem, u.on(grid.refine(2)))
    assert fine.state is not None
    # x is a cubic in each step, which the method integrates without error
    torch.testing.assert_close(fine.state[::2], answer.state, rtol=0, atol=1e-14)
    with pytest.raises(ProblemError, match="u is a linear control"):
        sweep(problem, u, control="constant")


# ---- meaning ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_control_gradient_is_the_derivative_over_the_integral_of_the_basis_function(kind: str) -> None:
    problem = SMALL["pendulum"]()
    u = controls(problem, 2, kind=kind).requires_grad_()
    final_time = torch.tensor([0.8, 2.0], dtype=torch.float64)
    answer = sweep(problem, u, control=kind, final_time=final_time)
    assert answer.objective is not None
    assert answer.control_gradient is not None
    answer.objective.sum().backward()
    mass = TimeGrid.uniform(N).basis_mass(kind)[:, None] * final_time[:, None, None]
    assert u.grad is not None
    torch.testing.assert_close(answer.control_gradient * mass, u.grad, rtol=1e-12, atol=1e-14)


def test_control_gradient_does_not_depend_on_the_mesh() -> None:
    """For J = 1/2 int u^2 it is u itself, on every grid and for both kinds."""
    problem = SMALL["integrator"]()
    for kind in KINDS:
        for rows in (4, 40):
            u = torch.full((rows, 1), 0.7, dtype=torch.float64)
            answer = sweep(problem, u, control=kind)
            torch.testing.assert_close(answer.control_gradient, u, rtol=1e-12, atol=0)


def test_objective_is_in_the_sense_of_the_problem_and_gradients_are_of_what_is_minimised() -> None:
    problem = SMALL["tracking_constant"]()
    assert problem.maximize
    u = controls(problem).requires_grad_()
    answer = sweep(problem, u, control="constant")
    assert answer.objective is not None
    assert answer.control_gradient is not None
    answer.objective.backward()
    mass = TimeGrid.uniform(N).basis_mass("constant")[:, None] * 1.5
    torch.testing.assert_close(-answer.control_gradient * mass, u.grad, rtol=1e-12, atol=1e-14)


def test_multipliers_turn_the_costate_and_leave_the_objective() -> None:
    """p(t1) = phi_x + nu psi_x, and J without constraint terms."""
    problem = SMALL["integrator"]()
    u = controls(problem)
    plain, turned = (sweep(problem, u, control="constant", multipliers=nu) for nu in (None, [-12.0, 6.0]))
    assert plain.costate is not None
    assert turned.costate is not None
    assert torch.equal(plain.costate, torch.zeros_like(plain.costate))
    torch.testing.assert_close(turned.costate[-1], torch.tensor([-12.0, 6.0], dtype=torch.float64))
    assert plain.objective == turned.objective


def test_optimum_of_the_double_integrator_has_its_textbook_numbers() -> None:
    """u = 6 - 12 t, J = 6, p = (-12, -6 + 12 t)."""
    problem = SMALL["integrator"]()
    t = torch.linspace(0, 1, N + 1, dtype=torch.float64)[:, None]
    answer = sweep(problem, 6 - 12 * t, control="linear", multipliers=[-12.0, 6.0])
    torch.testing.assert_close(float(answer.objective), 6.0, rtol=1e-13, atol=0)  # type: ignore[arg-type]
    torch.testing.assert_close(answer.costate, torch.cat([-12 + 0 * t, -6 + 12 * t], 1), rtol=0, atol=1e-12)
    torch.testing.assert_close(answer.control_gradient, 0 * t, rtol=0, atol=1e-12)


def test_initial_cost_belongs_to_the_objective_and_to_the_gradient_in_the_initial_state() -> None:
    problem = Problem(
        dynamics=lambda t, x, u, p: torch.stack([u[0] * x[0]]),
        running_cost=lambda t, x, u, p: u[0] ** 2,
        initial_cost=lambda x, p: p[0] * x[0] ** 2,
        initial_state=[None],
        horizon=(0.0, 1.0),
        parameters={"weight": 3.0},
    )
    x0 = torch.tensor([[2.0], [0.5]], dtype=torch.float64, requires_grad=True)
    answer = sweep(problem, torch.zeros(N, 1, dtype=torch.float64), control="constant", initial_state=x0)
    assert answer.objective is not None
    torch.testing.assert_close(answer.objective.detach(), torch.tensor([12.0, 0.75], dtype=torch.float64))
    torch.testing.assert_close(answer.initial_state_gradient, 6 * x0.detach())
    torch.testing.assert_close(answer.parameter_gradient, x0.detach() ** 2)
    answer.objective.sum().backward()
    torch.testing.assert_close(x0.grad, 6 * x0.detach())


def test_parameters_are_given_by_name_or_flat() -> None:
    problem = SMALL["pendulum"]()
    u = controls(problem)
    flat = sweep(problem, u, control="constant", parameters=[2.0, 0.3, 0.7])
    named = sweep(problem, u, control="constant", parameters={"rest": [0.3, 0.7]})
    assert flat.objective == named.objective
    batch = sweep(problem, u, control="constant", parameters={"gravity": torch.tensor([2.0, 3.0]).double()})
    assert batch.parameter_gradient is not None
    assert batch.parameter_gradient.shape == (2, 3)


@pytest.mark.parametrize("name", ["tracking_linear", "tracking_constant"])
def test_data_are_read_at_their_own_times(name: str) -> None:
    problem = SMALL[name]()
    assert problem.data is not None
    u = controls(problem)
    expected = sweep(problem, u, control="constant").state
    values = problem.data.values
    for given in (values, values.tolist(), problem.data, Data(values, problem.data.time, problem.data.kind)):
        torch.testing.assert_close(sweep(problem, u, control="constant", data=given).state, expected, rtol=0, atol=0)
    many = sweep(problem, u, control="constant", data=torch.stack([values, 2 * values])).state
    assert many is not None
    torch.testing.assert_close(many[0], expected, rtol=1e-13, atol=1e-14)
    assert not torch.allclose(many[1], many[0])


@pytest.mark.parametrize("backend", ["torch", "interpreter"])
def test_scheme_may_be_a_tableau_of_the_caller(backend: str) -> None:
    """Even one with the name of another."""
    problem = SMALL["pendulum"]()
    u = controls(problem)
    by_name, by_value = (sweep(problem, u, control="constant", scheme=s, backend=backend) for s in ("rk4", RK4))
    assert by_name.objective == by_value.objective
    ralston = Tableau("heun", 2, c=(0.0, 2 / 3), a=((), (2 / 3,)), b=(1 / 4, 3 / 4))
    heun, other = (sweep(problem, u, control="constant", scheme=s, backend=backend) for s in ("heun", ralston))
    assert heun.objective != other.objective
    assert heun.objective is not None
    assert other.objective is not None
    torch.testing.assert_close(heun.objective, other.objective, rtol=0.1, atol=0)


def test_the_second_call_gives_the_same_numbers_and_prepares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = SMALL["pendulum"]()
    u = controls(problem, 4)
    first = sweep(problem, u, control="linear", outputs=["objective", "state"])

    def refuse(*arguments: object) -> None:
        raise AssertionError("prepared again")

    monkeypatch.setattr("pontryagin.evaluate._prepare", refuse)
    again = sweep(problem, u.clone(), control="linear", outputs={"state", "objective"})
    torch.testing.assert_close(again.state, first.state, rtol=0, atol=0)


def test_threads_of_the_caller_may_sweep_at_once() -> None:
    problem = SMALL["pendulum"]()
    u = controls(problem, 8)
    expected = sweep(problem, u, control="constant").control_gradient
    found: list[Any] = []

    def work() -> None:
        for _ in range(5):
            found.append(sweep(problem, u, control="constant").control_gradient)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert all(torch.equal(value, expected) for value in found)


# ---- backends -----------------------------------------------------------------------------------------------------


def test_auto_says_what_it_picked_and_why() -> None:
    problem = SMALL["integrator"]()
    answer = sweep(problem, controls(problem), control="constant")
    assert answer.backend == "interpreter"
    assert "captured" in answer.reason


def test_functions_that_branch_on_values_run_on_torch_sample_by_sample() -> None:
    problem = branching()
    u = torch.randn(3, N, 1, dtype=torch.float64).requires_grad_()
    answer = sweep(problem, u, control="constant", initial_state=[[1.0], [0.4], [0.6]])
    assert answer.backend == "torch"
    assert "cannot be captured" in answer.reason
    assert "one by one because torch.vmap refuses dynamics" in answer.reason
    assert answer.objective is not None
    assert answer.control_gradient is not None
    answer.objective.sum().backward()
    assert u.grad is not None
    torch.testing.assert_close(answer.control_gradient / N, u.grad, rtol=1e-12, atol=1e-14)
    with pytest.raises(CaptureError):
        sweep(problem, u, control="constant", backend="interpreter")


@pytest.mark.parametrize("backend", ["interpreter", "native"])
def test_compiled_backends_refuse_tensors_on_another_device(backend: str) -> None:
    problem = SMALL["integrator"]()
    with pytest.raises(BackendError, match=f'"{backend}" runs on the CPU and the tensors are on meta'):
        sweep(problem, controls(problem).to("meta"), control="constant", backend=backend)


def test_random_functions_are_refused() -> None:
    def noisy(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
        return x + u + torch.randn(())

    problem = Problem(
        dynamics=noisy, running_cost=lambda t, x, u: u[0] ** 2, initial_state=[0.0], horizon=(0.0, 1.0), control_dim=1
    )
    with pytest.raises(PontryaginError, match="dynamics draws random numbers"):
        sweep(problem, controls(problem), control="constant", backend="torch")


# ---- refusals -----------------------------------------------------------------------------------------------------

U = torch.zeros(N, 1, dtype=torch.float64)
NAN = torch.full((N, 1), torch.nan, dtype=torch.float64)

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no kind": ({"control": None}, 'say how u is meant: control="constant"'),
    "unknown kind": ({"control": "cubic"}, "control kind 'cubic' is not known; expected one of constant, linear"),
    "unknown scheme": ({"scheme": "rk5"}, "scheme 'rk5' is not known"),
    "unknown backend": ({"backend": "gpu"}, "backend 'gpu' is not known; expected one of auto"),
    "unhashable scheme": ({"scheme": ["rk4"]}, "scheme .* is not known"),
    "unknown output": ({"outputs": ["gradient"]}, "output 'gradient' is not known; did you mean"),
    "outputs as a word": ({"outputs": "state"}, "outputs is 'state'; give a list of names"),
    "outputs as a number": ({"outputs": 3}, "outputs is 3; give a list of names"),
    "no threads": ({"threads": 0}, "threads is 0; give a whole number from 1"),
    "half a thread": ({"threads": 1.5}, "threads is 1.5; give a whole number from 1"),
    "flat control": ({"u": U[:, 0]}, r"u has shape \(5,\); give \(K, 1\), or \(B, K, 1\).*u\[:, None\]"),
    "wide control": ({"u": U.expand(5, 2)}, r"u has shape \(5, 2\); give \(K, 1\)"),
    "no rows": ({"u": U[:0]}, r"u has shape \(0, 1\)"),
    "no problems": ({"u": U.expand(0, 5, 1)}, r"u has shape \(0, 5, 1\)"),
    "one node": ({"u": U[:1], "control": "linear"}, "u has one row; a linear control has at least two"),
    "words": ({"u": "zero"}, "u is 'zero'"),
    "nothing": ({"u": None}, "u is missing"),
    "a function": ({"u": lambda t: 0.0}, "u is <function"),
    "half precision": ({"u": U.half()}, "u has type torch.float16; give float64 or float32"),
    "complex": ({"u": U.to(torch.complex128)}, "u has type torch.complex128"),
    "two types": ({"u": U.float(), "initial_state": torch.zeros(2).double()}, "initial_state is torch.float64 on cpu"),
    "two devices": ({"initial_state": torch.zeros(2, dtype=torch.float64, device="meta")}, "on meta, but u is"),
    "long state": ({"initial_state": [0.0, 0.0, 0.0]}, r"initial_state has shape \(3,\); give \(2,\), or \(B, 2\)"),
    "two batches": (
        {"u": U.expand(2, 5, 1), "initial_state": torch.zeros(3, 2).double()},
        "batches differ: u of 2, initial_state of 3",
    ),
    "unknown parameter": ({"parameters": {"mass": 1.0}}, "parameter 'mass' is not known"),
    "parameters too many": ({"parameters": [1.0]}, r"parameters has shape \(1,\); give \(0,\)"),
    "data for none": ({"data": [[1.0]]}, "has no data"),
    "multipliers too few": ({"multipliers": [1.0]}, r"multipliers has shape \(1,\); give \(2,\)"),
    "final time a vector": ({"final_time": [[1.0]]}, r"final_time has shape \(1, 1\); give \(\), or \(B,\)"),
    "final time too early": ({"final_time": -1.0}, "final_time is -1 for problem 0, not after the start"),
    "final time too early, state alone": ({"final_time": 0.0, "outputs": ["state"]}, "final_time is 0 for problem 0"),
    "NaN in a list": ({"u": [[float("nan")]] * 5}, r"u\[0, 0\] is nan|u\[0\]\[0\] is nan"),
    "NaN in a tensor": ({"u": NAN}, r"u is nan at index \[0, 0, 0\]; give finite numbers"),
    "infinite state": ({"initial_state": torch.tensor([torch.inf, 0]).double()}, "initial_state is inf at index"),
    "gradient in multipliers": ({"multipliers": torch.zeros(2).double().requires_grad_()}, "multipliers requires grad"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusal_says_what_is_wrong_and_what_to_give(case: str) -> None:
    change, message = REFUSED[case]
    options: dict[str, Any] = {"u": U, "control": "constant"} | change
    u = options.pop("u")
    with pytest.raises(PontryaginError, match=message):
        sweep(SMALL["integrator"](), u, **options)


def test_something_else_than_a_problem_is_refused() -> None:
    with pytest.raises(ProblemError, match="the problem is a NoneType"):
        sweep(None, U, control="constant")  # type: ignore[arg-type]


def test_free_initial_components_must_be_given() -> None:
    problem = Problem(
        dynamics=lambda t, x, u: u, running_cost=lambda t, x, u: u[0] ** 2, initial_state=[None], horizon=(0.0, 1.0),
        control_dim=1,
    )  # fmt: skip
    with pytest.raises(ProblemError, match=r"initial_state is free in components \[0\]"):
        sweep(problem, U, control="constant")
    assert sweep(problem, U, control="constant", initial_state=[1.0]).objective == 0.0


def test_final_time_together_with_data_is_not_yet_supported() -> None:
    problem = SMALL["tracking_constant"]()
    with pytest.raises(NotYetSupported, match="final_time together with data"):
        sweep(problem, U, control="constant", final_time=1.0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Data([[0.5]] * 2, kind="linear"), "data are linear, those of the problem constant"),
        ([[0.5, 0.5]] * 3, r"data has shape \(3, 2\); give \(K, 1\)"),
        ([[float("nan")]] * 3, "nan"),
        (torch.full((3, 1), torch.nan, dtype=torch.float64), "nan"),
        (torch.ones(3, 1, dtype=torch.float64, requires_grad=True), "data requires grad"),
    ],
    ids=["kind", "size", "nan in a list", "nan in a tensor", "grad"],
)
def test_data_that_do_not_fit_are_refused(data: Any, message: str) -> None:
    with pytest.raises(PontryaginError, match=message):
        sweep(SMALL["tracking_constant"](), U, control="constant", data=data)


def test_values_that_do_not_suit_the_functions_type_are_refused_with_the_function_named() -> None:
    matrix = torch.eye(1, dtype=torch.float64)
    problem = Problem(
        dynamics=lambda t, x, u: matrix @ u, running_cost=lambda t, x, u: u[0] ** 2, initial_state=[0.0],
        horizon=(0.0, 1.0), control_dim=1,
    )  # fmt: skip
    with pytest.raises(ProblemError, match=r"dynamics raised RuntimeError when called with torch\.float32 on cpu"):
        sweep(problem, U.float(), control="constant", backend="torch")
