"""What a valid problem offers after construction."""

import copy
import os
import pickle
import time

import pytest
import torch

from pontryagin.errors import NotYetSupported
from pontryagin.problem import Data, Parameter, Problem


def dynamics(t, x, u):
    return torch.stack([x[1], u[0]])


def running_cost(t, x, u):
    return 0.5 * u[0] ** 2


def double_integrator(**changes):
    statement = {
        "dynamics": dynamics,
        "running_cost": running_cost,
        "initial_state": [0.0, 0.0],
        "terminal_state": [1.0, 0.0],
        "horizon": (0.0, 1.0),
    }
    return Problem(**{**statement, **changes})


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


T, X, U, NOTHING = tensor(0.5)[0], tensor(0.2, 0.3), tensor(0.7), tensor()


def test_sizes_are_counted():
    problem = double_integrator()
    assert (problem.state_dim, problem.control_dim, problem.parameter_dim, problem.data_dim) == (2, 1, 0, 0)
    assert (problem.equality_count, problem.inequality_count, problem.path_count) == (2, 0, 0)
    assert (problem.t0, problem.t1_guess, problem.free_final_time) == (0.0, 1.0, None)
    assert not problem.control_set.is_bounded


def test_functions_have_uniform_signatures():
    functions = double_integrator().functions
    assert functions.dynamics(T, X, U, NOTHING, NOTHING).tolist() == [0.3, 0.7]
    assert functions.running_cost(T, X, U, NOTHING, NOTHING).item() == pytest.approx(0.245, rel=1e-15)
    assert functions.terminal_cost(T, X, NOTHING).shape == ()
    assert functions.terminal_equality(T, X, NOTHING).tolist() == [0.2 - 1.0, 0.3]
    assert functions.terminal_inequality(T, X, NOTHING).shape == (0,)
    assert functions.path_constraint is None


def test_functions_may_take_fewer_trailing_arguments():
    problem = double_integrator(
        dynamics=lambda t, x: torch.stack([x[1], t]), running_cost=lambda: 2.0, terminal_cost=lambda t: t, control_dim=1
    )
    assert problem.functions.dynamics(T, X, U, NOTHING, NOTHING).tolist() == [0.3, 0.5]
    assert problem.functions.running_cost(T, X, U, NOTHING, NOTHING).item() == 2.0
    assert problem.functions.terminal_cost(T, X, NOTHING) is T


def test_arguments_with_a_default_are_left_alone():
    def with_gain(t, x, u, gain=3.0):
        return torch.stack([x[1], gain * u[0]])

    problem = double_integrator(dynamics=with_gain, parameters={"mass": 2.0})
    assert problem.functions.dynamics(T, X, U, tensor(2.0), NOTHING)[1].item() == pytest.approx(2.1, rel=1e-15)


def test_parameters_and_data_follow_in_this_order():
    problem = double_integrator(
        dynamics=lambda t, x, u, theta, d: torch.stack([x[1], theta[0] * u[0] + d[1]]),
        terminal_cost=lambda t, x, theta: theta.sum(),
        parameters={"gain": 2.0, "offsets": [3.0, 4.0]},
        data=[[0.0, 5.0], [0.0, 6.0]],
    )
    assert (problem.parameter_dim, problem.data_dim) == (3, 2)
    assert problem.parameter_values.tolist() == [2.0, 3.0, 4.0]
    functions = problem.functions
    assert functions.dynamics(T, X, U, problem.parameter_values, tensor(0.0, 5.0))[1].item() == pytest.approx(6.4)
    assert functions.terminal_cost(T, X, problem.parameter_values).item() == 9.0


def test_data_without_parameters_takes_their_place():
    problem = double_integrator(dynamics=lambda t, x, u, d: torch.stack([x[1], u[0] + d[0]]), data=[5.0, 6.0])
    assert problem.functions.dynamics(T, X, U, NOTHING, tensor(5.0))[1].item() == 5.7


def test_maximise_negates_every_cost():
    problem = double_integrator(
        terminal_cost=lambda t, x: x[0], initial_cost=lambda x: x[1], running_cost=lambda t, x, u: u[0], maximize=True
    )
    functions = problem.functions
    assert functions.running_cost(T, X, U, NOTHING, NOTHING).item() == -0.7
    assert functions.terminal_cost(T, X, NOTHING).item() == -0.2
    assert functions.initial_cost(X, NOTHING).item() == -0.3


def test_terminal_equality_is_fixed_components_then_constraint():
    problem = double_integrator(terminal_state=[None, 2.0], terminal_constraint=lambda t, x: x[0] * x[1] - 1.0)
    assert problem.equality_count == 2
    assert problem.functions.terminal_equality(T, X, NOTHING).tolist() == [0.3 - 2.0, 0.2 * 0.3 - 1.0]


def test_scalar_constraints_become_vectors():
    problem = double_integrator(
        terminal_inequality=lambda t, x: x[0], path_constraint=lambda t, x, u: u[0] - 1.0, terminal_state=None
    )
    assert (problem.inequality_count, problem.path_count) == (1, 1)
    assert problem.functions.terminal_inequality(T, X, NOTHING).tolist() == [0.2]
    assert problem.functions.path_constraint(T, X, U, NOTHING, NOTHING).shape == (1,)


def test_free_components_are_nan():
    problem = double_integrator(initial_state=[None, 0.5], initial_bounds=([2.0, None], [4.0, None]))
    assert problem.initial_state.isnan().tolist() == [True, False]
    assert problem.initial_state[1].item() == 0.5


def test_free_component_is_tried_in_the_middle_of_its_bounds():
    seen = []

    def note(t, x, u):
        seen.append(x.tolist())
        return dynamics(t, x, u)

    double_integrator(
        dynamics=note, initial_state=[None, 0.5], initial_bounds=([2.0, None], [4.0, None]), control_dim=1
    )
    assert seen == [[3.0, 0.5]]


