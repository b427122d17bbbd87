"""The reference sweep: the recursion written once in PyTorch, slowly and readably, for any function at all.

Forward, step k of length h = dtau_k (t1 - t0), stages i = 1..s:

    X_i = x_k + h sum_{j<i} a_ij f_j,       x_{k+1} = x_k + h sum_i b_i f_i,      J = phi + h sum_k sum_i b_i L_i

Backward is the exact transpose. Let g_i be the derivative of J_a in X_i. X_i reaches J_a through f_i and L_i alone;
f_i reaches it through x_{k+1} with h b_i and through the later X_j with h a_ji, L_i directly with h b_i. So, with
p_{k+1} the derivative in x_{k+1},

    for i = s..1:  w_i = h b_i,   m_i = h b_i p_{k+1} + h sum_{j>i} a_ji g_j,   g_i = (w_i L_x + m_i f_x) at stage i
    p_k = p_{k+1} + sum_i g_i,     dJ_a/du_k = sum_i (w_i L_u + m_i f_u) at stage i

and p(t1) = phi_x + sum_j omega_j e_jx. Nothing is divided by a weight b_i, which may be zero. The derivative in t1
holds x0, theta and the control values on scaled time fixed:

    dJ_a/dt1 = phi_t + omega e_t
             + sum_k sum_i [ (w_i L + m_i.f) / (t1 - t0) + (w_i L_t + m_i f_t) (tau_k + c_i dtau_k) ]

Batch B, steps N, state n, control m, parameters q, data nd, terminal constraints r.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pontryagin.backend.batching import Batching, Call, batched, choose_batching, parameters_in
from pontryagin.problem import Problem
from pontryagin.sweep import BACKWARD_OUTPUTS, Arguments, ControlKind, SweepResult
from pontryagin.tableau import Tableau, tableau_named
from pontryagin.time_grid import TimeGrid


@dataclass(frozen=True)
class Stage:
    """One stage of one step: where it was evaluated, and the values with their autograd graph down to `inputs`."""

    inputs: tuple[Tensor, Tensor, Tensor, Tensor]  # t (B,), x (B, n), u (B, m), theta (B, q)
    dynamics: Tensor  # (B, n)
    cost: Tensor  # (B,)


@dataclass(frozen=True)
class _Path:
    """What the forward sweep leaves behind for the backward one."""

    integral: Tensor  # (B,) int L
    states: list[Tensor]  # N + 1 of (B, n)
    stages: list[list[Stage]]  # N of s


@dataclass(frozen=True)
class _End:
    """The end of the horizon: values at t1."""

    objective: Tensor  # (B,)
    lagrangian: Tensor  # (B,)
    terminal: Tensor  # (B, r) e
    omega: Tensor  # (B, r) derivatives of the constraint terms a_j in e_j


class TorchSweep:
    """Sweeps by PyTorch operations: the oracle for all other backends, and the one that takes any function.

    The user's functions, written for one sample, are batched by torch.vmap; where it refuses (branches on values,
    writing into fresh tensors) they are called sample by sample, and `reason` says so. `batching="lanes"` calls them
    once with the batch as last axis of every argument, which is the fastest that eager PyTorch does, but right only
    for functions that index components; benchmarks use it and compare the answers first.
    """

    name = "torch"

    def __init__(
        self,
        problem: Problem,
        grid: TimeGrid,
        *,
        control_kind: ControlKind,
        scheme: str | Tableau = "rk4",
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        batching: Batching | None = None,
        reason: str = "",
    ) -> None:
        self.problem = problem
        self.grid = grid
        self.control_kind = control_kind
        self.tableau = tableau_named(scheme)
        self.dtype = dtype
        self.device = torch.device(device)
        self.reason = reason
        self._tau: list[float] = grid.nodes.tolist()

        calls = self._calls()
        #: nn.Parameters that the functions close over: they are no arguments, and are differentiated all the same.
        self.implicit_parameters = parameters_in(calls)
        if batching is None:
            batching, refusal = choose_batching(calls)
            self.reason = " ".join(part for part in (reason, refusal) if part)
        self.batching: Batching = batching
        self._stage_values = batched([call.function for call in calls[:2]], batching)  # of (t, x, u, theta, d)
        self._terminal_values = batched([call.function for call in calls[2:]], batching)  # of (t, x, theta)

    # -- the interface of a backend ------------------------------------------------------------------------------

    def evaluate(self, arguments: Arguments, outputs: AbstractSet[str]) -> SweepResult:
        """Sweep; `outputs` names the fields of the result to fill. NaN stays visible."""
        return self.evaluate_with_implicit(arguments, outputs)[0]

    def evaluate_with_implicit(
        self, arguments: Arguments, outputs: AbstractSet[str], implicit: bool = False
    ) -> tuple[SweepResult, tuple[Tensor, ...]]:
        """Sweep; also the derivatives of sum_batch J_a in `implicit_parameters`, each of its parameter's shape."""
        with torch.no_grad():
            backward = implicit or not BACKWARD_OUTPUTS.isdisjoint(outputs)
            path = self._forward(arguments, record=backward)
            end = self._end(arguments, path)
            values = {
                "objective": end.objective,
                "lagrangian": end.lagrangian,
                "terminal": end.terminal,
                "state": torch.stack(path.states, 1),
            }
            gradients: tuple[Tensor, ...] = ()
            if backward:
                derivatives, gradients = self._backward(arguments, path, end, implicit)
                values |= derivatives
        return SweepResult(**{name: value for name, value in values.items() if name in outputs}), gradients

    def unrolled(self, arguments: Arguments) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Objective (B,), lagrangian (B,), terminal (B, r) and state (B, N+1, n), differentiable by torch.autograd.

        Differentiable any number of times in every tensor of `arguments` and in what the functions close over.
        """
        path = self._forward(arguments, record=False)
        end = self._end(arguments, path)
        return end.objective, end.lagrangian, end.terminal, torch.stack(path.states, 1)

    def hamiltonian(
        self, time: Tensor, state: Tensor, costate: Tensor, control: Tensor, parameters: Tensor, data: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """H = L + p.f (P,), H_x (P, n) and H_u (P, m) at P points."""
        if data is None:
            data = state.new_empty(state.shape[0], 0)
        stage = self._record(time, state, control, parameters, data)
        with torch.no_grad():
            value = stage.cost + (costate * stage.dynamics).sum(-1)
            (_, x, u, _), _ = _pullback(stage, torch.ones_like(time), costate, ())
        return value.detach(), x, u

    # -- forward -------------------------------------------------------------------------------------------------

    def _forward(self, arguments: Arguments, record: bool) -> _Path:
        """The state equation; `record` keeps every stage as a small graph of its own for the way back."""
        t0, duration = self.problem.t0, arguments.final_time - self.problem.t0
        evaluate = self._record if record else self._evaluate
        x = arguments.initial_state
        integral = torch.zeros_like(duration)
        states, steps = [x], []
        for k in range(self.grid.steps):
            tau, dtau = self._tau[k], self._tau[k + 1] - self._tau[k]
            h = dtau * duration
            stages: list[Stage] = []
            for row, c in zip(self.tableau.a, self.tableau.c, strict=True):
                t = t0 + (tau + c * dtau) * duration
                point = _combine(x, h, row, [stage.dynamics for stage in stages])
                u = self._control_at(arguments, k, c)
                d = self._data_at(arguments, k, c)
                stages.append(evaluate(t, point, u, arguments.parameters, d))
            x = _combine(x, h, self.tableau.b, [stage.dynamics for stage in stages])
            integral = _combine(integral, h, self.tableau.b, [stage.cost for stage in stages])
            states.append(x)
            if record:
                steps.append(stages)
        return _Path(integral, states, steps)

    def _evaluate(self, t: Tensor, x: Tensor, u: Tensor, theta: Tensor, d: Tensor) -> Stage:
        dynamics, cost = self._stage_values(t, x, u, theta, d)
        return Stage((t, x, u, theta), dynamics.to(self.dtype), cost.to(self.dtype))

    def _record(self, t: Tensor, x: Tensor, u: Tensor, theta: Tensor, d: Tensor) -> Stage:
        t, x, u, theta = (value.detach().requires_grad_() for value in (t, x, u, theta))
        with torch.enable_grad():
            return self._evaluate(t, x, u, theta, d)

    def _control_at(self, arguments: Arguments, k: int, c: float) -> Tensor:
        """u (B, m) at t_k + c h."""
        value = _between(arguments.control, k, c, self.control_kind == "linear")
        return value.expand(arguments.batch, -1)

    def _data_at(self, arguments: Arguments, k: int, c: float) -> Tensor:
        """d (B, nd) at t_k + c h."""
        if arguments.data is None:
            return arguments.initial_state.new_empty(arguments.batch, 0)
        value = _between(arguments.data, k, c, arguments.data.shape[-2] > self.grid.steps)
        return value.expand(arguments.batch, -1)

    # -- the end of the horizon ----------------------------------------------------------------------------------

    def _end(self, arguments: Arguments, path: _Path) -> _End:
        cost, e = self._terminal_at(arguments.final_time, path.states[-1], arguments.parameters)
        objective = cost + path.integral
        nu = torch.zeros_like(e) if arguments.multipliers is None else arguments.multipliers
        rho = torch.zeros_like(e) if arguments.penalties is None else arguments.penalties
        equality = torch.arange(e.shape[-1], device=e.device) < self.problem.equality_count
        force = nu + rho * e
        plain = equality | (rho == 0)
        omega = torch.where(plain, force, force.clamp(min=0))
        # (omega^2 - nu^2) / (2 rho) is nu e + rho/2 e^2 wherever omega = nu + rho e; the second form needs no division.
        safe = torch.where(plain, torch.ones_like(rho), rho)
        terms = torch.where(plain | (force > 0), nu * e + rho / 2 * e**2, -(nu**2) / (2 * safe))
        weighted = objective if arguments.objective_cotangent is None else arguments.objective_cotangent * objective
        return _End(objective, weighted + terms.sum(-1), e, omega)

    def _terminal_at(self, t: Tensor, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """phi (B,) and e = (psi, gamma) (B, r)."""
        cost, equality, inequality = self._terminal_values(t, x, theta)
        return cost.to(self.dtype), torch.cat((equality, inequality), -1).to(self.dtype)

    # -- backward ------------------------------------------------------------------------------------------------

    def _backward(
        self, arguments: Arguments, path: _Path, end: _End, implicit: bool
    ) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        """The costate equation: the transposed recursion of the module's docstring."""
        a, b, c = self.tableau.a, self.tableau.b, self.tableau.c
        duration = arguments.final_time - self.problem.t0
        weight = torch.ones_like(duration) if arguments.objective_cotangent is None else arguments.objective_cotangent
        sources = self.implicit_parameters if implicit else ()
        linear = self.control_kind == "linear"

        (final_time, p, parameters), gradients = self._end_pullback(
            arguments, path.states[-1], weight, end.omega, sources
        )
        control = arguments.control.new_zeros(arguments.batch, *arguments.control.shape[-2:])
        costates = [self._with_cotangent(p, arguments, self.grid.steps)]
        for k in reversed(range(self.grid.steps)):
            tau, dtau = self._tau[k], self._tau[k + 1] - self._tau[k]
            h = dtau * duration
            stages = path.stages.pop()
            p = costates[-1]
            g: dict[int, Tensor] = {}
            for i in reversed(range(len(b))):
                stage = stages[i]
                w = h * b[i] * weight
                m = _combine(b[i] * h[:, None] * p, h, [a[j][i] for j in g], list(g.values()))
                (g_t, g[i], g_u, g_theta), extra = _pullback(stage, w, m, sources)
                gradients = tuple(total + part for total, part in zip(gradients, extra, strict=True))
                parameters = parameters + g_theta
                work = w * stage.cost + (m * stage.dynamics).sum(-1)
                final_time = final_time + work / duration + g_t * (tau + c[i] * dtau)
                if linear:
                    control[:, k] += (1 - c[i]) * g_u
                    control[:, k + 1] += c[i] * g_u
                else:
                    control[:, k] += g_u
            costates.append(self._with_cotangent(p + sum(g.values()), arguments, k))
        costates.reverse()
        derivatives = {
            "costate": torch.stack(costates, 1),
            "control_derivative": control if arguments.control.dim() == 3 else control.sum(0),
            "initial_state_derivative": costates[0],
            "parameter_derivative": parameters,
            "final_time_derivative": final_time,
        }
        return derivatives, gradients

    def _end_pullback(
        self, arguments: Arguments, x: Tensor, weight: Tensor, omega: Tensor, sources: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Derivatives of weight phi + omega.e in (t1, x(t1), theta), and in `sources`."""
        point = [value.detach().requires_grad_() for value in (arguments.final_time, x, arguments.parameters)]
        with torch.enable_grad():
            cost, e = self._terminal_at(*point)
        gradients = vector_jacobian((cost, e), (weight, omega), (*point, *sources))
        return gradients[:3], gradients[3:]

    def _with_cotangent(self, p: Tensor, arguments: Arguments, k: int) -> Tensor:
        return p if arguments.state_cotangent is None else p + arguments.state_cotangent[:, k]

    def _calls(self) -> list[Call]:
        """The functions, each with a point at which it may be called."""
        problem = self.problem

        def place(value: Tensor) -> Tensor:
            return value.to(self.device, self.dtype)

        t = place(torch.tensor(problem.t0))
        x = place(problem.initial_state.nan_to_num(nan=0.0))
        theta = place(problem.parameter_values)
        data = torch.zeros(0) if problem.data is None else problem.data.values.reshape(-1, problem.data_dim)[0]
        along, end = (t, x, place(problem.control_set.middle()), theta, place(data)), (t, x, theta)
        functions = problem.functions
        return [
            Call("dynamics", functions.dynamics, along),
            Call("running_cost", functions.running_cost, along),
            Call("terminal_cost", functions.terminal_cost, end),
            Call("terminal_equality", functions.terminal_equality, end),
            Call("terminal_inequality", functions.terminal_inequality, end),
        ]


def eager_gradient(sweep: TorchSweep, arguments: Arguments, outputs: AbstractSet[str]) -> SweepResult:
    """The same numbers as `sweep.evaluate` by torch.autograd through the unrolled sweep: oracle, and pure PyTorch.

    The derivatives named in `outputs` come from one call of torch.autograd.grad; `costate` from the graph's nodes.
    """
    fields = {
        "control_derivative": "control",
        "initial_state_derivative": "initial_state",
        "parameter_derivative": "parameters",
        "final_time_derivative": "final_time",
    }
    wanted = outputs | {"initial_state_derivative"} if "costate" in outputs else outputs  # x_0 must be a node too
    leaves = {
        name: getattr(arguments, field).detach().requires_grad_() for name, field in fields.items() if name in wanted
    }
    arguments = replace(arguments, **{fields[name]: leaf for name, leaf in leaves.items()})
    with torch.enable_grad():
        path = sweep._forward(arguments, record=False)
        end, state = sweep._end(arguments, path), torch.stack(path.states, 1)
        total = end.lagrangian.sum()
        if arguments.state_cotangent is not None:
            total = total + (arguments.state_cotangent * state).sum()
    nodes = tuple(path.states) if "costate" in outputs else ()
    gradients = vector_jacobian((total,), (torch.ones_like(total),), (*leaves.values(), *nodes))
    values = {"objective": end.objective, "lagrangian": end.lagrangian, "terminal": end.terminal, "state": state}
    values |= dict(zip(leaves, gradients, strict=False))
    if nodes:
        values["costate"] = torch.stack(gradients[len(leaves) :], 1)
    return SweepResult(**{name: value.detach() for name, value in values.items() if name in outputs})


def _between(values: Tensor, k: int, c: float, linear: bool) -> Tensor:
    """Row k of (..., K, m), or the point a fraction c of the way from row k to row k + 1."""
    if not linear:
        return values[..., k, :]
    return (1 - c) * values[..., k, :] + c * values[..., k + 1, :]


def _combine(start: Tensor, h: Tensor, coefficients: Iterable[float], slopes: list[Tensor]) -> Tensor:
    """start + h sum_j coefficient_j slope_j, h (B,) and the others (B, ...)."""
    step = h if start.dim() == 1 else h[:, None]
    for coefficient, slope in zip(coefficients, slopes, strict=True):
        if coefficient != 0.0:
            start = torch.addcmul(start, step, slope, value=coefficient)
    return start


def _pullback(
    stage: Stage, w: Tensor, m: Tensor, sources: tuple[Tensor, ...]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Derivatives of w L + m.f at a stage in (t, x, u, theta), and in `sources`."""
    gradients = vector_jacobian((stage.cost, stage.dynamics), (w, m), (*stage.inputs, *sources))
    return gradients[:4], gradients[4:]


def vector_jacobian(
    values: tuple[Tensor, ...], cotangents: tuple[Tensor, ...], sources: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """Derivatives of the sum of cotangent.value in every source, zero where it is not reached."""
    pairs = [(value, cotangent) for value, cotangent in zip(values, cotangents, strict=True) if value.requires_grad]
    moving = [source for source in sources if source.requires_grad]  # an nn.Parameter may be frozen
    if not pairs or not moving:
        return tuple(torch.zeros_like(source) for source in sources)
    outputs, weights = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(outputs, moving, weights, retain_graph=True, allow_unused=True))
    gradients = (next(found) if source.requires_grad else None for source in sources)
    return tuple(
        torch.zeros_like(source) if gradient is None else gradient
        for source, gradient in zip(sources, gradients, strict=True)
    )
