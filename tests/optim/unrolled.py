"""A sweep backend small enough to be read at a glance: midpoint rule, unrolled, differentiated by autograd."""

from __future__ import annotations

from collections.abc import Callable, Set

import torch
from torch import Tensor

from pontryagin.control_set import ControlSet
from pontryagin.optim import MethodResult, MethodSettings, solve_first_order
from pontryagin.sweep import Arguments, SweepResult
from pontryagin.time_grid import TimeGrid

State = Callable[[Tensor, Tensor], Tensor]  # x (B, n), u (B, m) -> (B, n) or (B,)


class Unrolled:
    """min phi(t1, x(t1)) + int L(x, u) dt, x' = f(x, u), e(x(t1)) = 0 for the first `equalities`, <= 0 for the rest."""

    name = "unrolled"

    def __init__(
        self,
        dynamics: State,
        running_cost: State,
        steps: int,
        *,
        terminal_cost: Callable[[Tensor, Tensor], Tensor] = lambda t, x: 0.0 * t,
        terminal: Callable[[Tensor], Tensor] = lambda x: x[:, :0],
        equalities: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.dynamics, self.running_cost, self.steps = dynamics, running_cost, steps
        self.terminal_cost, self.terminal, self.equalities = terminal_cost, terminal, equalities
        self.dtype, self.device = dtype, torch.device("cpu")
        self.calls = 0

    def evaluate(self, arguments: Arguments, outputs: Set[str]) -> SweepResult:
        self.calls += 1
        control, t1 = (a.detach().requires_grad_() for a in (arguments.control, arguments.final_time))
        u, h = control.expand(arguments.batch, -1, -1), t1 / self.steps
        x, objective = arguments.initial_state, torch.zeros_like(t1)
        for k in range(self.steps):
            middle = x + h[:, None] / 2 * self.dynamics(x, u[:, k])
            x = x + h[:, None] * self.dynamics(middle, u[:, k])
            objective = objective + h * self.running_cost(middle, u[:, k])
        objective, e = objective + self.terminal_cost(t1, x), self.terminal(x)
        nu = torch.zeros_like(e) if arguments.multipliers is None else arguments.multipliers
        rho = torch.zeros_like(e) if arguments.penalties is None else arguments.penalties
        loose = (torch.arange(e.shape[1]) >= self.equalities) & (rho > 0) & (nu + rho * e < 0)
        terms = torch.where(loose, -(nu**2) / (2 * rho).clamp(min=1e-300), nu * e + rho / 2 * e**2)
        weight = 1.0 if arguments.objective_cotangent is None else arguments.objective_cotangent
        lagrangian = weight * objective + terms.sum(1)
        in_control, in_time = torch.autograd.grad(lagrangian.sum(), [control, t1], materialize_grads=True)
        return SweepResult(
            objective=objective.detach(),
            lagrangian=lagrangian.detach(),
            terminal=e.detach(),
            control_derivative=in_control,
            final_time_derivative=in_time,
        )

    def hamiltonian(self, *point: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        raise NotImplementedError


def solve(
    backend: Unrolled,
    initial_state: Tensor,
    final_time: float,
    *,
    control: Tensor | None = None,
    warm: MethodResult | None = None,
    low: float = -torch.inf,
    high: float = torch.inf,
    final_time_bounds: tuple[float, float] | None = None,
    method: str = "lbfgs",
    callback: Callable[..., bool | None] | None = None,
    **settings: object,
) -> MethodResult:
    """Solve for constant controls of one component from initial_state (B, n), starting from u = 0."""
    dtype = backend.dtype
    x0 = initial_state.to(dtype)
    start = Arguments(
        control=torch.zeros(x0.shape[0], backend.steps, 1, dtype=dtype) if control is None else control,
        initial_state=x0,
        final_time=torch.full((x0.shape[0],), final_time, dtype=dtype),
        parameters=torch.zeros(x0.shape[0], 0, dtype=dtype),
        multipliers=None if warm is None else warm.multipliers,
        penalties=None if warm is None else warm.penalties,
    )
    return solve_first_order(
        backend,
        ControlSet(torch.tensor([low], dtype=torch.float64), torch.tensor([high], dtype=torch.float64)),
        TimeGrid.uniform(backend.steps).basis_mass("constant"),
        start,
        t0=0.0,
        final_time_bounds=final_time_bounds,
        equality_count=backend.equalities,
        method=method,
        settings=MethodSettings(**settings),  # type: ignore[arg-type]
        callback=callback,
    )


def double_integrator(x: Tensor, u: Tensor) -> Tensor:
    """x1' = x2, x2' = u."""
    return torch.stack([x[:, 1], u[:, 0]], 1)


def pendulum(x: Tensor, u: Tensor) -> Tensor:
    """th'' = u - sin th."""
    return torch.stack([x[:, 1], u[:, 0] - x[:, 0].sin()], 1)


def energy(x: Tensor, u: Tensor) -> Tensor:
    """u^2 / 2."""
    return 0.5 * u[:, 0] ** 2


def quadratic(x: Tensor, u: Tensor) -> Tensor:
    """(|x|^2 + u^2) / 2."""
    return 0.5 * (x.square().sum(1) + u[:, 0] ** 2)


def nothing(x: Tensor, u: Tensor) -> Tensor:
    return 0.0 * u[:, 0]


def target(*values: float) -> Callable[[Tensor], Tensor]:
    """x(t1) - values."""
    return lambda x: x - torch.tensor(values, dtype=x.dtype)
