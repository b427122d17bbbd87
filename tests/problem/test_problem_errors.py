"""Every mistake in a statement has its own sentence: what is wrong, where, what to do."""

import math

import numpy as np
import pytest
import torch

from pontryagin.errors import NotYetSupported, ProblemError
from pontryagin.problem import Data, Parameter, Problem

STATEMENT = {
    "dynamics": lambda t, x, u: torch.stack([x[1], u[0]]),
    "running_cost": lambda t, x, u: 0.5 * u[0] ** 2,
    "initial_state": [0.0, 0.0],
    "horizon": (0.0, 1.0),
}


def shifting(t, x, u):
    x[0] += 1
    return torch.stack([x[1], u[0]])


def wants_keyword(t, x, u, *, gain):
    return x * gain


FAULTS = [
    # what is missing or unknown
    ({"running_cots": 1}, "'running_cots' is not known; did you mean running_cost"),
    ({"frobnicate": 1}, "'frobnicate' is not known; expected one of dynamics, running_cost"),
    ({"dynamics": None}, "needs dynamics"),
    ({"initial_state": None}, "needs initial_state"),
    ({"running_cost": None}, "nothing is minimised: give running_cost or terminal_cost"),
    ({"running_cost": None, "horizon": None, "free_final_time": (1, 0, 2)}, "terminal_cost=lambda t, x: t"),
    ({"maximize": 1}, "maximize is 1; give True or False"),
    ({"name": 3}, "name is 3; give a word"),
    # functions
    ({"dynamics": 3}, "dynamics is of type int; give a function dynamics(t, x, u)"),
    ({"dynamics": lambda t, x, u: [x[1], u[0]]}, "type list, not a tensor; join its components with torch.stack"),
    ({"dynamics": lambda t, x, u: None}, "type NoneType, not a tensor; is a return missing?"),
    ({"dynamics": lambda t, x, u: x.numpy()}, "type ndarray, not a tensor"),
    ({"dynamics": lambda t, x, u: torch.stack([x[1], u[0], u[0]])}, "returns 3 derivatives, but there are 2 states"),
    ({"dynamics": lambda t, x, u: (x + u[0])[None]}, "returns shape (1, 2), but there are 2 states"),
    ({"dynamics": lambda t, x, u: torch.tensor([1, 0])}, "returns torch.int64, but its arguments are torch.float64"),
    ({"dynamics": lambda t, x, u: (x + u[0]).float()}, "or give initial_state as a float32 tensor"),
    ({"dynamics": lambda t, x, u: (x + u[0]).to("meta")}, "returns a tensor on meta, but its arguments are on cpu"),
    ({"dynamics": shifting}, "changes its argument number 1 in place"),
    ({"dynamics": wants_keyword}, "wants a keyword argument 'gain'"),
    ({"dynamics": lambda t, x, u, theta: x}, "takes 4 arguments, but this problem has only 3 for it"),
    ({"dynamics": lambda t, x, u, theta, d: x}, "write dynamics(t, x, u) (theta needs parameters=, d needs data=)"),
    ({"terminal_cost": lambda t, x, u: u[0]}, "write terminal_cost(t, x)"),
    ({"dynamics": lambda t, x, u: missing}, "raised NameError in a trial call at t = 0, x = [0, 0], u = [0]"),  # noqa: F821
    ({"dynamics": lambda t, x, u: torch.stack([x[5], u[0]])}, "raised IndexError in a trial call"),
    ({"running_cost": lambda t, x, u: u}, "running_cost returns shape (1,), not a scalar"),
    ({"running_cost": lambda t, x, u: True}, "running_cost returns a value of type bool"),
    ({"terminal_cost": lambda t, x: x}, "terminal_cost returns shape (2,), not a scalar"),
    ({"initial_cost": lambda x: x}, "initial_cost returns shape (2,), not a scalar"),
    ({"initial_cost": lambda x: x[7]}, "initial_cost raised IndexError in a trial call at x = [0, 0]"),
    ({"path_constraint": lambda t, x, u: x[:0]}, "give a vector with one component for each constraint"),
    ({"terminal_constraint": lambda t, x: x[None]}, "terminal_constraint returns shape (1, 2)"),
    ({"integral_constraint": 3}, "give (integrand, low, high)"),
    ({"integral_constraint": (lambda t, x, u: u[0], 1, 0)}, "integral_constraint bounds: the lower bound[0] is 1"),
    # the number of controls
    ({"dynamics": lambda t, x, u: torch.stack([x[1], u[-1]])}, "say how many with control_dim"),
    ({"dynamics": lambda t, x, u: torch.stack([x[1], u.sum()])}, "runs with 1 and with 2 of them and uses them all"),
    ({"dynamics": lambda t, x, u: -x + u}, "say how many with control_dim"),
    ({"dynamics": lambda t, x: -x, "running_cost": lambda t, x: x[0]}, "no function uses the control"),
    ({"dynamics": lambda t, x, u: x * u.reshape(67, 1).sum()}, "no number of controls from 1 to 64 suits"),
    ({"control_dim": 0}, "control_dim is 0; a problem has at least one control"),
    ({"control_dim": 2.5}, "control_dim is 2.5; give a whole number"),
    ({"control_dim": True}, "control_dim is True; give a whole number"),
    # the horizon
    ({"horizon": None}, "no horizon"),
    ({"horizon": 3}, "horizon is 3; give two times"),
    ({"horizon": (0, None)}, "horizon has no end"),
    ({"horizon": (1, 1)}, "the horizon from 1 to 1 is empty"),
    ({"horizon": (1, 0)}, "the horizon from 1 to 0 runs backwards"),
    ({"horizon": (0, math.inf)}, "horizon[1] is inf; give a finite number"),
    ({"horizon": (0, [1, 2])}, "horizon[1] has shape (2,); give a single number"),
    ({"free_final_time": (1, 0, 2)}, "the final time is fixed to 1.0 by horizon and left free"),
    ({"horizon": None, "free_final_time": 3}, "free_final_time is 3; give (guess, low, high)"),
    ({"horizon": None, "free_final_time": (1, 3, 2)}, "low 3 lies above high 2"),
    ({"horizon": None, "free_final_time": (5, 1, 2)}, "the guess 5 lies outside of low 1 to high 2"),
    ({"horizon": (1, None), "free_final_time": (1, 1, 2)}, "the guess 1 does not lie after the start 1"),
    # numbers
    ({"initial_state": []}, "initial_state is empty"),
    ({"initial_state": [[0, 0]]}, "initial_state has shape (1, 2); give a vector"),
    ({"initial_state": torch.zeros(3, 2)}, "a batch of them goes to solve(problem, initial_state=...)"),
    ({"initial_state": 1.0}, "initial_state is a single number, 1; give a list, [1]"),
    ({"initial_state": "ab"}, "initial_state is 'ab', of type str; give real numbers"),
    ({"initial_state": np.array(["a", "b"])}, "initial_state[0] is 'a', of type str; give real numbers"),
    ({"initial_state": [0, 1j]}, "initial_state[1] is 1j, of type complex; give real numbers"),
    ({"initial_state": torch.zeros(2, dtype=torch.complex128)}, "has type torch.complex128; give float64 or float32"),
    ({"initial_state": torch.zeros(2, dtype=torch.float16)}, "has type torch.float16; give float64 or float32"),
    ({"initial_state": [True, 0]}, "initial_state[0] is True, of type bool"),
    ({"initial_state": [math.nan, 0]}, "initial_state[0] is nan; give a finite number, or None for a free component"),
    ({"initial_state": torch.tensor([0.0, math.inf])}, "initial_state[1] is inf; give a finite number"),
    ({"initial_state": np.array([math.nan, 0.0])}, "initial_state[0] is nan"),
    ({"initial_state": [0, [1, 2]]}, "initial_state is not a regular array"),
    ({"initial_state": torch.zeros(2, requires_grad=True)}, "initial_state requires grad"),
    ({"terminal_state": [1.0]}, "terminal_state has 1 components; this problem has 2 states"),
    ({"initial_state": torch.zeros(2, device="meta"), "terminal_state": torch.zeros(2)}, "are on different devices"),
    # bounds
    ({"control_bounds": 3}, "control_bounds is 3; give a pair (low, high)"),
    ({"control_bounds": (-1, 0, 1)}, "control_bounds is (-1, 0, 1); give a pair (low, high)"),
    ({"control_bounds": (1, -1)}, "control_bounds: the lower bound is 1, above the upper bound -1"),
    ({"control_bounds": [(-1, 1), (-2, 2)]}, "the form is (all lower bounds, all upper bounds)"),
    ({"control_bounds": ([0, 0], [1, 1, 1])}, "control_bounds has 2 lower and 3 upper bounds"),
    ({"control_bounds": (0, [1, 1]), "control_dim": 3}, "control_bounds[1] has shape (2,); give a number, or 3"),
    ({"control_bounds": (0, [[1]])}, "control_bounds[1] has shape (1, 1); give a number or a vector"),
    ({"control_bounds": (math.nan, 1)}, "control_bounds[0] is nan; give a number, or None for no bound"),
    ({"control_bounds": (math.inf, math.inf)}, "no control lies between"),
    ({"state_bounds": ([1], [2])}, "state_bounds[0] has shape (1,); give a number, or 2 numbers"),
    ({"state_bounds": ([1, None], None)}, "initial_state[0] = 0 lies outside its state_bounds, 1 to inf"),
    ({"terminal_state": [5, None], "state_bounds": (-1, 1)}, "terminal_state[0] = 5 lies outside its state_bounds"),
    ({"initial_bounds": (1, 2)}, "initial_state[0] = 0 lies outside its initial_bounds, 1 to 2"),
    # parameters and data
    ({"parameters": [1.0]}, "parameters is a list; give a dictionary"),
    ({"parameters": {"a b": 1.0}}, "'a b' is not an identifier"),
    ({"parameters": {"class": 1.0}}, "'class' is not an identifier"),
    ({"parameters": {3: 1.0}}, "parameter name 3 is not an identifier"),
    ({"parameters": {"a": math.nan}}, "parameter 'a' is nan"),
    ({"data": [1.0, math.nan]}, "data values[1] is nan"),
    ({"data": [1.0]}, "linear data of a single value span no time"),
    ({"data": Data([1.0, 2.0], time=[0.0, 0.5])}, "data run from 0 to 0.5, the horizon from 0 to 1"),
    ({"data": Data([1.0, 2.0], time=[0.5, 1.0], kind="constant")}, "give data that cover it"),
]


