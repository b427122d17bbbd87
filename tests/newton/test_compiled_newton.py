"""Newton's method in the compiled core beside its twin in numpy: steps, derivatives, iterations; batches, threads."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from newton_cases import driven, everything, random_point, shooting_of, solved

import pontryagin as pmp
from pontryagin import _core
from pontryagin.backend.newton_functions import NewtonFunctions
from pontryagin.backend.newton_native import text_of
from pontryagin.codegen.newton_step import StepKind
from pontryagin.compiled_newton import in_core, solve_compiled
from pontryagin.optim.newton import NewtonSettings, better_start, solve_newton
from pontryagin.optim.newton.guess import rolled_out
from pontryagin.problems import get
from pontryagin.shooting import Primal
from pontryagin.tableau import TABLEAUS

UNEVEN = [0.0, 0.2, 0.5, 1.0]
CASES = {"everything": everything, "data": driven}


def largest_difference(one, other):
    """Between two records of arrays, relative to their size."""
    worst = 0.0
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if dataclasses.is_dataclass(a):
            worst = max(worst, largest_difference(a, b))
        elif a.size:
            assert a.shape == b.shape, field.name
            worst = max(worst, float(np.abs(a - b).max() / (1 + np.abs(b).max())))
    return worst


@pytest.mark.parametrize("scheme", TABLEAUS)
@pytest.mark.parametrize("kind", ["linear", "constant"])
@pytest.mark.parametrize("case", CASES)
def test_steps_and_derivatives_are_those_of_the_twin(case, kind, scheme):
    problem = CASES[case]()
    twin = shooting_of(problem, kind, UNEVEN, scheme, batch=3)
    core = in_core(problem, twin, "interpreter", 1)
    point, dual = random_point(twin, 3)
    weight = np.array([0.7, 1.0, 2.0])
    assert largest_difference(core.values(point), twin.values(point)) < 1e-13
    for exact in (True, False):
        found = core.linearise(point, dual, weight, exact)
        assert largest_difference(found, twin.linearise(point, dual, weight, exact)) < 1e-12


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("case", "kind", "scheme"), [("everything", "linear", "rk4"), ("data", "constant", "heun")])
def test_compiled_functions_give_the_steps_of_the_interpreter(case, kind, scheme, batch):
    problem = CASES[case]()
    twin = shooting_of(problem, kind, UNEVEN, scheme, batch)
    point, dual = random_point(twin, batch)
    one, other = (in_core(problem, twin, backend, 1) for backend in ("native", "interpreter"))
    assert one.backend == "native"
    weight = np.ones(batch)
    assert largest_difference(one.values(point), other.values(point)) < 1e-13
    for exact in (True, False):
        found = one.linearise(point, dual, weight, exact)
        assert largest_difference(found, other.linearise(point, dual, weight, exact)) < 1e-13
    for core in (one, other):
        np.testing.assert_allclose(core.slope(point, dual), twin.slope(point, dual), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["linear", "constant"])
def test_the_path_that_controls_lead_to_replaces_a_worse_guess(kind):
    problem = get("van_der_pol_bounded").problem()
    twin = shooting_of(problem, kind, np.linspace(0, 1, 21).tolist(), "rk4", 1)
    state = np.ones((1, 21, len(twin.statement.state_names)))
    guess = Primal(state, np.zeros((1, 20, 1)))
    core = in_core(problem, twin, "interpreter", 1)
    found, expected = core.better_start(guess, 1.0), better_start(twin, guess, 1.0)
    np.testing.assert_allclose(found.state, expected.state, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(expected.state, rolled_out(twin, guess).state)
    np.testing.assert_array_equal(core.better_start(guess, 0.0).state, state)


@pytest.mark.parametrize("name", [*solved(), "cartpole_kelly", "moon_lander", "goddard_cops", "rayleigh_mixed"])
def test_iterations_are_those_of_the_twin(name):
    """Statuses, counts and answers; roundings are not the same, so nothing here is exact."""
    problem = solved()[name][0] if name in solved() else get(name).problem()
    one, other = (
        pmp.solve(problem, method="newton", steps=20, backend=backend, max_iterations=100)
        for backend in ("interpreter", "torch")
    )
    assert one.status is other.status
    assert abs(int(one.iterations) - int(other.iterations)) <= 1
    assert one.backend == "interpreter"
    assert other.backend == "torch"
    for name in ("objective", "state", "costate", "control_gradient", "state_multipliers", "path_multipliers"):
        a, b = getattr(one, name), getattr(other, name)
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * float(1 + b.abs().max() if b.numel() else 1), msg=name)
    rows = min(len(one.history), len(other.history), 5)
    for a, b in zip(one.history[:rows], other.history[:rows], strict=True):
        assert a.running == b.running == 1
        for field in ("objective", "residual", "violation", "complementarity", "barrier", "step", "regularisation"):
            assert getattr(a, field) == pytest.approx(getattr(b, field), rel=1e-6, abs=1e-9), field


def perturbed(count):
    start = torch.zeros(count, 4, dtype=torch.float64)
    return start + 0.05 * torch.randn(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("backend", ["interpreter", "native"])
def test_results_do_not_depend_on_neighbours_or_threads(backend):
    """To the bit: alone, among eleven on lanes that take one problem after the other, on one thread and on three."""
    problem, starts = get("cartpole_kelly").problem(), perturbed(11)
    options = {"method": "newton", "steps": 20, "backend": backend, "max_iterations": 60}
    many = pmp.solve(problem, initial_state=starts, threads=1, **options)
    threaded = pmp.solve(problem, initial_state=starts, threads=3, **options)
    names = ("objective", "state", "costate", "iterations", "state_multipliers")
    for name in names:
        assert torch.equal(getattr(many, name), getattr(threaded, name)), name
    for b in (0, 7, 10):
        alone = pmp.solve(problem, initial_state=starts[b], **options)
        for name in names:
            assert torch.equal(getattr(many, name)[b], getattr(alone, name)), name


def test_a_history_counts_the_problems_that_still_run():
    problem = get("cartpole_kelly").problem()
    solution = pmp.solve(problem, method="newton", steps=20, initial_state=perturbed(9))
    assert solution.history[0].running == 9
    running = [row.running for row in solution.history]
    assert running == sorted(running, reverse=True)
    assert len(running) == int(solution.iterations.max())


def test_a_callback_sees_every_iteration_and_may_stop():
    problem, seen = get("cartpole_kelly").problem(), []

    def told(row):
        seen.append(row.iteration)
        return row.iteration == 4

    solution = pmp.solve(problem, method="newton", steps=20, initial_state=perturbed(9), callback=told)
    assert seen == [1, 2, 3, 4]
    assert {status.name for status in solution.status} == {"INTERRUPTED"}
    assert torch.isfinite(solution.objective).all()
    rows = []
    pmp.solve(problem, method="newton", steps=20, callback=lambda row: rows.append(row) and False)
    plain = pmp.solve(problem, method="newton", steps=20)
    assert [row.objective for row in rows] == [row.objective for row in plain.history]


def test_an_error_in_a_callback_comes_through():
    def told(row):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        pmp.solve(get("rayleigh_2_5").problem(), method="newton", steps=10, callback=told)


def test_the_text_is_the_same_in_every_run_and_reads_well():
    kind = StepKind(TABLEAUS["rk4"], linear_control=True, linear_data=False)
    one, other = (text_of(NewtonFunctions(get("cartpole_kelly").problem()), kind) for _ in range(2))
    assert one == other
    assert "// stage, hessian: " in one
    assert "// whole step, derivatives: " in one
    assert "// Q, its factors, K and P of step k" in one
    assert one.startswith("// Generated by pontryagin: the functions of one problem for Newton's method.")


def test_wrong_arrays_are_refused_before_anything_runs():
    problem = everything()
    twin = shooting_of(problem, "linear", UNEVEN, "rk4", 2)
    core = in_core(problem, twin, "interpreter", 1)
    point, _ = random_point(twin, 2)
    with pytest.raises(ValueError, match="state has the wrong shape"):
        core.values(Primal(point.state[:, 1:], point.control))
    with pytest.raises(ValueError, match="initial has the wrong shape"):
        core.core.values(point.state, point.control, twin.initial[:1], twin.theta, twin.data, 1)
    with pytest.raises(ValueError, match="one code and one row"):
        _core.NewtonFunctions([], [], 3)


def test_not_a_number_ends_with_its_status():
    problem = pmp.Problem(
        dynamics=lambda t, x, u: torch.log(x) + u,
        running_cost=lambda t, x, u: u[0] ** 2,
        initial_state=[-1.0],
        horizon=(0.0, 1.0),
        control_dim=1,
    )
    twin = shooting_of(problem, "linear", UNEVEN, "rk4", 2)
    point = Primal(np.full((2, 4, 2), -1.0), np.zeros((2, 3, 1)))
    settings = NewtonSettings(max_iterations=20)
    core = solve_compiled(in_core(problem, twin, "interpreter", 1), point, settings, None)
    assert core.status == solve_newton(twin, point, settings).status == [pmp.Status.NOT_FINITE] * 2


def relaxed(kind):
    return pmp.Problem(
        dynamics=lambda t, x, u, p: torch.stack([p[0] * x[0] + u[0], p[1] * x[1] - u[0]]),
        running_cost=lambda t, x, u: u[0] ** 2,
        initial_state=[1.0, 0.5],
        horizon=(0.0, 1.0),
        name="relaxed",
        **kind,
    )


def reach(t, x):
    return x[0] + x[1] - 2


@pytest.mark.parametrize(
    "pair",
    [
        [{"terminal_constraint": reach}, {"terminal_inequality": reach}],
        [
            {"parameters": {"a": pmp.Parameter(0.1, -1, 1), "b": 0.2}},
            {"parameters": {"a": 0.1, "b": pmp.Parameter(0.2, -1, 1)}},
        ],
    ],
    ids=["equality or inequality", "which parameter is optimised"],
)
def test_problems_with_the_same_formulas_have_libraries_of_their_own(pair):
    fixed = {"parameters": {"a": 0.1, "b": 0.2}}
    problems = [relaxed(fixed | kind) for kind in pair]
    for problem in [*problems, problems[0]]:
        one, other = (pmp.solve(problem, steps=20, backend=name) for name in ("native", "interpreter"))
        assert one.status is other.status
        torch.testing.assert_close(one.objective, other.objective, rtol=1e-9, atol=1e-12)
