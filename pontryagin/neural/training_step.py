"""One step of training on a batch: J and its derivative, and what moves the weights along it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pontryagin.errors import NonFiniteError, ProblemError, unknown_name
from pontryagin.neural.batch import matching, reduced
from pontryagin.neural.costs import running_costs
from pontryagin.neural.emsa import EMSA
from pontryagin.neural.gradient_update import GradientUpdate, odenets
from pontryagin.neural.odenet import ODENet

#: "squared_error", or (output, target) -> a number of each sample (B,), or their mean.
Loss = str | Callable[[Tensor, Tensor], Tensor]

#: Learning rates of optimisers by name, where none is given; emsa has none.
RATES = {"adam": 1e-3, "sgd": 1e-2, "lbfgs": 1.0, "gradient": 0.1, "emsa": math.nan}


@dataclass(frozen=True)
class Taken:
    """What one step was."""

    objective: float  # J before it; of emsa, after it
    gradient_norm: float
    evaluations: int


def evaluated(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The output (B, ...), and the means over the batch of loss and running costs."""
    with running_costs() as costs:
        output = model(x)
    if not isinstance(output, Tensor):
        raise ProblemError(f"the model answers a {type(output).__name__}; fit trains models that answer one tensor")
    value = loss(output, y) if callable(loss) else (output - matching(y, output)).square().flatten(1).sum(1)
    cost = torch.stack([one.mean() for one in costs]).sum() if costs else output.new_zeros(())
    return output, reduced(value, len(output), "mean"), cost


class Descent:
    """Steps of a torch optimiser, which may ask for J and its derivative several times."""

    def __init__(self, model: nn.Module, loss: Loss, optimizer: torch.optim.Optimizer) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.nets = odenets(model)

    @property
    def learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0].get("lr", math.nan))

    def __call__(self, x: Tensor, y: Tensor) -> Taken:
        values: list[float] = []
        norms: list[float] = []

        def closure() -> float:
            self.model.zero_grad(set_to_none=True)
            self.optimizer.zero_grad(set_to_none=True)  # it may have parameters of the loss, too
            J = self._objective(x, y)
            values.append(float(J.detach()))
            if not math.isfinite(values[-1]):
                raise NonFiniteError(f"the objective is {values[-1]}, and not by a state of a net; look at the loss")
            J.backward()  # type: ignore[no-untyped-call]
            if not norms:
                norms.append(self._gradient_norm())
            return values[-1]

        self.optimizer.step(closure)
        evaluations = len(values) * sum(net.evaluations for net in self.nets)
        return Taken(values[0], norms[0], evaluations)

    def _objective(self, x: Tensor, y: Tensor) -> Tensor:
        if isinstance(self.model, ODENet) and isinstance(self.loss, str):
            value: Tensor = self.model.objective(x, y, self.loss)  # fused: value and gradient in one pass
            return value
        _, loss, cost = evaluated(self.model, self.loss, x, y)
        return loss + cost

    def _gradient_norm(self) -> float:
        norms = [w.grad.norm() for w in self.model.parameters() if w.grad is not None]
        return float(torch.stack(norms).norm()) if norms else 0.0


class Successive:
    """Steps of EMSA."""

    learning_rate = math.nan

    def __init__(self, emsa: EMSA) -> None:
        self.emsa = emsa

    def __call__(self, x: Tensor, y: Tensor) -> Taken:
        before = self.emsa.evaluations
        J = self.emsa.step(x, y)
        return Taken(J, self.emsa.gradient_norm, self.emsa.evaluations - before)


Step = Descent | Successive


def training_step(model: nn.Module, loss: Loss, optimizer: Any, learning_rate: float | None) -> Step:
    """What `fit` takes for an optimiser. Raises ProblemError for what is none."""
    if isinstance(loss, str) and loss != "squared_error":
        raise unknown_name("loss", loss, ("squared_error",))
    if not isinstance(loss, str) and not callable(loss):
        raise ProblemError(f"the loss is a {type(loss).__name__}; give 'squared_error' or a function (output, target)")
    if learning_rate is not None and (not isinstance(optimizer, str) or optimizer == "emsa"):
        raise ProblemError("learning_rate= belongs to optimisers by name that have one; set it where yours is made")
    if isinstance(optimizer, EMSA):
        if optimizer.net is not model or optimizer.loss != loss:
            raise ProblemError("this EMSA belongs to another net, or to another loss, than is to be fitted")
        return Successive(optimizer)
    if isinstance(optimizer, torch.optim.Optimizer):
        return Descent(model, loss, optimizer)
    if not isinstance(optimizer, str):
        return Descent(model, loss, _made(model, optimizer))
    if optimizer not in RATES:
        raise unknown_name("optimizer", optimizer, RATES)
    if optimizer == "emsa":
        if not isinstance(model, ODENet):
            raise ProblemError("optimizer='emsa' trains an ODENet by itself, not a model around it")
        return Successive(EMSA(model, loss))
    return Descent(model, loss, _named(model, optimizer, RATES[optimizer] if learning_rate is None else learning_rate))


def _named(model: nn.Module, name: str, rate: float) -> torch.optim.Optimizer:
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
        raise ProblemError(f"learning_rate is {rate!r}; give a positive number")
    if name == "gradient":
        return GradientUpdate(model, rate)
    weights = [w for w in model.parameters() if w.requires_grad]
    if name == "adam":
        return torch.optim.Adam(weights, rate)
    if name == "sgd":
        return torch.optim.SGD(weights, rate, momentum=0.9)
    return torch.optim.LBFGS(weights, rate, line_search_fn="strong_wolfe")


def _made(model: nn.Module, make: Any) -> torch.optim.Optimizer:
    made = make([w for w in model.parameters() if w.requires_grad]) if callable(make) else None
    if not isinstance(made, torch.optim.Optimizer):
        raise ProblemError(
            f"optimizer is {make!r}; give one of {', '.join(RATES)}, a torch optimiser, or a function of the "
            "parameters that answers one"
        )
    return made
