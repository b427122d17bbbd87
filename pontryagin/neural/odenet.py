"""The net: a batch of initial states in, their states at the end of the horizon out, weights in time as parameters.

    x' = f(t, x, w(t)),  x(t0) = input,  output = x(t1),      J = E[phi(x(t1)) + int L(t, x, w) dt]

The weights w are a control that the batch shares. Training is the optimal control problem of minimising J over w: the
state equation runs forward, p' = -L_x - p f_x back, and w <- w - eta (L_w + p f_w). With scheme "euler", steps of
length one and weights per step, the net is a residual network and the recursion its back-propagation.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pontryagin.errors import NonFiniteError, NotYetSupported, ProblemError, unknown_name
from pontryagin.neural import costs, finite
from pontryagin.neural.batch import Reduction, checked_reduction, factor, horizon_of, matching, reduced, started
from pontryagin.neural.choice import BACKENDS, choose, obstacle_on_gpu
from pontryagin.neural.field import FieldCall, coefficients, map_coefficients, takes_time, used
from pontryagin.neural.flow import Flow
from pontryagin.neural.fused import DTYPES, FusedFlow
from pontryagin.neural.path_cost import PathCost, RunningCost
from pontryagin.neural.recognise import Perceptron, hooked, perceptron, reads_time
from pontryagin.neural.reversible import continuous, reversible
from pontryagin.neural.stage_weights import StageWeights
from pontryagin.neural.trajectory import Trajectory, trajectory
from pontryagin.neural.weight_spline import WeightSpline, weight_spline
from pontryagin.tableau import Tableau, tableau_named
from pontryagin.time_grid import TimeGrid

GRADIENTS = ("discrete", "checkpoint", "reversible", "continuous")


class ODENet(nn.Module):
    """The state at t1 of x' = f(t, x, w(t)) from each row of a batch, a module like any other.

    field           a module f(t, x) or f(x) on batches, shape (B, ...) to the same; copied. An nn.Sequential whose
                    first layer takes one component more than its last gives reads the time in the last column
    horizon         (t0, t1)
    steps           equal steps of the state, or a TimeGrid
    scheme          the Runge-Kutta method, a name or a Tableau
    weights         "constant"; "per_step", as in a residual network; "linear", with knots at the nodes; or a
                    WeightSpline on a grid of its own. Parameters have the names of the field and a leading axis of K
                    coefficients, which all start at the field's own value
    running_cost    None, a PathCost, or a function L(t, x, w) -> (B,), w the weights at t by name
    augment         zeros appended to the state (to axis 1 of it) before the first step; the output keeps them
    gradient        "discrete": exact. "checkpoint": exact, memory for about 2 sqrt(N) steps. "reversible": exact for
                    the reversible map of McCallum and Foster (2024), another one than the plain scheme; memory does
                    not grow with N, rounding grows by 0.999^-N. "continuous": the adjoint equation integrated back,
                    the derivative of the differential equation and not of the number computed
    backend         "torch"; "fused", for perceptrons in float32 and float64 with exact gradients, on the CPU and on
                    NVIDIA GPUs; or "auto", fused where it can be, and a warning once where not

    Training by any torch optimiser uses plain derivatives. Derivatives of derivatives exist on the torch path with
    gradient "discrete" and "checkpoint". Parameters that the field does not use receive zeros; those that require no
    gradient stay as they are. One mask of dropout holds for a whole forward pass.

    Raises ProblemError for what cannot be such a net, NonFiniteError with sample and time where a state is not finite.

    Sources: Chen, Rubanova, Bettencourt and Duvenaud (2018); E, A proposal on machine learning via dynamical systems
    (2017); Dupont, Doucet and Teh (2019) for `augment`.
    """

    def __init__(
        self,
        field: nn.Module,
        horizon: tuple[float, float] = (0.0, 1.0),
        steps: int | TimeGrid = 20,
        scheme: str | Tableau = "rk4",
        weights: str | WeightSpline = "constant",
        running_cost: PathCost | RunningCost | None = None,
        augment: int = 0,
        gradient: str = "discrete",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if gradient not in GRADIENTS:
            raise unknown_name("gradient", gradient, GRADIENTS)
        if backend not in BACKENDS:
            raise unknown_name("backend", backend, BACKENDS)
        if isinstance(augment, bool) or not isinstance(augment, int) or augment < 0:
            raise ProblemError(f"augment={augment!r}: give the number of components to add, from 0")
        if running_cost is not None and not isinstance(running_cost, PathCost) and not callable(running_cost):
            raise ProblemError(
                f"running_cost is a {type(running_cost).__name__}; give a PathCost or L(t, x, w) -> (B,)"
            )
        self.horizon = horizon_of(horizon)
        self.grid = steps if isinstance(steps, TimeGrid) else TimeGrid.uniform(steps)
        self.tableau = tableau_named(scheme)
        self.spline = weight_spline(weights, self.horizon, self.grid.times(*self.horizon).tolist())
        self.running_cost, self.augment, self.gradient = running_cost, augment, gradient
        found = perceptron(field)
        self.field = coefficients(field, self.spline.count)
        self.takes_time = takes_time(field)
        self._column = not self.takes_time and reads_time(field)
        self._perceptron = found if isinstance(found, Perceptron) else None
        names = [name for name, _ in self.field.named_parameters()] if isinstance(found, str) else found.names
        self._slots = [(self.field.get_submodule(path), name) for path, _, name in (n.rpartition(".") for n in names)]
        self._layers = list(self.field.modules())
        self._discretise()
        self.backend, self.reason = choose(backend, found, gradient, running_cost)
        self._asked, self._told = backend, False
        if backend == "auto" and self.backend == "torch":
            warnings.warn(f"ODENet runs on PyTorch, because {self.reason}; backend='torch' says so, too", stacklevel=2)

    # ---- what it is ---------------------------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """N."""
        return self.grid.steps

    @property
    def nodes(self) -> Tensor:
        """t_0..t_N (N+1,) float64."""
        return torch.from_numpy(self._nodes)

    @property
    def evaluations(self) -> int:
        """Evaluations of the field in one forward pass."""
        stages = self.steps * self.tableau.stages
        return 2 * stages if self.gradient == "reversible" else stages

    def extra_repr(self) -> str:
        t0, t1 = self.horizon
        intervals = len(self.spline.times) - 1
        kind = f"degree {self.spline.degree} on {intervals} interval{'s' if intervals > 1 else ''}"
        return (
            f"({t0:g}, {t1:g}), {self.steps} steps of {self.tableau.name}, weights of {kind}, "
            f"gradient {self.gradient}, backend {self.backend}"
        )

    # ---- what it does -------------------------------------------------------------------------------------------

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, x: Tensor) -> Tensor:
        """x(t1) (B, ...) from x(t0) (B, ...). Its running cost goes to `running_costs`, if that is open."""
        if self.running_cost is None:
            return self._run(x)[0]
        end: Tensor
        end, cost = self.with_cost(x)
        costs.report(cost)
        return end

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def with_cost(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x(t1) (B, ...) and int L dt (B,); what depends on weights alone is part of every sample's cost."""
        end, cost = self._run(x)
        by_weights = self._weight_cost()
        return end, cost if by_weights is None else cost + by_weights

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def objective(
        self,
        x: Tensor,
        target: Tensor,
        loss: str | Callable[[Tensor, Tensor], Tensor] = "squared_error",
        *,
        reduction: Reduction = "mean",
    ) -> Tensor:
        """J, the mean (or sum) over the batch of loss(x(t1), target) + int L dt.

        loss "squared_error" is |x(t1) - target|^2, summed over components; on the fused backend value and gradient are
        then made in one pass, block of samples by block, and nothing is stored. A function of (x(t1), target) answers
        one number a sample (B,), or a scalar that is taken as reduced already.
        """
        checked_reduction(reduction)
        if loss == "squared_error" and self._fuses(x) and torch.is_grad_enabled():
            return self._fused_squared_error(x, target, reduction)
        if isinstance(loss, str) and loss != "squared_error":
            raise unknown_name("loss", loss, ("squared_error",))
        end, cost = self.with_cost(x)
        value = loss(end, target) if callable(loss) else (end - matching(target, end)).square().flatten(1).sum(1)
        return reduced(value, len(end), reduction) + reduced(cost, len(end), reduction)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def trajectory(
        self,
        x: Tensor,
        loss: Callable[[Tensor], Tensor] | None = None,
        *,
        reduction: Reduction = "mean",
    ) -> Trajectory:
        """t, x, p, H and dJ/dw(t) of a batch, by PyTorch. See `Trajectory`.

        loss(x(t1)) answers one number a sample (B,), which is reduced as `reduction` says, or a scalar that is reduced
        so already: with "mean", J is divided by B, and so is each sample's costate. Without a loss, J is int L dt.
        """
        if self.gradient in ("reversible", "continuous"):
            raise NotYetSupported(f"trajectories of gradient={self.gradient!r}; take a net with gradient='discrete'")
        checked_reduction(reduction)
        start = self._started(x)
        return trajectory(self._flow(), start, self._weights(), self.spline, loss, reduction)

    def regrid(
        self,
        steps: int | TimeGrid | None = None,
        *,
        scheme: str | Tableau | None = None,
        weights: str | WeightSpline | None = None,
    ) -> ODENet:
        """A copy of the net on another grid of the state: coarser for speed, finer for accuracy.

        The weights are the same functions of time. With `weights` they move to another space: exactly where it holds
        them, else to the nearest functions in the mean square.
        """
        other = copy.deepcopy(self)
        other.grid = self.grid if steps is None else steps if isinstance(steps, TimeGrid) else TimeGrid.uniform(steps)
        other.tableau = self.tableau if scheme is None else tableau_named(scheme)
        other.spline = (
            self.spline
            if weights is None
            else weight_spline(weights, self.horizon, other.grid.times(*self.horizon).tolist())
        )
        if weights is not None:
            projection = torch.from_numpy(other.spline.projection(self.spline))
            map_coefficients(other.field, lambda w: torch.tensordot(projection.to(w), w, 1))
        other._discretise()
        return other

    # ---- how ----------------------------------------------------------------------------------------------------

    def _discretise(self) -> None:
        t0, t1 = self.horizon
        self._nodes = self.grid.times(t0, t1).numpy()
        self._stages = StageWeights(self.spline, self._nodes, self.tableau)
        cost = self.running_cost if isinstance(self.running_cost, PathCost) else None
        mlp = None if self._perceptron is None else self._perceptron.mlp
        self._fused = None if mlp is None else FusedFlow.of(mlp, self.tableau, self._nodes, self._stages, cost)

    def _fuses(self, x: Tensor) -> bool:
        """Whether this call runs in the fused kernels: not where the field was changed after the net was made."""
        if self.backend != "fused" or not isinstance(x, Tensor) or x.dtype not in DTYPES:
            return False
        layers = list(self.field.modules())
        same = len(layers) == len(self._layers) and all(a is b for a, b in zip(layers, self._layers, strict=True))
        if not same or any(hooked(layer) for layer in layers):
            return False
        return x.is_cpu or (x.is_cuda and self._fuses_on_gpu(x))

    def _fuses_on_gpu(self, x: Tensor) -> bool:
        """Whether kernels for this GPU exist and pay; a warning once where not."""
        assert self._fused is not None
        obstacle = obstacle_on_gpu(self._asked, self._fused, x)
        if obstacle and not self._told:
            self._told = True
            warnings.warn(f"ODENet runs on PyTorch on {x.device}, because {obstacle}", stacklevel=2)
        return not obstacle

    def _weights(self) -> dict[str, Tensor]:
        return dict(self.field.named_parameters())

    def _flow(self) -> Flow:
        call = FieldCall(self.field, self.takes_time, self._column)
        return Flow(call, self.tableau, self._nodes, self._stages, self.running_cost)

    def _ordered(self) -> list[Tensor]:
        """The weights, those of a perceptron by layers; looked up in place, as this is on the way of every step."""
        return [weight for module, name in self._slots if (weight := module._parameters[name]) is not None]

    def _run(self, x: Tensor) -> tuple[Tensor, Tensor]:
        start = self._started(x)
        weights = self._weights()
        if self._fuses(start):
            assert self._fused is not None
            end, cost = self._fused.run(start, self._ordered(), lean=self.gradient == "checkpoint")
        else:
            flow = self._flow()
            if self.gradient == "discrete":
                end, cost = flow.unrolled(start, weights)
            elif self.gradient == "checkpoint":
                end, cost = flow.checkpointed(start, weights)
            else:
                end, cost = (reversible if self.gradient == "reversible" else continuous)(flow, start, weights)
            if torch.is_grad_enabled():
                end = used(end, weights)
        if not finite.is_finite(end):
            finite.refuse(self._flow(), start, weights)
            raise NonFiniteError("the end of a net is not finite, though its steps in PyTorch are; please report this")
        return end, cost

    def _fused_squared_error(self, x: Tensor, target: Tensor, reduction: str) -> Tensor:
        assert self._fused is not None
        start = self._started(x)
        scale = factor(reduction, len(start))
        value = self._fused.squared_error(start, matching(target, start), scale, self._ordered())
        if not finite.is_finite(value):
            finite.refuse(self._flow(), start, self._weights())
        by_weights = self._weight_cost()
        return value if by_weights is None else value + by_weights * (scale * len(start))

    def _weight_cost(self) -> Tensor | None:
        """Scalar, what depends on weights alone; None where there is none."""
        if not isinstance(self.running_cost, PathCost):
            return None
        return self.running_cost.on_weights(self._weights(), self.spline)

    def _started(self, x: Tensor) -> Tensor:
        """The checked input with its augmentation."""
        first = next(self.field.parameters(), None)
        flat = self.backend == "fused" or (isinstance(x, Tensor) and x.dim() == 2)
        return started(x, first, self.augment, self._perceptron.mlp.dim if self._perceptron and flat else None)
