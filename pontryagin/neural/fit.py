"""Training in one call: epochs over the data, the best weights kept, a history answered.

for each epoch:  for each batch:  w <- step of the optimiser on J = E[loss(net(x), y) + int L dt];   then a score
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from typing import Any

import torch
from rich import progress as progress_bar
from rich.console import Console
from torch import nn

from pontryagin.errors import NonFiniteError, ProblemError
from pontryagin.neural.batches import Batches
from pontryagin.neural.history import Ending, Epoch, History
from pontryagin.neural.score import Best, Metric, scored
from pontryagin.neural.training_step import Loss, Step, Taken, training_step


def fit(
    model: nn.Module,
    data: Any,
    loss: Loss,
    *,
    validation: Any = None,
    epochs: int = 100,
    optimizer: Any = "adam",
    learning_rate: float | None = None,
    batch_size: int | None = 64,
    patience: int | None = None,
    checkpoint: str | PathLike[str] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    progress: bool = True,
    seed: int | None = None,
    callback: Callable[[Epoch], Any] | None = None,
) -> History:
    """Train `model`, an ODENet or a module that contains some, in place. Running costs of its nets are added.

    data            a DataLoader, a Dataset, or tensors (x, y); `validation` alike
    loss            "squared_error", |output - y|^2 summed over components, or a function of (output, y) that answers
                    one number a sample (B,) or their mean
    optimizer       "adam"; "sgd" with momentum 0.9; "lbfgs"; "gradient", the GradientUpdate; "emsa", for an ODENet;
                    an EMSA; a torch optimiser; or a function of the parameters that answers one
    learning_rate   of an optimiser by name: 1e-3 for adam, 1e-2 for sgd, 1 for lbfgs, 0.1 for gradient when None
    batch_size      of a Dataset or tensors; None is all samples at once, which lbfgs and emsa like best
    patience        epochs without a better score, after which training ends
    checkpoint      a path: the best weights, written as .npz whenever they are better; `load_weights` reads them
    metrics         functions of (output, y) by name, measured after each epoch. Where targets are integer classes,
                    accuracy is measured without being asked for
    progress        a bar on standard error
    seed            of the order of samples; None takes PyTorch's own random numbers
    callback        called with each Epoch; True ends the training

    After each epoch a score is taken in evaluation mode: the mean loss on the validation data or, where none is given,
    J on the training data. At the end the model has the weights with the least score. Ctrl-C ends the same way (in the
    first epoch, with the weights as they are), and `History.status` says so. Training runs in the mode that the model
    is in, model.train() or model.eval().

    Raises ProblemError for wrong arguments, and NonFiniteError with epoch and batch where a number is not finite; the
    model has its best weights then, too.
    """
    _checked(model, epochs, patience, callback)
    device = next(model.parameters()).device
    order = None if seed is None else torch.Generator().manual_seed(seed)
    step = training_step(model, loss, optimizer, learning_rate)
    batches = Batches(data, batch_size, device, shuffle=True, order=order)
    judged = Batches(data if validation is None else validation, batch_size, device, shuffle=False)
    best = Best(model, patience, checkpoint)
    rows: list[Epoch] = []
    status = Ending.COMPLETE
    with _bar(epochs, progress) as told:
        try:
            while status is Ending.COMPLETE and len(rows) < epochs:
                epoch, start, rate = len(rows) + 1, time.perf_counter(), step.learning_rate
                taken = _trained(step, batches, epoch)
                with _located(f"after epoch {epoch}"):
                    score = scored(model, loss, judged, metrics or {})
                rows.append(
                    Epoch(
                        epoch=epoch,
                        objective=taken.objective,
                        validation=math.nan if validation is None else score.loss,
                        metrics=score.metrics,
                        learning_rate=rate,
                        gradient_norm=taken.gradient_norm,
                        evaluations=taken.evaluations,
                        seconds=time.perf_counter() - start,
                    )
                )
                best.offer(score.loss + (score.cost if validation is None else 0.0), epoch)
                told(rows[-1])
                if callback is not None and callback(rows[-1]):
                    status = Ending.STOPPED
                elif best.exhausted(epoch):
                    status = Ending.PATIENCE
        except KeyboardInterrupt:
            status = Ending.INTERRUPTED
        except NonFiniteError:
            best.restore()
            raise
    if rows:
        best.restore()
    return History(tuple(rows), best.epoch, status)


def _trained(step: Step, batches: Batches, epoch: int) -> Taken:
    """One pass over the data: means of J over samples and of gradient norms over batches, evaluations in all."""
    steps: list[Taken] = []
    sizes: list[int] = []
    for number, (x, y) in enumerate(batches, 1):
        with _located(f"epoch {epoch}, batch {number}"):
            steps.append(step(x, y))
        sizes.append(len(x))
    if not sum(sizes):
        raise ProblemError("the data have no samples")
    objective = sum(n * taken.objective for n, taken in zip(sizes, steps, strict=True)) / sum(sizes)
    norm = sum(taken.gradient_norm for taken in steps) / len(steps)
    return Taken(objective, norm, sum(taken.evaluations for taken in steps))


@contextmanager
def _located(where: str) -> Iterator[None]:
    """Where in the training a number was not finite is added to the message."""
    try:
        yield
    except NonFiniteError as error:
        raise NonFiniteError(f"{where}: {error}") from error


@contextmanager
def _bar(epochs: int, shown: bool) -> Iterator[Callable[[Epoch], None]]:
    """A bar of epochs on standard error, and what moves it on."""
    if not shown:
        yield lambda row: None
        return
    bar = progress_bar.Progress(
        progress_bar.TextColumn("epoch"),
        progress_bar.BarColumn(),
        progress_bar.MofNCompleteColumn(),
        progress_bar.TextColumn("{task.fields[note]}"),
        progress_bar.TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    task = bar.add_task("", total=epochs, note="")

    def told(row: Epoch) -> None:
        values = {"objective": row.objective, "validation": row.validation, **row.metrics}
        note = ", ".join(f"{name} {value:.4g}" for name, value in values.items() if not math.isnan(value))
        bar.update(task, completed=row.epoch, note=note)

    with bar:
        yield told


def _checked(model: Any, epochs: Any, patience: Any, callback: Any) -> None:
    if not isinstance(model, nn.Module) or not any(w.requires_grad for w in model.parameters()):
        raise ProblemError("fit trains a torch.nn.Module with parameters that require a gradient")
    for name, value in (("epochs", epochs), ("patience", patience)):
        if name == "patience" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ProblemError(f"{name} is {value!r}; give a whole number from 1")
    if callback is not None and not callable(callback):
        raise ProblemError(f"callback is a {type(callback).__name__}; give a function of one Epoch")
