"""The extended method of successive approximations: the weights of all times from one sweep, by minimising H.

A step holds the states x_n and costates p_n of the current weights w- (mean over the batch; P = B p, one costate a
sample) and minimises over the weights of all times

    sum_n E[ S_n + P_{n+1}.Psi_n ]                                             H = L + p.f of every step, times h
    + rho/2 sum_n E[ |x_{n+1} - x_n - Psi_n|^2 / h  +  |P_{n+1} - P_n + d/dx (S_n + P_{n+1}.Psi_n)|^2 / h ]
    + int decay/2 |w|^2 + smoothness/2 |w'|^2 dt  +  epsilon int |w - w-|^2 dt

with Psi_n(x_n, w) and S_n(x_n, w) what step n adds to state and cost. The terms of rho are |x' - f|^2 and |p' + H_x|^2:
how far the held states and costates are from extremals of w. At w- they are zero, and the derivative of the first sum
is that of J, to rounding, for every Runge-Kutta method.

New weights are taken when J has fallen by at least 1e-6 int |w - w-|^2 dt; epsilon then shrinks. Else it grows and the
minimisation is tried again: a large epsilon is a short step along the gradient, which succeeds.

Sources: Li, Chen, Tai and E, Maximum principle based algorithms for deep learning (JMLR 2018), who maximise -H;
Breitenbach and Borzi, A sequential quadratic Hamiltonian method (2019), for epsilon.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pontryagin.errors import NonFiniteError, ProblemError
from pontryagin.neural.all_steps import AllSteps
from pontryagin.neural.batch import matching
from pontryagin.neural.field import random
from pontryagin.neural.odenet import ODENet
from pontryagin.neural.path_cost import PathCost
from pontryagin.neural.trajectory import Trajectory

#: J must fall by this times int |w - w-|^2 dt.
SUFFICIENT = 1e-6

#: What epsilon is multiplied by when J has not fallen, and when it has; and its least value, times the first one.
GROWTH, SHRINKAGE, LEAST = 5.0, 0.5, 1e-4

#: Trials of one step; after them the weights stay what they were.
TRIALS = 12


class EMSA:
    """Trains an ODENet by minimising its augmented Hamiltonian between sweeps; the formula heads this module.

    net           its weights are trained, in place; those that require no gradient stay
    loss          "squared_error", or a function of (x(t1), target), one number a sample (B,) or a scalar, their mean
    rho           weight of the augmentation, from 0
    epsilon       weight of |w - w-|^2 in the first trial; later ones follow
    iterations    of L-BFGS in each minimisation. All steps of the net are evaluated at once by torch.func.vmap,
                  whatever the space of the weights; where it is piecewise constant the sum falls apart into intervals

    Full batches and mini-batches; on one batch J never increases. `accepted` counts steps that moved the weights,
    `trials` all minimisations, `evaluations` those of the field forwards; `gradient_norm` is that of the derivative at
    the last step. Raises ProblemError for nets whose sweep is not the plain one (gradient "reversible" and
    "continuous"), and for dropout in training, under which J is not a function of the weights.
    """

    def __init__(
        self,
        net: ODENet,
        loss: str | Callable[[Tensor, Tensor], Tensor] = "squared_error",
        *,
        rho: float = 1.0,
        epsilon: float = 0.1,
        iterations: int = 10,
    ) -> None:
        if not isinstance(net, ODENet):
            raise ProblemError(f"EMSA trains an ODENet, not a {type(net).__name__}; put other layers into the loss")
        if net.gradient not in ("discrete", "checkpoint"):
            raise ProblemError(f"EMSA needs the costates of a plain sweep; gradient={net.gradient!r} has another map")
        if not any(w.requires_grad for w in net.field.parameters()):
            raise ProblemError("EMSA finds no weights of the net that require a gradient")
        for name, value, least in (("rho", rho, 0.0), ("epsilon", epsilon, math.ulp(0.0))):
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < math.inf:
                raise ProblemError(f"{name} is {value!r}; give a {'positive ' if least else ''}number, finite, from 0")
        if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
            raise ProblemError(f"iterations is {iterations!r}; give a whole number from 1")
        self.net, self.loss, self.rho, self.epsilon, self.iterations = net, loss, float(rho), float(epsilon), iterations
        self._least = LEAST * self.epsilon
        self.accepted = self.trials = self.evaluations = 0
        self.gradient_norm = math.nan

    def step(self, x: Tensor, target: Tensor) -> float:
        """J of the batch after one step: sweep, minimise, accept."""
        if random(self.net.field):
            raise ProblemError("J of a net with dropout in training differs from call to call; EMSA needs net.eval()")
        if len(x) == 0:
            raise ProblemError("EMSA needs a batch of at least one sample")
        before = self._objective(x, target)
        if not math.isfinite(before):
            raise NonFiniteError(f"the objective of the batch is {before} before the step; look at the loss")
        sweep = self.net.trajectory(x, lambda end: self._loss(end, target))
        old = {name: w.detach().clone() for name, w in self.net.field.named_parameters()}
        self.evaluations += self.net.evaluations
        self.gradient_norm = self._norm(sweep)
        hamiltonian = _Hamiltonian(self.net, sweep, old, self.rho)
        epsilon = self.epsilon
        kept = old
        try:
            for _ in range(TRIALS):
                new = self._minimised(hamiltonian, old, epsilon)
                self._assign(new)
                after, moved = self._tried(x, target), hamiltonian.distance(new)
                if after <= before - SUFFICIENT * moved:
                    kept = new
                    self.accepted += 1
                    self.epsilon = max(SHRINKAGE * epsilon, self._least)
                    return after
                epsilon *= GROWTH
            return before
        finally:  # a trial that was refused, or interrupted, leaves no trace
            if kept is old:
                self._assign(old)

    def _minimised(self, hamiltonian: _Hamiltonian, old: dict[str, Tensor], epsilon: float) -> dict[str, Tensor]:
        """Weights after a few iterations of L-BFGS from the old ones."""
        self.trials += 1
        new = {name: w.clone().requires_grad_(name in hamiltonian.trained) for name, w in old.items()}
        leaves = [new[name] for name in hamiltonian.trained]
        search = torch.optim.LBFGS(leaves, max_iter=self.iterations, line_search_fn="strong_wolfe")

        def closure() -> float:
            self.evaluations += self.net.evaluations
            value = hamiltonian.augmented(new) + epsilon * hamiltonian.distance(new)
            for leaf, slope in zip(leaves, torch.autograd.grad(value, leaves, materialize_grads=True), strict=True):
                leaf.grad = slope
            return float(value.detach())

        search.step(closure)  # type: ignore[no-untyped-call]
        return {name: w.detach() for name, w in new.items()}

    def _objective(self, x: Tensor, target: Tensor) -> float:
        self.evaluations += self.net.evaluations
        with torch.no_grad():
            return float(self.net.objective(x, target, self.loss))

    def _tried(self, x: Tensor, target: Tensor) -> float:
        """J, infinite where a trial has left the finite numbers."""
        try:
            value = self._objective(x, target)
        except NonFiniteError:
            return math.inf
        return math.inf if math.isnan(value) else value

    def _loss(self, end: Tensor, target: Tensor) -> Tensor:
        if callable(self.loss):
            return self.loss(end, target)
        return (end - matching(target, end)).square().flatten(1).sum(1)

    @torch.no_grad()
    def _assign(self, weights: dict[str, Tensor]) -> None:
        for name, w in self.net.field.named_parameters():
            w.copy_(weights[name])

    def _norm(self, sweep: Trajectory) -> float:
        """|dJ/dw| of the coefficients that are trained."""
        integrals = torch.from_numpy(self.net.spline.integrals)
        squares = [
            float((_rows(sweep.weight_gradient[name]) * integrals.to(w)[:, None]).square().sum())
            for name, w in self.net.field.named_parameters()
            if w.requires_grad
        ]
        return math.sqrt(sum(squares))


class _Hamiltonian:
    """What a step minimises, with the states and costates of one sweep."""

    def __init__(self, net: ODENet, sweep: Trajectory, old: dict[str, Tensor], rho: float) -> None:
        self.steps = AllSteps(net._flow())
        self.trained = [name for name, w in net.field.named_parameters() if w.requires_grad]
        self.cost = net.running_cost if isinstance(net.running_cost, PathCost) else None
        self.spline, self.old, self.rho = net.spline, old, rho
        self.batch = sweep.state.shape[0]
        self.state = sweep.state.transpose(0, 1)  # (N+1, B, ...)
        self.costate = self.batch * sweep.costate.transpose(0, 1)
        self.length = self.steps.length.to(self.state).reshape(-1, *[1] * (self.state.dim() - 1))
        self.mass = torch.from_numpy(self.spline.mass)

    def augmented(self, weights: dict[str, Tensor]) -> Tensor:
        """The scalar of the module's head, without epsilon."""
        x, later, p = self.state[:-1], self.state[1:], self.costate
        if self.rho:
            x = x.detach().requires_grad_()
        added, spent = self.steps(x, weights)
        H = spent.sum() + (p[1:] * added).sum()
        total = H
        if self.rho:
            (H_x,) = torch.autograd.grad(H, x, create_graph=True, materialize_grads=True)
            of_state = (later - x.detach() - added).square() / self.length
            of_costate = (p[1:] - p[:-1] + H_x).square() / self.length
            total = H + 0.5 * self.rho * (of_state.sum() + of_costate.sum())
        total = total / self.batch
        by_weights = None if self.cost is None else self.cost.on_weights(weights, self.spline)
        return total if by_weights is None else total + by_weights

    def distance(self, weights: dict[str, Tensor]) -> Tensor:
        """Scalar int |w - w-|^2 dt of the weights that are trained."""
        moves = [_rows(weights[name] - self.old[name]) for name in self.trained]
        return torch.stack([(move * (self.mass.to(move) @ move)).sum() for move in moves]).sum()


def _rows(w: Tensor) -> Tensor:
    """(K, number of components), of parameters without axes, too."""
    return w.reshape(len(w), w[0].numel())
