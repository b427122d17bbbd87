"""The grid on scaled time."""

import pytest
import torch

from pontryagin.errors import ProblemError
from pontryagin.time_grid import TimeGrid

UNEVEN = TimeGrid(torch.tensor([0.0, 0.1, 0.4, 1.0], dtype=torch.float64))


def test_times_hit_both_ends_to_the_bit():
    times = UNEVEN.times(0.3, torch.tensor([0.7, 1.1, 3.3], dtype=torch.float64))
    assert times.shape == (3, 4)
    assert times[:, 0].tolist() == [0.3, 0.3, 0.3]
    assert times[:, -1].tolist() == [0.7, 1.1, 3.3]
    assert UNEVEN.times(0.0, 1.0).shape == (4,)


def test_refined_grid_keeps_the_old_nodes_to_the_bit():
    refined = UNEVEN.refine(3)
    assert refined.steps == 9
    assert torch.equal(refined.nodes[::3], UNEVEN.nodes)


@pytest.mark.parametrize("grid", [UNEVEN, TimeGrid.uniform(7)], ids=["uneven", "uniform"])
def test_basis_functions_sum_to_one(grid):
    for kind, size in (("constant", grid.steps), ("linear", grid.steps + 1)):
        mass = grid.basis_mass(kind)
        assert mass.shape == (size,)
        assert mass.sum().item() == pytest.approx(1.0, rel=1e-15)


def test_linear_basis_mass_is_half_the_neighbouring_steps():
    assert UNEVEN.basis_mass("linear").tolist() == pytest.approx([0.05, 0.2, 0.45, 0.3], rel=1e-15)


def test_the_caller_cannot_change_a_grid():
    nodes = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    grid = TimeGrid(nodes)
    nodes[1] = 2.0
    assert grid.nodes[1] == 0.5


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: TimeGrid(torch.zeros(2, 2)), r"have shape \(2, 2\)"),
        (lambda: TimeGrid(torch.zeros(1)), r"have shape \(1,\)"),
        (lambda: TimeGrid(torch.tensor([0.0, 2.0])), "run from 0 to 2"),
        (lambda: TimeGrid(torch.tensor([0.0, 0.6, 0.5, 1.0])), "nodes 1 and 2 of a time grid are 0.6 and 0.5"),
        (lambda: TimeGrid(torch.tensor([0.0, torch.nan, 1.0])), "must increase strictly"),
        (lambda: TimeGrid.uniform(0), "a time grid of 0 steps does not exist"),
        (lambda: TimeGrid.uniform(2.0), "a time grid of 2.0 steps does not exist"),
        (lambda: UNEVEN.refine(0), "a grid cannot be refined by 0"),
        (lambda: UNEVEN.basis_mass("lineer"), "control kind 'lineer' is not known; did you mean linear"),
    ],
    ids=["matrix", "one node", "ends", "order", "nan", "no steps", "half steps", "refine", "kind"],
)
def test_mistake_has_its_sentence(make, sentence):
    with pytest.raises(ProblemError, match=sentence):
        make()
