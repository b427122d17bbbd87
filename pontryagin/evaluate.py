"""The public `sweep`: cost, state, costate and gradients of a batch of controls, in one call.

    x' = f(t, x, u, theta),  x(t0) = x0,      J = phi(t1, x(t1), theta) + int L dt
    p' = -H_x,  p(t1) = phi_x,      H = L + p.f      (discretised first: the costate is the transpose of the step)

Batch B, steps N, state n, control m, parameters q, data nd, terminal constraints r, K rows of control: N values of a
constant one, N + 1 nodes of a linear one. What is known from the shapes and options alone is worked out once and
kept by the problem, so that a call costs little more than its sweep.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._compile import _disable_dynamo

from pontryagin.backend.compiled import CompiledSweep
from pontryagin.backend.operator import OUTPUTS, SweepCall, sweep_operator
from pontryagin.backend.select import make_backend
from pontryagin.backend.torch_sweep import vector_jacobian
from pontryagin.data import Data
from pontryagin.errors import NonFiniteError, NotYetSupported, ProblemError, unknown_name
from pontryagin.problem import Problem
from pontryagin.sweep import Arguments, SweepResult
from pontryagin.sweep_arguments import Layout, data_on, layout_of, read_arguments, read_control
from pontryagin.tableau import Tableau, tableau_named
from pontryagin.time_grid import TimeGrid

#: Fields of the answer, and the fields of a backend's result that they come from.
FIELDS = {
    "objective": "objective",
    "state": "state",
    "costate": "costate",
    "control_gradient": "control_derivative",
    "initial_state_gradient": "initial_state_derivative",
    "parameter_gradient": "parameter_derivative",
    "final_time_gradient": "final_time_derivative",
}

#: Prepared calls kept per problem: one for each combination of shapes, types and options.
KEPT = 64


@dataclass(frozen=True, eq=False)
class Sweep:
    """What a sweep found; fields that were not asked for are None. There is no batch axis B where none was given.

    Costate and gradients are those of the J that is minimised: of -J where the problem maximises.
    """

    objective: Tensor | None  # (B,) J in the sense of the problem, without constraint terms
    state: Tensor | None  # (B, N+1, n) at the nodes
    costate: Tensor | None  # (B, N+1, n) p at the nodes
    control_gradient: Tensor | None  # like u: the derivative in each value over the integral of its basis function
    initial_state_gradient: Tensor | None  # (B, n)
    parameter_gradient: Tensor | None  # (B, q) in theta, flat in declared order
    final_time_gradient: Tensor | None  # (B,) with x0, theta and the rows of u and data held on scaled time
    backend: str  # the name of the backend that swept
    reason: str  # why it was chosen


def sweep(
    problem: Problem,
    u: Any,
    *,
    control: str | None = None,
    scheme: str | Tableau = "rk4",
    backend: str = "auto",
    initial_state: Any = None,
    parameters: Any = None,
    data: Any = None,
    final_time: Any = None,
    multipliers: Any = None,
    outputs: Collection[str] | None = None,
    threads: int | None = None,
) -> Sweep:
    """Integrate the state forward and the costate backward under the control u.

    u: (B, N, m) values of a `control="constant"` per interval, or (B, N+1, m) nodes of a "linear" one, on a uniform
        grid of N steps; without B it is shared by the batch that the other arguments have. The control of a solution
        is taken as it is, with its kind and grid.
    scheme: the Runge-Kutta method, a name or a Tableau. backend: "auto", "torch", "interpreter".
    initial_state (n,) or (B, n), parameters (q,), (B, q) or a dictionary of names, final_time () or (B,), and
        data (K_d, nd) or (B, K_d, nd) on the times of the problem's data replace those of the problem.
    multipliers: nu (r,) or (B, r) of psi = 0, gamma <= 0 at t1; costate and gradients are then of J + nu.(psi, gamma).
    outputs: names of the fields of the answer to compute; None for all.
    threads: for compiled backends; None for torch's number.

    Objective and state can be differentiated by torch.autograd once, in u, initial_state, parameters, final_time and
    in nn.Parameters that the functions close over; `.grad` is then the plain derivative, while `control_gradient` is
    the L2 gradient, the derivative over h (constant) or the half sum of neighbouring steps (linear), the same on all
    grids. For a shared u it sums the batch, over the mean horizon. Costate and gradients cannot be differentiated.

    Raises ProblemError for what does not fit the problem, NonFiniteError with problem, function, time and state where
    NaN or infinity first came up, CaptureError when backend="interpreter" cannot take the functions, BackendError,
    and NotYetSupported for final_time together with data.
    """
    if torch.compiler.is_compiling():
        return _outside_graph(
            problem, u, control, scheme, backend, initial_state, parameters, data, final_time, multipliers, outputs,
            threads,
        )  # fmt: skip
    return _sweep(
        problem, u, control, scheme, backend, initial_state, parameters, data, final_time, multipliers, outputs, threads
    )


def _sweep(
    problem: Problem,
    u: Any,
    control: str | None,
    scheme: str | Tableau,
    backend: str,
    initial_state: Any,
    parameters: Any,
    data: Any,
    final_time: Any,
    multipliers: Any,
    outputs: Collection[str] | None,
    threads: int | None,
) -> Sweep:
    if torch._C._are_functorch_transforms_active():
        raise NotYetSupported(
            "a sweep cannot be called under transforms of torch.func: differentiate it by backward() or "
            "torch.autograd.grad, and give a batch as it is, without vmap"
        )
    given = (u, initial_state, parameters, data, final_time, multipliers)
    wanted = None if outputs is None else _names(outputs)
    options = (control, scheme, backend, wanted, torch.get_num_threads() if threads is None else threads)
    try:
        prepared: _Prepared = problem._cache["prepared"][_key(options, given)]
    except (KeyError, TypeError, AttributeError):  # a first call, lists and arrays, or what is refused now
        prepared, given = _prepare(problem, given, options)
    return prepared(*given)


@_disable_dynamo
def _outside_graph(*arguments: Any) -> Sweep:
    """A sweep in a function under torch.compile: the graph breaks here, and autograd sees the operator as ever."""
    return _sweep(*arguments)


def _key(options: tuple[Any, ...], given: tuple[Any, ...]) -> tuple[Any, ...]:
    """All that a prepared call knows. Raises TypeError where an argument is neither a tensor nor left out."""
    key = [options]
    for value in given:
        if value is None:
            key.append(())
        elif isinstance(value, Tensor):
            key.append((value.shape, value.dtype, value.device, value.requires_grad, type(value)))
        else:
            raise TypeError
    return tuple(key)


def _names(outputs: Collection[str]) -> frozenset[str]:
    if isinstance(outputs, frozenset):
        return outputs
    if not isinstance(outputs, (list, tuple, set)) or not all(isinstance(name, str) for name in outputs):
        raise ProblemError(f"outputs is {outputs!r}; give a list of names out of {', '.join(FIELDS)}")
    return frozenset(outputs)


class _Prepared:
    """A sweep of which everything but the numbers is known: shapes, types, device, grid, backend and outputs."""

    def __init__(self, problem: Problem, call: SweepCall, layout: Layout) -> None:
        self.problem, self.call, self.layout = problem, call, layout
        like, batch = layout.like, layout.batch
        self.initial_state = problem.initial_state.to(like).expand(batch, -1).contiguous()
        self.final_time = like.new_full((batch,), problem.t1_guess)
        self.parameters = problem.parameter_values.to(like).expand(batch, -1).contiguous()
        self.times = call.grid.times(problem.t0, problem.t1_guess).to(like.device)
        self.data = None if problem.data is None else problem.data.on_grid(self.times).to(like).contiguous()
        self.mass = call.grid.basis_mass(call.control_kind).to(like)[:, None]  # (K, 1) on scaled time
        self.per_mass = 1 / (self.mass * (problem.t1_guess - problem.t0))  # to multiply by: a division takes longer
        self.compiled = isinstance(call.backend, CompiledSweep)
        self.closes_over_parameters = bool(call.backend.implicit_parameters)

    def __call__(self, u: Tensor, x0: Any, theta: Any, data: Any, t1: Any, nu: Any) -> Sweep:
        control = u.unsqueeze(0) if self.layout.single else u
        initial_state = self.initial_state if x0 is None else self._rows(x0, 1)
        final_time = self.final_time if t1 is None else self._rows(t1, 0)
        parameters = self.parameters if theta is None else self._rows(theta, 1)
        d = self.data if data is None else self._on_grid(data)
        multipliers = None if nu is None else self._rows(nu, 1)
        arguments = Arguments(control, initial_state, final_time, parameters, d, multipliers)
        plain = self._is_plain()
        result = self.call.evaluate(arguments) if plain else self._through_operator(arguments)
        return self._answer(result, arguments, t1 is not None, ours=plain and self.compiled)

    def _rows(self, value: Tensor, axes: int) -> Tensor:
        """One row for each problem of an argument that has so many axes by itself."""
        if self.layout.single:
            return value.unsqueeze(0)
        lead = value.dim() - axes
        batch = (self.layout.batch,)
        return value if value.shape[:lead] == batch else value.expand(batch + value.shape[lead:])

    def _is_plain(self) -> bool:
        """Whether numbers are all that is at stake: no gradient and no tracing."""
        if torch.is_grad_enabled() and (
            self.layout.differentiable
            or (self.closes_over_parameters and any(p.requires_grad for p in self.call.backend.implicit_parameters))
        ):
            return False
        return self.layout.plain and not torch._C._len_torch_dispatch_stack()

    def _through_operator(self, a: Arguments) -> SweepResult:
        implicit = list(self.call.backend.implicit_parameters)
        values = sweep_operator(
            a.control, a.initial_state, a.final_time, a.parameters, a.data, a.multipliers, implicit, self.call.handle
        )
        named = zip(OUTPUTS, values, strict=True)
        return SweepResult(**{name: value for name, value in named if name in self.call.outputs})

    def _on_grid(self, data: Tensor | Data) -> Tensor:
        """Data given in place of those of the problem, at the nodes or for the intervals of the grid."""
        data = data if isinstance(data, Data) else data_on(self.problem, data)
        return data.on_grid(self.times).to(self.layout.like).contiguous()

    def _answer(self, r: SweepResult, arguments: Arguments, given_time: bool, ours: bool) -> Sweep:
        """What is returned. `ours`: the tensors of r are new and nobody else's, and may be written to."""
        objective, gradient = r.objective, r.control_derivative
        by_state, by_theta = r.initial_state_derivative, r.parameter_derivative
        if self.problem.functions.user_initial_cost is not None:
            cost, *more = _initial_cost(self.problem, arguments.initial_state, arguments.parameters)
            objective = None if objective is None else objective + cost
            by_state = None if by_state is None else by_state + more[0]
            by_theta = None if by_theta is None else by_theta + more[1]
        if objective is not None and self.problem.maximize:
            objective = -objective
        if gradient is not None:
            if given_time:
                gradient = gradient / self._scale(arguments.final_time.detach())
            else:  # in place where possible: memory for so many numbers takes longer to get than to fill
                gradient = gradient.mul_(self.per_mass) if ours else gradient * self.per_mass
        single = self.layout.single

        def unbatched(value: Tensor | None) -> Tensor | None:
            return value.squeeze(0) if single and value is not None else value

        return Sweep(
            unbatched(objective),
            unbatched(r.state),
            unbatched(r.costate),
            unbatched(gradient),
            unbatched(by_state),
            unbatched(by_theta),
            unbatched(r.final_time_derivative),
            self.call.backend.name,
            self.call.backend.reason,
        )

    def _scale(self, final_time: Tensor) -> Tensor:
        """Integral of each basis function over the horizon: (B, K, 1), or (K, 1) over the mean one of a shared u."""
        duration = final_time - self.problem.t0
        return self.mass * (duration.mean() if self.layout.shared else duration[:, None, None])


