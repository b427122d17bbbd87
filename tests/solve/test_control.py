"""A control as a value of its own."""

import numpy as np
import pytest
import torch

from pontryagin.control import Control
from pontryagin.errors import ProblemError
from pontryagin.time_grid import TimeGrid

GRID = TimeGrid(torch.tensor([0.0, 0.1, 0.4, 1.0]))


def example(kind: str, *batch: int) -> Control:
    rows = GRID.steps + (kind == "linear")
    return Control(torch.rand(*batch, rows, 2, dtype=torch.float64), kind, GRID)


@pytest.mark.parametrize("kind", ["constant", "linear"])
@pytest.mark.parametrize("batch", [(), (3,)], ids=["single", "batch"])
def test_a_control_on_a_refined_grid_is_the_same_function_of_time(kind, batch):
    control = example(kind, *batch)
    finer = control.on(GRID.refine(3))
    tau = torch.linspace(0, 0.999, 57, dtype=torch.float64)
    torch.testing.assert_close(finer.at(tau), control.at(tau), rtol=0, atol=1e-15)  # rounding of the interpolation


def test_the_same_grid_returns_the_control_itself():
    control = example("linear")
    assert control.on(GRID) is control


def test_a_control_reads_like_its_tensor():
    control = example("linear")
    assert torch.equal(torch.as_tensor(control), control.values)
    assert np.array_equal(np.asarray(control), control.values.numpy())
    assert torch.equal(control[1:, 0], control.values[1:, 0])
    assert control.shape == (4, 2) and len(control) == 4 and control.dtype == torch.float64


def test_a_constant_control_keeps_its_last_value_at_the_end():
    control = example("constant")
    assert torch.equal(control.at(torch.tensor([1.0]))[0], control.values[-1])


def test_rows_that_do_not_fit_the_grid_are_refused():
    with pytest.raises(ProblemError, match=r"linear control on 3 steps takes \(4, m\)"):
        Control(torch.zeros(3, 2), "linear", GRID)


def test_an_unknown_kind_is_refused_with_a_suggestion():
    with pytest.raises(ProblemError, match="did you mean linear"):
        Control(torch.zeros(3, 2), "linaer", GRID)
