"""The gradient method in its plainest form, w <- w - eta (L_w + p f_w), as an optimiser of PyTorch.

The derivative of J in the coefficient w_k, divided by int phi_k dt, is the L2 gradient: values of the function of time
L_w + p f_w. A step moves the function w(t), whatever grid it is written on, where a step along plain derivatives is the
shorter the finer the grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pontryagin.errors import ProblemError
from pontryagin.neural.odenet import ODENet


class GradientUpdate(torch.optim.Optimizer):
    """w <- w - eta g, with g the L2 gradient of J in the weights w(t) of every ODENet in `model`.

    Parameters outside of ODENets move along their plain derivative. The rate is "lr" of each group of parameters, as
    schedulers expect it. Raises ProblemError for a model without parameters or a rate that is not positive.
    """

    def __init__(self, model: nn.Module, eta: float) -> None:
        if isinstance(eta, bool) or not isinstance(eta, int | float) or not 0 < eta < math.inf:
            raise ProblemError(f"eta is {eta!r}; give a positive number")
        if not isinstance(model, nn.Module) or next(model.parameters(), None) is None:
            raise ProblemError("GradientUpdate takes a module that has parameters, not the parameters themselves")
        super().__init__(_groups(model), {"lr": float(eta)})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; answers what the closure does, which is called first."""
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        for group in self.param_groups:
            integrals = group["integrals"]
            for w in group["params"]:
                if w.grad is not None:
                    w.sub_(w.grad if integrals is None else l2_gradient(w.grad, integrals), alpha=group["lr"])
        return value


def l2_gradient(derivative: Tensor, integrals: tuple[float, ...]) -> Tensor:
    """(K, ...) plain derivatives, each divided by the integral of its basis function."""
    return derivative / derivative.new_tensor(integrals).reshape(-1, *[1] * (derivative.dim() - 1))


def odenets(model: nn.Module) -> list[ODENet]:
    """Those in the model, each once."""
    return [module for module in model.modules() if isinstance(module, ODENet)]


def _groups(model: nn.Module) -> list[dict[str, Any]]:
    """Parameters of each net with the integrals of its basis (None: what is in no net)."""
    groups: list[dict[str, Any]] = []
    seen: set[int] = set()

    def add(module: nn.Module, integrals: tuple[float, ...] | None) -> None:
        fresh = [w for w in module.parameters() if id(w) not in seen]
        seen.update(map(id, fresh))
        if fresh:
            groups.append({"params": fresh, "integrals": integrals})

    for net in odenets(model):
        add(net, tuple(net.spline.integrals.tolist()))
    add(model, None)
    return groups
