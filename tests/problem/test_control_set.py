"""Projection onto the admissible controls, statuses and the roots of errors."""

import pickle

import pytest
import torch

from pontryagin import errors
from pontryagin.control_set import ControlSet
from pontryagin.errors import ProblemError
from pontryagin.status import Status

BOX = ControlSet(torch.tensor([-1.0, 0.0, -torch.inf]), torch.tensor([1.0, torch.inf, torch.inf]))


def test_projection_clips_each_component():
    u = torch.tensor([[[-2.0, -2.0, -2.0]], [[2.0, 2.0, 2.0]]], dtype=torch.float64)
    assert BOX.project(u).tolist() == [[[-1.0, 0.0, -2.0]], [[1.0, 2.0, 2.0]]]


def test_projection_keeps_type_and_nan():
    u = torch.tensor([torch.nan, 1.0, 1.0], dtype=torch.float32)
    assert BOX.project(u).dtype == torch.float32
    assert BOX.project(u)[0].isnan()


def test_projected_gradient_is_the_step_to_the_projection():
    generator = torch.Generator().manual_seed(1)
    u = BOX.project(3 * torch.randn(50, 3, dtype=torch.float64, generator=generator))
    gradient = torch.randn(50, 3, dtype=torch.float64, generator=generator)
    assert torch.allclose(BOX.projected_gradient(u, gradient), u - BOX.project(u - gradient), atol=1e-15)


def test_projected_gradient_keeps_the_digits_of_a_small_gradient():
    u, gradient = torch.full((3,), 0.5, dtype=torch.float64), torch.full((3,), 1e-20, dtype=torch.float64)
    assert torch.equal(BOX.projected_gradient(u, gradient), gradient)


def test_projected_gradient_vanishes_where_the_bound_holds_the_control():
    u = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    gradient = torch.tensor([-5.0, 5.0, 0.0], dtype=torch.float64)
    assert BOX.projected_gradient(u, gradient).tolist() == [0.0, 0.0, 0.0]


def test_middle_lies_between_two_bounds_or_nearest_to_zero():
    box = ControlSet(torch.tensor([1.0, 2.0, -torch.inf, -torch.inf]), torch.tensor([3.0, torch.inf, -4.0, torch.inf]))
    assert box.middle().tolist() == [2.0, 2.0, -4.0, 0.0]


def test_set_without_bounds_knows_it():
    free = ControlSet.unbounded(2)
    assert (free.size, free.is_bounded, BOX.is_bounded) == (2, False, True)


@pytest.mark.parametrize(
    ("low", "high", "sentence"),
    [
        ([1.0], [0.0], "control 0 is bounded by 1 from below and 0 from above"),
        ([0.0, torch.nan], [1.0, 1.0], "control 1 is bounded by nan from below"),
        ([0.0, 0.0], [1.0], r"shapes \(2,\) and \(1,\)"),
        ([torch.inf], [torch.inf], "no control lies between"),
    ],
    ids=["crossed", "nan", "shape", "infinite"],
)
def test_mistake_has_its_sentence(low, high, sentence):
    with pytest.raises(ProblemError, match=sentence):
        ControlSet(torch.tensor(low), torch.tensor(high))


@pytest.mark.parametrize("status", Status, ids=lambda status: status.name.lower())
def test_every_status_is_a_sentence(status):
    assert status.value.endswith(".")
    assert str(status).startswith(status.name.lower().replace("_", " ") + ": ")
    assert status.success == (status is Status.CONVERGED)
    assert pickle.loads(pickle.dumps(status)) is status


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (errors.ProblemError, ValueError),
        (errors.NonFiniteError, ArithmeticError),
        (errors.NotYetSupported, NotImplementedError),
        (errors.BackendError, RuntimeError),
        (errors.CaptureError, Exception),
    ],
    ids=lambda kind: kind.__name__,
)
def test_errors_have_one_root_and_a_builtin_parent(kind, base):
    assert issubclass(kind, errors.PontryaginError)
    assert issubclass(kind, base)
