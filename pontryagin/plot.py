"""One picture of a solution: state, costate, control and switching function over time. Needs the extra `plot`."""

from __future__ import annotations

from os import PathLike
from typing import Any

import torch
from torch import Tensor

from pontryagin.answer import Answer
from pontryagin.figures import COLOURS, finished, plotter
from pontryagin.show import headline

#: Problems of a batch that are drawn.
SHOWN = 5

#: Points in time of each curve.
POINTS = 600

#: Of the components after the colours have run out.
DASHES = ("-", "--", ":", "-.")


def plot(answer: Answer, path: str | PathLike[str] | None = None) -> Any:
    """A matplotlib figure; written to `path` where given. Of a batch, the first few problems, drawn over each other.

    Raises BackendError where matplotlib is not installed, ProblemError where the file cannot be written.
    """
    figure, axes = plotter().subplots(2, 2, figsize=(11, 7), sharex=True, layout="constrained")
    parts = [answer] if answer.batch is None else [answer[b] for b in range(min(SHOWN, answer.batch))]
    for index, part in enumerate(parts):
        _draw(axes, part, index == 0, alpha=1.0 if len(parts) == 1 else 0.65)
    _finish(axes, answer)
    more = "" if answer.batch is None or answer.batch <= SHOWN else f" (first {SHOWN} of {answer.batch})"
    figure.suptitle(headline(answer) + more, fontsize=11)
    return finished(figure, path)


def _draw(axes: Any, answer: Answer, labelled: bool, alpha: float) -> None:
    """The curves of one problem."""
    first, last = float(answer.time[0]), float(answer.time[-1])
    t = torch.linspace(first, last, POINTS, dtype=torch.float64)
    style: dict[str, Any] = {"alpha": alpha, "linewidth": 1.6}
    _curves(axes[0, 0], t, answer.state_at(t), "x", labelled, style)
    _curves(axes[0, 1], t, answer.costate_at(t), "p", labelled, style)
    nodes = answer.time
    constant = answer.control.kind == "constant"
    control, gradient = answer.control.values, answer.control_gradient
    if constant:
        control = torch.cat((control, control[-1:]))
        nodes = (nodes[:-1] + nodes[1:]) / 2
        style = {**style, "drawstyle": "steps-post"}
    _curves(axes[1, 0], answer.time, control, "u", labelled, style)
    _curves(axes[1, 1], nodes, gradient, "H_u", labelled, {**style, "drawstyle": "default"})


def _curves(axis: Any, t: Tensor, values: Tensor, name: str, labelled: bool, style: dict[str, Any]) -> None:
    for j, column in enumerate(values.detach().cpu().T):
        label = f"${name}_{{{j}}}$" if "_" not in name else f"${name[:-1]}{{{name[-1]}_{j}}}$"
        look = {"color": COLOURS[j % len(COLOURS)], "linestyle": DASHES[j // len(COLOURS) % len(DASHES)]}
        axis.plot(t.cpu(), column, label=label if labelled else None, **look, **style)


def _finish(axes: Any, answer: Answer) -> None:
    titles = (("state", "costate"), ("control", "switching function $H_u$"))
    for i in range(2):
        for j in range(2):
            axis = axes[i, j]
            axis.set_title(titles[i][j], fontsize=10, loc="left")
            axis.grid(True, color="0.9", linewidth=0.8)
            axis.set_axisbelow(True)
            axis.spines[["top", "right"]].set_visible(False)
            axis.margins(x=0.01)
            columns = len(axis.get_legend_handles_labels()[0])
            if columns > 1:
                axis.legend(frameon=False, fontsize=9, ncols=2 if columns > 4 else 1)
    for j in range(2):
        axes[1, j].set_xlabel("time")
    axes[1, 1].axhline(0.0, color="0.5", linewidth=0.8)
    for j, (low, high) in enumerate(
        zip(answer.control_set.low.tolist(), answer.control_set.high.tolist(), strict=True)
    ):
        for bound in (low, high):
            if abs(bound) != torch.inf:
                axes[1, 0].axhline(
                    bound, color=COLOURS[j % len(COLOURS)], linewidth=0.9, linestyle=(0, (4, 3)), alpha=0.7
                )
