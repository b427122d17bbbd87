"""Pictures show what they are given, are written where asked, and say what they cannot draw."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from training_cases import net, samples

import pontryagin as pmp


@pytest.fixture(autouse=True)
def _closed() -> Any:
    yield
    pyplot.close("all")


@pytest.fixture
def trajectory() -> pmp.Trajectory:
    x, y = samples()
    return net().trajectory(x, lambda end: (end - y).square().sum(1))


def test_costates_are_drawn_as_mean_norm_with_bands_and_the_hamiltonian_beside(trajectory: pmp.Trajectory) -> None:
    left, right = pmp.plot_costates(trajectory).axes
    norms = trajectory.costate.norm(dim=2)
    np.testing.assert_allclose(left.lines[0].get_ydata(), norms.mean(0))
    np.testing.assert_allclose(right.lines[0].get_ydata(), trajectory.hamiltonian.mean(0))
    assert len(left.collections) == 2
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["90% of samples", "50% of samples", "mean"]


def test_each_sample_is_a_curve_in_the_plane_in_the_colour_of_its_label(trajectory: pmp.Trajectory) -> None:
    labels = torch.arange(24) % 3
    (axis,) = pmp.plot_plane(trajectory, labels, components=(1, 0)).axes
    assert len(axis.lines) == 24 and len({line.get_color() for line in axis.lines}) == 3
    np.testing.assert_allclose(axis.lines[0].get_xdata(), trajectory.state[0, :, 1])
    np.testing.assert_allclose(axis.lines[0].get_ydata(), trajectory.state[0, :, 0])
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["0", "1", "2"]


def test_history_is_drawn_with_a_panel_for_each_measure() -> None:
    history = pmp.fit(
        net(), samples(), "squared_error", validation=samples(), metrics={"error": lambda a, b: (a - b).abs().sum(1)},
        epochs=2, progress=False,
    )  # fmt: skip
    axes = history.plot().axes
    assert [axis.get_title("left") for axis in axes] == ["loss", "error", "gradient norm", "field evaluations (NFE)"]
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), history["objective"])


def test_pictures_are_written_and_closed(trajectory: pmp.Trajectory, tmp_path: Path) -> None:
    history = pmp.fit(net(), samples(), "squared_error", epochs=1, progress=False)
    pmp.plot_costates(trajectory, tmp_path / "costates.png")
    pmp.plot_plane(trajectory, path=tmp_path / "plane.svg")
    history.plot(tmp_path / "history.png")
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("costates.png", "plane.svg", "history.png"))
    assert pyplot.get_fignums() == []
    with pytest.raises(pmp.ProblemError, match="cannot be written"):
        pmp.plot_plane(trajectory, path=tmp_path / "missing" / "plane.png")


def test_what_is_not_there_is_not_drawn(trajectory: pmp.Trajectory) -> None:
    with pytest.raises(pmp.ProblemError, match="give two from 0 to 1"):
        pmp.plot_plane(trajectory, components=(0, 2))
    with pytest.raises(pmp.ProblemError, match=r"give one a sample, \(24,\)"):
        pmp.plot_plane(trajectory, torch.zeros(3))
    empty = net().trajectory(samples()[0][:0])
    for draw in (pmp.plot_costates, pmp.plot_plane):
        with pytest.raises(pmp.ProblemError, match="no samples"):
            draw(empty)


def test_missing_matplotlib_is_said_with_the_remedy(
    trajectory: pmp.Trajectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(pmp.BackendError, match=r"pip install 'pontryagin\[plot\]'"):
        pmp.plot_costates(trajectory)
