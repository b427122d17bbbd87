"""The record of a training: one row an epoch, and how it ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from os import PathLike
from typing import Any

from pontryagin.errors import unknown_name
from pontryagin.figures import finished
from pontryagin.neural.pictures import axes_row

#: Rows of a printed table at most, besides the best and the last.
ROWS = 24


class Ending(Enum):
    """How a training ended; the value is a sentence."""

    COMPLETE = "All epochs were trained."
    PATIENCE = "The score has not improved for as many epochs as patience allows."
    STOPPED = "The callback ended the training."
    INTERRUPTED = "The training was interrupted: the weights are the best ones found until then."

    def __str__(self) -> str:
        return f"{self.name.lower()}: {self.value}"


@dataclass(frozen=True)
class Epoch:
    """One pass over the data; means over samples, NaN where there is none."""

    epoch: int  # from 1
    objective: float  # J, loss and running costs, of each batch when it was met
    validation: float  # the loss alone after the epoch, on the validation data
    metrics: Mapping[str, float]  # after the epoch, on the validation data or else on the training data
    learning_rate: float  # of the first group of parameters
    gradient_norm: float  # |dJ/dw|, plain derivative in all parameters, mean over the batches
    evaluations: int  # of the field by training, forwards, each on a batch
    seconds: float

    def __getitem__(self, name: str) -> float:
        """A column by name: a field of this record, or a metric."""
        if name in self.metrics:
            return self.metrics[name]
        if name not in COLUMNS:
            raise unknown_name("column", name, (*COLUMNS, *self.metrics))
        return float(getattr(self, name))


#: Columns that every row has, their heading, and how their numbers are written.
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "epoch": ("epoch", "{:.0f}".format),
    "objective": ("objective", "{:.6g}".format),
    "validation": ("validation", "{:.6g}".format),
    "learning_rate": ("rate", "{:.2g}".format),
    "gradient_norm": ("gradient", "{:.1e}".format),
    "evaluations": ("NFE", "{:.0f}".format),
    "seconds": ("seconds", "{:.2f}".format),
}


@dataclass(frozen=True)
class History:
    """What `fit` answers. history["validation"] is a column over the epochs, print(history) a table."""

    epochs: tuple[Epoch, ...]
    best: int  # the epoch whose weights the model has, 0: none was better than the start or complete
    status: Ending

    def __len__(self) -> int:
        return len(self.epochs)

    def __getitem__(self, name: str) -> list[float]:
        """A column: objective, validation, learning_rate, gradient_norm, evaluations, seconds, or a metric."""
        return [row[name] for row in self.epochs]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of what was measured besides the loss: accuracy, and what was asked for."""
        return tuple(self.epochs[0].metrics) if self.epochs else ()

    def __str__(self) -> str:
        head = f"training: {len(self)} epochs, {self.status}"
        if not self.epochs:
            return head
        before, after = list(COLUMNS)[:3], list(COLUMNS)[3:]
        columns = [(name, *COLUMNS[name]) for name in before]
        columns += [(name, name, "{:.4g}".format) for name in self.metrics]
        columns += [(name, *COLUMNS[name]) for name in after]
        columns = [column for column in columns if not all(map(math.isnan, self[column[0]]))]
        table = [[heading for _, heading, _ in columns]]
        table += [["-" if math.isnan(row[n]) else text(row[n]) for n, _, text in columns] for row in self._shown()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        marks = [" ", *("*" if row.epoch == self.best else " " for row in self._shown())]
        lines = [
            f"{mark} " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            for mark, row in zip(marks, table, strict=True)
        ]
        return "\n".join([head, *lines, *["* the epoch whose weights are kept"] * bool(self.best)])

    def plot(self, path: str | PathLike[str] | None = None) -> Any:
        """A matplotlib figure of loss, metrics, gradient norm and NFE over the epochs; written to `path` where given.

        Raises BackendError where matplotlib is not installed, ProblemError where the file cannot be written.
        """
        panels = [("loss", ["objective", "validation"]), *((name, [name]) for name in self.metrics)]
        panels += [("gradient norm", ["gradient_norm"]), ("field evaluations (NFE)", ["evaluations"])]
        figure, axes = axes_row(len(panels))
        for axis, (title, names) in zip(axes, panels, strict=True):
            self._draw(axis, title, names)
        return finished(figure, path)

    def _draw(self, axis: Any, title: str, names: list[str]) -> None:
        drawn = [name for name in names if not all(map(math.isnan, self[name]))]
        for name in drawn:
            axis.plot(self["epoch"], self[name], label="training" if name == "objective" else name, linewidth=1.6)
        if self.best and drawn:
            axis.axvline(self.best, color="0.5", linewidth=0.9, linestyle=(0, (4, 3)))
        values = [value for name in drawn for value in self[name] if not math.isnan(value)]
        if title in ("loss", "gradient norm") and values and min(values) > 0:
            axis.set_yscale("log")
        elif title.startswith("field"):
            axis.set_ylim(0, 1.1 * max(values, default=1.0) or 1.0)
        if len(drawn) > 1:
            axis.legend(frameon=False, fontsize=9)
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xlabel("epoch")

    def _shown(self) -> list[Epoch]:
        every = -(-len(self) // ROWS)
        last = len(self) - 1
        return [row for i, row in enumerate(self.epochs) if i % every == 0 or i == last or row.epoch == self.best]
