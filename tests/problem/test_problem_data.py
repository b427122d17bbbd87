"""Interpolation and resampling of data, and the layout of parameters."""

import pytest
import torch

from pontryagin.errors import ProblemError
from pontryagin.parameters import Parameter, Parameters
from pontryagin.problem import Data


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def test_linear_data_are_interpolated_and_held_outside():
    data = Data([[0.0, 10.0], [1.0, 20.0], [5.0, 20.0]], time=[0.0, 1.0, 3.0])
    found = data.at(tensor([-1.0, 0.0, 0.25, 1.0, 2.0, 3.0, 9.0]))
    assert found[:, 0].tolist() == [0.0, 0.0, 0.25, 1.0, 3.0, 5.0, 5.0]
    assert found[:, 1].tolist() == [10.0, 10.0, 12.5, 20.0, 20.0, 20.0, 20.0]


def test_constant_data_hold_until_the_next_time():
    data = Data([1.0, 2.0, 3.0], time=[0.0, 1.0, 3.0], kind="constant")
    assert data.at(tensor([-1.0, 0.0, 0.9, 1.0, 2.9, 3.0, 9.0]))[:, 0].tolist() == [1, 1, 1, 2, 2, 3, 3]


def test_times_default_to_the_horizon():
    assert Data([1.0, 2.0, 3.0]).over(1.0, 2.0).time.tolist() == [1.0, 1.5, 2.0]
    assert Data([1.0, 2.0], kind="constant").over(1.0, 2.0).time.tolist() == [1.0, 1.5]
    assert Data([1.0], kind="constant").over(1.0, 2.0).at(tensor([1.7])).tolist() == [[1.0]]


def test_shapes_with_a_batch_of_times_of_values_and_of_both():
    shared = Data(torch.rand(4, 2, dtype=torch.float64)).over(0.0, 1.0)
    batched = Data(torch.rand(3, 4, 2, dtype=torch.float64)).over(0.0, 1.0)
    times, batch_of_times = torch.linspace(0, 1, 5), torch.linspace(0, 1, 5).expand(3, 5)
    assert (shared.batch, shared.length, shared.size, batched.batch) == (None, 4, 2, 3)
    assert shared.at(times).shape == (5, 2)
    assert shared.at(batch_of_times).shape == (3, 5, 2)
    assert batched.at(times).shape == (3, 5, 2)
    assert torch.equal(batched.at(times), batched.at(batch_of_times))
    assert torch.equal(batched.at(times)[1], Data(batched.values[1]).over(0.0, 1.0).at(times))


def test_batches_of_data_and_of_times_must_agree():
    data = Data(torch.rand(3, 4, 2, dtype=torch.float64)).over(0.0, 1.0)
    with pytest.raises(ProblemError, match="data are for 3 problems, the times for 2"):
        data.at(torch.zeros(2, 5))


def test_linear_data_on_a_grid_are_their_values_at_the_nodes():
    data = Data([0.0, 2.0, 0.0]).over(0.0, 2.0)
    assert data.on_grid(tensor([0.0, 0.5, 1.0, 2.0]))[:, 0].tolist() == [0.0, 1.0, 2.0, 0.0]


def test_constant_data_on_their_own_grid_are_unchanged_to_the_bit():
    values = torch.rand(10, 2, dtype=torch.float64)
    data = Data(values, kind="constant").over(0.0, 1.0)
    assert torch.equal(data.on_grid(torch.linspace(0, 1, 11, dtype=torch.float64)), values)


def test_constant_data_on_a_coarser_grid_keep_their_integral():
    values = torch.rand(7, 3, dtype=torch.float64)
    data = Data(values, kind="constant").over(0.0, 1.0)
    nodes = tensor([0.0, 0.1, 0.45, 1.0])
    integral = (data.on_grid(nodes) * nodes.diff()[:, None]).sum(0)
    assert torch.allclose(integral, values.mean(0), rtol=1e-14)  # rounding of ten additions
    batch = data.on_grid(nodes.expand(2, 4))
    assert batch.shape == (2, 3, 3)
    assert torch.equal(batch[1], data.on_grid(nodes))


def test_data_keep_single_precision():
    data = Data(torch.rand(4, 1)).over(0.0, 1.0)
    assert data.at(tensor([0.3])).dtype == torch.float32
    assert Data(torch.rand(4, 1), kind="constant").over(0.0, 1.0).on_grid(tensor([0.0, 1.0])).dtype == torch.float32


def declared():
    given = {"mass": 2.0, "gain": Parameter([[1.0, 2.0]], low=0.0), "drag": torch.tensor([0.5, 0.6])}
    return Parameters(given, torch.device("cpu"))


def test_parameters_lie_flat_in_declared_order():
    parameters = declared()
    assert parameters.values.tolist() == pytest.approx([2.0, 1.0, 2.0, 0.5, 0.6], rel=1e-7)  # drag is float32
    assert parameters.slices == {"mass": slice(0, 1), "gain": slice(1, 3), "drag": slice(3, 5)}
    assert parameters.optimised.tolist() == [False, True, True, False, False]
    assert parameters.low[:3].tolist() == [2.0, 0.0, 0.0]
    assert parameters.high[:3].tolist() == [2.0, torch.inf, torch.inf]


def test_parameters_are_replaced_by_name_and_in_batches():
    parameters = declared()
    assert parameters.vector() is parameters.values
    assert parameters.vector({}) is parameters.values
    assert parameters.vector({"mass": 3.0})[:3].tolist() == [3.0, 1.0, 2.0]
    batch = parameters.vector({"mass": [3.0, 4.0, 5.0], "drag": torch.zeros(2, dtype=torch.float64)})
    assert batch.shape == (3, 5)
    assert batch[:, 0].tolist() == [3.0, 4.0, 5.0]
    assert batch[2, 3:].tolist() == [0.0, 0.0]
    assert parameters.vector({"gain": torch.ones(4, 1, 2)}).shape == (4, 5)
    assert parameters.vector([1.0, 2.0, 3.0, 4.0, 5.0]).tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_replaced_parameters_stay_in_the_autograd_graph():
    mass = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    declared().vector({"mass": mass}).sum().backward()
    assert mass.grad == 1.0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"mas": 1.0}, "parameter 'mas' is not known; did you mean mass"),
        ({"drag": [1.0, 2.0, 3.0]}, r"parameter 'drag' has shape \(3,\)"),
        ({"mass": [1.0, 2.0], "drag": torch.zeros(3, 2)}, "batches of 2 and 3"),
        (torch.zeros(4), r"parameters has shape \(4,\); theta has 5 components"),
    ],
    ids=["unknown", "shape", "batch", "flat"],
)
def test_wrong_replacements_are_named(given, sentence):
    with pytest.raises(ProblemError, match=sentence):
        declared().vector(given)