def test_free_final_time_starts_at_zero_and_ends_after_it():
    problem = double_integrator(horizon=None, free_final_time=(2.0, 0.0, None))
    assert (problem.t0, problem.t1_guess) == (0.0, 2.0)
    assert problem.free_final_time == (2.0, 0.002, torch.inf)


def test_free_final_time_may_start_elsewhere():
    problem = double_integrator(horizon=(1.0, None), free_final_time=(2.0, 1.5, 3.0))
    assert (problem.t0, problem.free_final_time) == (1.0, (2.0, 1.5, 3.0))


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, 1),
        ({"control_bounds": (-1, 1)}, 1),
        ({"control_bounds": ([-1, None], [1, 2])}, 2),
        ({"control_dim": 3, "control_bounds": (-1, [1, 2, 3])}, 3),
        ({"dynamics": lambda t, x, u: torch.stack([x[1], u[0] + u[2]])}, 3),
        ({"dynamics": lambda t, x, u: torch.cat([x[1:], u])}, 1),
        ({"dynamics": lambda t, x, u: torch.ones(2, 4, dtype=u.dtype) @ u}, 4),
        ({"running_cost": lambda t, x, u: (u**2).sum()}, 1),
        ({"running_cost": lambda t, x, u: u[0] ** 2 + u[1] ** 2}, 2),
        ({"dynamics": lambda t, x, u: torch.stack([x[1], x[0] * u[0]])}, 1),
    ],
    ids=["scalar", "scalar bounds", "bounds", "said", "indices", "concatenated", "matrix", "sum", "cost", "times zero"],
)
def test_number_of_controls_is_found(changes, size):
    problem = double_integrator(**changes)
    assert problem.control_dim == size
    assert problem.control_set.low.shape == (size,)


def test_dtype_and_device_follow_a_tensor_and_numbers_are_float64():
    problem = double_integrator(initial_state=torch.zeros(2, dtype=torch.float32))
    assert (problem.dtype, problem.device.type) == (torch.float32, "cpu")
    assert problem.initial_state.dtype == torch.float64
    assert double_integrator(initial_state=torch.tensor([0, 1])).dtype == torch.float64


def test_a_network_of_single_precision_fits_a_single_precision_problem():
    layer = torch.nn.Linear(2, 2)
    problem = double_integrator(
        dynamics=lambda t, x, u: layer(x) + u[0], initial_state=torch.zeros(2, dtype=torch.float32), control_dim=1
    )
    assert problem.state_dim == 2


def test_the_caller_cannot_change_a_problem_through_what_was_given():
    start = torch.zeros(2, dtype=torch.float64)
    problem = double_integrator(initial_state=start)
    start[0] = 7.0
    assert problem.initial_state[0].item() == 0.0


def test_a_problem_cannot_be_changed():
    problem = double_integrator()
    with pytest.raises(AttributeError, match="cannot be changed"):
        problem.t0 = 3.0
    with pytest.raises(AttributeError, match="cannot be changed"):
        del problem.t0


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda problem: pickle.loads(pickle.dumps(problem))], ids=["deepcopy", "pickle"]
)
def test_copies_are_equal_and_drop_what_was_cached(copied):
    problem = double_integrator(
        parameters={"a": Parameter(1.0, 0.0, 2.0)}, data=Data([1.0, 2.0]), control_bounds=(-1, 1), name="twin"
    )
    problem._cache["handle"] = object()
    twin = copied(problem)
    assert twin._cache == {}
    assert "handle" in problem._cache
    assert repr(twin) == repr(problem)
    assert torch.equal(twin.initial_state, problem.initial_state)
    assert torch.equal(twin.data.values, problem.data.values)
    assert twin.functions.dynamics(T, X, U, NOTHING, NOTHING).tolist() == [0.3, 0.7]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_process_starts_with_an_empty_cache(monkeypatch):
    problem = double_integrator()
    problem._cache["handle"] = 1
    here = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: here + 1)
    assert problem._cache == {}
    problem._cache["handle"] = 2
    assert problem._cache == {"handle": 2}


def test_construction_is_cheap():
    double_integrator()
    best = min(_seconds(double_integrator) for _ in range(5))
    assert best < 0.01, "trial calls are a few function calls; 10 ms is ten times what they take"


def _seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def test_it_prints_what_it_is():
    text = repr(double_integrator(name="rocket", terminal_inequality=lambda t, x: x))
    assert text == (
        "Problem 'rocket': 2 states, 1 control, 2 terminal equalities, 2 terminal inequalities, horizon 0 to 1"
    )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"state_bounds": (-1, 1)}, "state_bounds"),
        ({"path_constraint": lambda t, x, u: x[0]}, "path_constraint"),
        ({"integral_constraint": (lambda t, x, u: u[0], None, 1.0)}, "integral_constraint"),
        ({"initial_cost": lambda x: x[0]}, "initial_cost"),
        ({"initial_state": [0.0, None]}, r"initial_state \(1\)"),
        ({"parameters": {"mass": Parameter(1.0)}}, r"optimised parameters \(mass\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_first_order_methods_cannot_treat_is_named(changes, named):
    problem = double_integrator(**changes)
    with pytest.raises(NotYetSupported, match=named):
        problem.require_solvable_by_first_order()


def test_plain_problems_are_solvable_by_first_order():
    double_integrator(control_bounds=(-1, 1), parameters={"mass": 1.0}).require_solvable_by_first_order()


def test_trial_calls_leave_the_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    double_integrator()
    assert torch.equal(torch.rand(1), expected)
