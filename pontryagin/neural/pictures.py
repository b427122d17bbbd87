"""Pictures of what a net does: costates over time, trajectories of features. They need the extra `plot`."""

from __future__ import annotations

from os import PathLike
from typing import Any

import torch
from torch import Tensor

from pontryagin.errors import ProblemError
from pontryagin.figures import COLOURS, finished, plotter
from pontryagin.neural.trajectory import Trajectory

#: Curves in a plane; of a larger batch, samples at equal distances are drawn.
CURVES = 300

#: Shares of the batch that the bands hold, and how dense they are.
BANDS = ((0.9, 0.15), (0.5, 0.3))


def plot_costates(trajectory: Trajectory, path: str | PathLike[str] | None = None) -> Any:
    """A matplotlib figure: |p(t)| of the samples and H(t) beside it; mean, and bands of half and nine tenths of them.

    Costates and H are those of `trajectory.objective`: with the mean over B samples each carries the factor 1/B.
    Written to `path` where given. Raises BackendError where matplotlib is not installed, ProblemError where the file
    cannot be written, or the batch is empty.
    """
    if trajectory.state.shape[0] == 0:
        raise ProblemError("the trajectory has no samples to draw")
    figure, axes = axes_row(2)
    norms = trajectory.costate.flatten(2).double().norm(dim=2).cpu()
    _spread(axes[0], trajectory.time, norms, COLOURS[0])
    axes[0].set_title("costate $|p|$", fontsize=10, loc="left")
    axes[0].set_ylim(bottom=0)
    _spread(axes[1], trajectory.time, trajectory.hamiltonian.double().cpu(), COLOURS[1])
    axes[1].set_title("Hamiltonian $H = L + p \\cdot f$", fontsize=10, loc="left")
    for axis in axes:
        axis.set_xlabel("time")
    axes[0].legend(frameon=False, fontsize=9)
    return finished(figure, path)


def plot_plane(
    trajectory: Trajectory,
    labels: Tensor | None = None,
    path: str | PathLike[str] | None = None,
    components: tuple[int, int] = (0, 1),
) -> Any:
    """A matplotlib figure: the trajectory of each sample in the plane of two components, coloured by `labels` (B,).

    A hollow mark is the input, a full one the output. States of several axes are flattened. Written to `path` where
    given. Raises BackendError where matplotlib is not installed, ProblemError for components or labels that the
    trajectory does not have, or a file that cannot be written.
    """
    states = trajectory.state.flatten(2).double().cpu()
    batch, _, width = states.shape
    i, j = components
    if not (0 <= i < width and 0 <= j < width):
        raise ProblemError(f"components {components} of a state with {width}; give two from 0 to {width - 1}")
    if labels is not None and labels.shape != (batch,):
        raise ProblemError(f"the labels are {tuple(labels.shape)}; give one a sample, ({batch},)")
    if batch == 0:
        raise ProblemError("the trajectory has no samples to draw")
    figure, (axis,) = axes_row(1)
    groups = torch.zeros(batch, dtype=torch.int64) if labels is None else labels.detach().cpu()
    shown = torch.linspace(0, batch - 1, min(batch, CURVES)).round().long()
    alpha = 0.7 if len(shown) <= 60 else 0.4
    for k, label in enumerate(sorted(set(groups.tolist()))):
        x, y = states[shown[groups[shown] == label]][..., [i, j]].unbind(-1)
        colour = COLOURS[k % len(COLOURS)]
        axis.plot(x.T, y.T, color=colour, alpha=alpha, linewidth=1.0)
        axis.scatter(x[:, 0], y[:, 0], s=12, facecolors="white", edgecolors=colour, linewidths=0.9, zorder=3)
        axis.scatter(x[:, -1], y[:, -1], s=14, color=colour, zorder=4, label=f"{label:g}")
    if labels is not None:
        axis.legend(frameon=False, fontsize=9, title="label")
    axis.set_xlabel(f"$x_{{{i}}}$")
    axis.set_ylabel(f"$x_{{{j}}}$")
    axis.set_title("hollow: input, full: output", fontsize=10, loc="left")
    return finished(figure, path)


def axes_row(count: int) -> tuple[Any, Any]:
    """A figure of panels side by side. Raises BackendError where matplotlib is not installed."""
    width = 6.0 if count == 1 else 4.2 * count
    figure, axes = plotter().subplots(1, count, figsize=(width, 5.0 if count == 1 else 3.4), layout="constrained")
    row = [axes] if count == 1 else list(axes)
    for axis in row:
        axis.grid(True, color="0.9", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, row


def _spread(axis: Any, time: Tensor, values: Tensor, colour: str) -> None:
    """Mean over the batch of values (B, N+1), and bands of shares of it."""
    for share, alpha in BANDS:
        low, high = values.quantile(torch.tensor([(1 - share) / 2, (1 + share) / 2], dtype=values.dtype), dim=0)
        name = f"{share:.0%} of samples"
        axis.fill_between(time, low, high, color=colour, alpha=alpha, linewidth=0, label=name)
    axis.plot(time, values.mean(0), color=colour, linewidth=1.8, label="mean")
    axis.margins(x=0.01)