@pytest.mark.parametrize(("changes", "sentence"), FAULTS, ids=[sentence[:48] for _, sentence in FAULTS])
def test_mistake_has_its_sentence(changes, sentence):
    with pytest.raises(ProblemError) as caught:
        Problem(**{**STATEMENT, **changes})
    assert sentence in str(caught.value)


def test_the_original_error_is_chained():
    with pytest.raises(ProblemError) as caught:
        Problem(**{**STATEMENT, "running_cost": lambda t, x, u: 1 / 0})
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_data_with_a_free_final_time_is_not_yet_supported():
    with pytest.raises(NotYetSupported, match="fix the horizon"):
        Problem(**{**STATEMENT, "horizon": None, "free_final_time": (1, 0, 2), "data": [1.0, 2.0]})


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Parameter(3.0, 0.0, 2.0), "Parameter guess 3.0 lies outside its bounds 0.0 to 2.0"),
        (lambda: Parameter(1.0, 2.0, 0.0), "Parameter bounds cross: low 2.0 lies above high 0.0"),
        (lambda: Parameter([1.0, 2.0], [0.0, 0.0, 0.0]), "Parameter low has shape (3,), the guess has shape (2,)"),
        (lambda: Parameter("a"), "Parameter guess is 'a', of type str"),
        (lambda: Data([1.0], kind="cubic"), "kind of data 'cubic' is not known; expected one of constant, linear"),
        (lambda: Data(1.0), "data values have shape ()"),
        (lambda: Data([1.0, 2.0], time=[0.0]), "data time has shape (1,), but there are 2 values"),
        (lambda: Data([1.0, 2.0], time=[0.0, 1.0, 2.0], kind="constant"), "the start of its interval"),
        (lambda: Data([1.0, 2.0], time=[1.0, 1.0]), "data time 1 is 1, not after time 0, 1"),
        (lambda: Data([1.0, 2.0]).at(torch.zeros(1)), "the times of these data are not known yet"),
    ],
    ids=lambda value: value[:32] if isinstance(value, str) else "",
)
def test_mistake_in_a_part_has_its_sentence(make, sentence):
    with pytest.raises(ProblemError) as caught:
        make()
    assert sentence in str(caught.value)