def _prepare(problem: Any, given: tuple[Any, ...], options: tuple[Any, ...]) -> tuple[_Prepared, tuple[Any, ...]]:
    """Check everything, turn the arguments into tensors, and keep what the next call with such arguments can use."""
    if not isinstance(problem, Problem):
        raise ProblemError(f"the problem is a {type(problem).__name__}; give a pontryagin.Problem")
    kind, scheme, backend, wanted, threads = options
    for name in wanted or ():
        if name not in FIELDS:
            raise unknown_name("output", name, FIELDS)
    tableau = tableau_named(scheme)
    u, kind, own_grid = read_control(given[0], kind)
    given = read_arguments(problem, (u, *given[1:]))
    layout, rows = layout_of(problem, given), given[0].shape[-2]
    if own_grid is None and rows < 2 and kind == "linear":
        raise ProblemError("u has one row; a linear control has at least two, one at each end of the horizon")
    grid = TimeGrid.uniform(rows - (kind == "linear")) if own_grid is None else own_grid
    sweeper = make_backend(
        problem, grid, control_kind=kind, scheme=tableau, backend=backend,
        dtype=layout.like.dtype, device=layout.like.device, threads=threads,
    )  # fmt: skip
    names = frozenset(FIELDS[name] for name in (FIELDS if wanted is None else wanted))
    call = SweepCall(problem, grid, kind, tableau, sweeper, names, moving_end=given[4] is not None)
    prepared = _Prepared(problem, call, layout)
    if own_grid is None and not isinstance(given[3], Data):
        kept: dict[Any, _Prepared] = problem._cache.setdefault("prepared", {})
        if len(kept) >= KEPT:
            kept.pop(next(iter(kept)))
        kept[_key((kind, scheme, backend, wanted, threads), given)] = prepared
    return prepared, given


def _initial_cost(problem: Problem, initial_state: Tensor, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """phi0 (B,) and its derivatives in x0 (B, n) and theta (B, q): backends know nothing of it, it needs no sweep."""

    def cost(x0: Tensor, parameters: Tensor) -> Tensor:
        samples = zip(x0.unbind(), parameters.unbind(), strict=True)
        return torch.stack([problem.functions.initial_cost(x, p) for x, p in samples])

    point = (initial_state.detach().requires_grad_(), theta.detach().requires_grad_())
    with torch.enable_grad():
        copy = cost(*point)
    by_state, by_theta = vector_jacobian((copy,), (torch.ones_like(copy),), point)
    finite = copy.isfinite() & by_state.isfinite().all(-1)
    if not bool(finite.all()):
        i = int((~finite).nonzero()[0])
        raise NonFiniteError(
            f"initial_cost is {copy[i].item():g} and its derivative {by_state[i].tolist()} for problem {i}, "
            f"where x = {initial_state[i].tolist()}; look at that formula there"
        )
    return cost(initial_state, theta), by_state, by_theta
