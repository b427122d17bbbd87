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

Batch B, steps N, state n, control m, parameters q, data nd, terminal constraints r. Inside, the batch is the last
axis of everything, x (n, B), so that step lengths (B,) multiply as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

    inputs: tuple[Tensor, Tensor, Tensor, Tensor]  # t (B,), x (n, B), u (m, B), theta (q, B)
    dynamics: Tensor  # (n, B)
    cost: Tensor  # (B,)


@dataclass(frozen=True)
class _Path:
    """What the forward sweep leaves behind for the backward one."""

    integral: Tensor  # (B,) int L
    states: list[Tensor]  # N + 1 of (n, B)
    stages: list[list[Stage]]  # N of s


@dataclass(frozen=True)
class _End:
    """The end of the horizon: values at t1."""

    objective: Tensor  # (B,)
    lagrangian: Tensor  # (B,)
    terminal: Tensor  # (r, B) e
    omega: Tensor  # (r, B) derivatives of the constraint terms a_j in e_j


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
        backward = implicit or not BACKWARD_OUTPUTS.isdisjoint(outputs)
        with torch.no_grad():
            path = self.forward(arguments, record=outputs if backward else None)
            end = self._end(arguments, path)
            values = {
                "objective": end.objective,
                "lagrangian": end.lagrangian,
                "terminal": _batch_first(end.terminal),
                "state": _nodes(path.states),
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
        objective, lagrangian, terminal, states = self._unrolled(arguments)
        return objective, lagrangian, terminal, _nodes(states)

    def hamiltonian(
        self, time: Tensor, state: Tensor, costate: Tensor, control: Tensor, parameters: Tensor, data: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """H = L + p.f (P,), H_x (P, n) and H_u (P, m) at P points."""
        d = state.new_empty(0, state.shape[0]) if data is None else data.T
        stage = self._recorded(time, state.T, control.T, parameters.T, d, moving=False)
        with torch.no_grad():
            value = stage.cost + (costate.T * stage.dynamics).sum(0)
            (_, x, u, _), _ = _pullback(stage, torch.ones_like(time), costate.T, ())
        return value.detach(), _batch_first(x), _batch_first(u)

    # -- forward -------------------------------------------------------------------------------------------------

    def forward(self, arguments: Arguments, record: AbstractSet[str] | None = None) -> _Path:
        """The state equation; with `record` every stage is kept for these outputs as a small graph of its own."""
        batch, steps = arguments.batch, self.grid.steps
        t0, duration = self.problem.t0, arguments.final_time - self.problem.t0
        control = _rows(arguments.control, batch)
        data = None if arguments.data is None else _rows(arguments.data, batch)
        nothing = arguments.initial_state.new_empty(0, batch)
        theta = arguments.parameters.T
        moving = record is not None and "final_time_derivative" in record
        x, integral = arguments.initial_state.T, torch.zeros_like(duration)
        states, kept = [x], []
        for k in range(steps):
            tau, dtau = self._tau[k], self._tau[k + 1] - self._tau[k]
            h = dtau * duration
            stages: list[Stage] = []
            for row, c in zip(self.tableau.a, self.tableau.c, strict=True):
                t = t0 + (tau + c * dtau) * duration
                point = _combine(x, h, row, [stage.dynamics for stage in stages])
                u = _between(control, k, c, self.control_kind == "linear")
                d = nothing if data is None else _between(data, k, c, len(data) > steps)
                if record is None:
                    stages.append(self._stage(t, point, u, theta, d))
                else:
                    stages.append(self._recorded(t, point, u, theta, d, moving))
            x = _combine(x, h, self.tableau.b, [stage.dynamics for stage in stages])
            integral = _combine(integral, h, self.tableau.b, [stage.cost for stage in stages])
            states.append(x)
            if record is not None:
                kept.append(stages)
        return _Path(integral, states, kept)

    def _stage(self, t: Tensor, x: Tensor, u: Tensor, theta: Tensor, d: Tensor) -> Stage:
        dynamics, cost = self._stage_values(t, x, u, theta, d)
        return Stage((t, x, u, theta), dynamics.to(self.dtype), cost.to(self.dtype))

    def _recorded(self, t: Tensor, x: Tensor, u: Tensor, theta: Tensor, d: Tensor, moving: bool) -> Stage:
        """A stage that can be differentiated in x, u, theta, and where the end is moving in t."""
        t = t.detach().requires_grad_(moving)
        x, u, theta = (value.detach().requires_grad_(value.numel() > 0) for value in (x, u, theta))
        with torch.enable_grad():
            return self._stage(t, x, u, theta, d)

    def _unrolled(self, arguments: Arguments) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        path = self.forward(arguments)
        end = self._end(arguments, path)
        return end.objective, end.lagrangian, _batch_first(end.terminal), path.states

    # -- the end of the horizon ----------------------------------------------------------------------------------

    def _end(self, arguments: Arguments, path: _Path) -> _End:
        cost, e = self.terminal_at(arguments.final_time, path.states[-1], arguments.parameters.T)
        objective = cost + path.integral
        weighted = objective if arguments.objective_cotangent is None else arguments.objective_cotangent * objective
        if arguments.multipliers is None and arguments.penalties is None:
            return _End(objective, weighted, e, torch.zeros_like(e))
        nu = torch.zeros_like(e) if arguments.multipliers is None else arguments.multipliers.T
        rho = torch.zeros_like(e) if arguments.penalties is None else arguments.penalties.T
        equality = torch.arange(e.shape[0], device=e.device)[:, None] < self.problem.equality_count
        force = nu + rho * e
        plain = equality | (rho == 0)
        omega = torch.where(plain, force, force.clamp(min=0))
        # (omega^2 - nu^2) / (2 rho) is nu e + rho/2 e^2 where omega = nu + rho e, and this form loses no digits
        safe = torch.where(plain, torch.ones_like(rho), rho)
        terms = torch.where(plain | (force > 0), nu * e + rho / 2 * e**2, -(nu**2) / (2 * safe))
        return _End(objective, weighted + terms.sum(0), e, omega)

    def terminal_at(self, t: Tensor, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """phi (B,) and e = (psi, gamma) (r, B) at t (B,), x (n, B), theta (q, B)."""
        cost, equality, inequality = self._terminal_values(t, x, theta)
        return cost.to(self.dtype), torch.cat((equality, inequality)).to(self.dtype)

    # -- backward ------------------------------------------------------------------------------------------------

    def _backward(
        self, arguments: Arguments, path: _Path, end: _End, implicit: bool
    ) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        """The costate equation: the transposed recursion of the module's docstring."""
        a, b, c = self.tableau.a, self.tableau.b, self.tableau.c
        duration = arguments.final_time - self.problem.t0
        weight = torch.ones_like(duration) if arguments.objective_cotangent is None else arguments.objective_cotangent
        cotangents = None if arguments.state_cotangent is None else _rows(arguments.state_cotangent, arguments.batch)
        sources = self.implicit_parameters if implicit else ()
        linear = self.control_kind == "linear"

        (by_time, p, by_theta), gradients = self._end_pullback(arguments, path.states[-1], weight, end.omega, sources)
        if cotangents is not None:
            p = p + cotangents[-1]
        costates = [p]
        by_control = [p.new_zeros(self.problem.control_dim, arguments.batch) for _ in range(self.grid.steps + linear)]
        for k in reversed(range(self.grid.steps)):
            tau, dtau = self._tau[k], self._tau[k + 1] - self._tau[k]
            h = dtau * duration
            stages = path.stages.pop()
            g: dict[int, Tensor] = {}
            for i in reversed(range(len(b))):
                stage = stages[i]
                w = h * b[i] * weight
                m = _combine(b[i] * h * p, h, [a[j][i] for j in g], list(g.values()))
                (g_t, g[i], g_u, g_theta), extra = _pullback(stage, w, m, sources)
                gradients = tuple(total + part for total, part in zip(gradients, extra, strict=True))
                by_theta = by_theta + g_theta
                work = w * stage.cost + (m * stage.dynamics).sum(0)
                by_time = by_time + work / duration + g_t * (tau + c[i] * dtau)
                by_control[k] += (1 - c[i]) * g_u if linear else g_u
                if linear:
                    by_control[k + 1] += c[i] * g_u
            p = p + sum(g.values())
            if cotangents is not None:
                p = p + cotangents[k]
            costates.append(p)
        control = _nodes(by_control)
        derivatives = {
            "costate": _nodes(costates[::-1]),
            "control_derivative": control if arguments.control.dim() == 3 else control.sum(0),
            "initial_state_derivative": _batch_first(p),
            "parameter_derivative": _batch_first(by_theta),
            "final_time_derivative": by_time,
        }
        return derivatives, gradients

    def _end_pullback(
        self, arguments: Arguments, x: Tensor, weight: Tensor, omega: Tensor, sources: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Derivatives of weight phi + omega.e in (t1, x(t1), theta), and in `sources`."""
        point = [value.detach().requires_grad_() for value in (arguments.final_time, x, arguments.parameters.T)]
        with torch.enable_grad():
            cost, e = self.terminal_at(*point)
        gradients = vector_jacobian((cost, e), (weight, omega), (*point, *sources))
        return gradients[:3], gradients[3:]

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


#: The derivatives that autograd can be asked for, and the fields of Arguments in which they are.
_SOURCES = {
    "control_derivative": "control",
    "initial_state_derivative": "initial_state",
    "parameter_derivative": "parameters",
    "final_time_derivative": "final_time",
}


def eager_gradient(sweep: TorchSweep, arguments: Arguments, outputs: AbstractSet[str]) -> SweepResult:
    """The same numbers as `sweep.evaluate` by torch.autograd through the unrolled sweep: oracle, and pure PyTorch.

    The derivatives named in `outputs` come from one call of torch.autograd.grad; `costate` from the graph's nodes.
    """
    leaves = {
        name: getattr(arguments, field).detach().requires_grad_()
        for name, field in _SOURCES.items()
        if name in outputs or (name == "initial_state_derivative" and "costate" in outputs)  # x_0 is a node of x
    }
    arguments = replace(arguments, **{_SOURCES[name]: leaf for name, leaf in leaves.items()})
    with torch.enable_grad():
        objective, lagrangian, terminal, states = sweep._unrolled(arguments)
        total = lagrangian.sum()
        if arguments.state_cotangent is not None:
            total = total + (arguments.state_cotangent * _nodes(states)).sum()
    nodes = tuple(states) if "costate" in outputs else ()
    gradients = vector_jacobian((total,), (torch.ones_like(total),), (*leaves.values(), *nodes))
    values = {"objective": objective, "lagrangian": lagrangian, "terminal": terminal}
    values |= dict(zip(leaves, gradients, strict=False))
    if "state" in outputs:
        values["state"] = _nodes(states)
    if nodes:
        values["costate"] = _nodes(gradients[len(leaves) :])
    return SweepResult(**{name: value.detach() for name, value in values.items() if name in outputs})


def _rows(values: Tensor, batch: int) -> tuple[Tensor, ...]:
    """Rows (c, B) in time of values (B, K, c), or (K, c) shared by the batch."""
    # unbind once: taking each row by an index would fill a gradient of all of them with zeros every time
    if values.dim() == 2:
        return tuple([row.unsqueeze(-1).expand(-1, batch) for row in values.unbind(0)])
    return values.permute(1, 2, 0).unbind(0)


def _nodes(rows: Sequence[Tensor]) -> Tensor:
    """(B, K, c) of K rows (c, B)."""
    return torch.stack(tuple(rows)).permute(2, 0, 1).contiguous()


def _batch_first(value: Tensor) -> Tensor:
    """(B, c) of (c, B)."""
    return value.T.contiguous()


def _between(rows: Sequence[Tensor], k: int, c: float, linear: bool) -> Tensor:
    """Row k, or the point a fraction c of the way from row k to row k + 1."""
    if not linear or c == 0.0:
        return rows[k]
    return rows[k + 1] if c == 1.0 else (1 - c) * rows[k] + c * rows[k + 1]


def _combine(start: Tensor, h: Tensor, coefficients: Iterable[float], slopes: list[Tensor]) -> Tensor:
    """start + h sum_j coefficient_j slope_j, all with the batch as last axis."""
    for coefficient, slope in zip(coefficients, slopes, strict=True):
        if coefficient != 0.0:
            start = torch.addcmul(start, h, slope, value=coefficient)
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
