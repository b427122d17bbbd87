"""Compiled sweeps on the CPU: the interpreter tier, always available.

The graphs of a problem go to the core once; the core records the Runge-Kutta step on them, forward and transposed,
and runs the recorded programs over blocks of SIMD lanes. This file turns tensors into addresses and back.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from pontryagin import _core
from pontryagin.codegen.bytecode import digest_of_graphs, flatten
from pontryagin.codegen.library import SweepRequest
from pontryagin.errors import ProblemError
from pontryagin.hamiltonian import Equations, derive, remembered
from pontryagin.problem import Problem
from pontryagin.sweep import BACKWARD_OUTPUTS, Arguments, ControlKind, SweepResult
from pontryagin.tableau import Tableau, tableau_named
from pontryagin.time_grid import TimeGrid

HOST = torch.device("cpu")

EXTENDED_OUTPUTS = frozenset({"parameter_derivative", "final_time_derivative"})


def direction(arguments: Arguments, outputs: Set[str]) -> tuple[bool, bool]:
    """Whether there is a way back, and whether derivatives in parameters and final time, or cotangents, are of it."""
    backward = not outputs.isdisjoint(BACKWARD_OUTPUTS)
    extended = arguments.objective_cotangent is not None or (
        backward and (not outputs.isdisjoint(EXTENDED_OUTPUTS) or arguments.state_cotangent is not None)
    )
    return backward, extended


def stride(rows: Tensor | None) -> int:
    """Numbers from one problem to the next, 0 where all share the rows."""
    return 0 if rows is None or rows.dim() == 2 else rows.shape[1] * rows.shape[2]


class SweepRunner(Protocol):
    """What sweeps a batch over addresses: recorded programs, or a compiled library."""

    def run(
        self,
        single: bool,
        steps: int,
        batch: int,
        control_stride: int,
        data_stride: int,
        threads: int,
        addresses: Sequence[int],
    ) -> None: ...


class Inputs(NamedTuple):
    """Arguments as addresses are taken of them: one type, one device, contiguous, of the right shape; in order."""

    control: Tensor | None
    initial_state: Tensor | None
    final_time: Tensor | None
    parameters: Tensor | None
    data: Tensor | None
    multipliers: Tensor | None
    penalties: Tensor | None
    objective_cotangent: Tensor | None
    state_cotangent: Tensor | None


class PointInputs(NamedTuple):
    """The same for points."""

    time: Tensor | None
    state: Tensor | None
    costate: Tensor | None
    control: Tensor | None
    parameters: Tensor | None
    data: Tensor | None


class CompiledModel:
    """The graphs of a problem in the core; one for each problem, whatever the grid or the scheme."""

    def __init__(self, problem: Problem) -> None:
        self.equations: Equations = derive(problem)
        e = self.equations
        graphs = {
            name: flatten(getattr(e, name), _core.operations)
            for name in ("dynamics", "pullback", "terminal", "terminal_pullback")
        }
        sizes = {
            "n": e.state_dim,
            "m": e.control_dim,
            "q": e.parameter_dim,
            "nd": e.data_dim,
            "equalities": e.equality_count,
            "inequalities": e.inequality_count,
        }
        arguments: dict[str, Any] = {**sizes, **graphs}
        self.core = _core.Model(**arguments)
        self.digest = digest_of_graphs(sizes, graphs)
        self.points = _core.PointEvaluator(self.core)
        self.sweepers: dict[tuple[Any, ...], _core.Sweeper] = {}
        self.natives: dict[tuple[Any, ...], _core.NativeSweeper | None] = {}  # None: the compiler failed

    @classmethod
    def of(cls, problem: Problem) -> CompiledModel:
        """The model of a problem, made once; a refusal is remembered too."""
        return remembered(problem, "compiled_model", cls)


class CompiledSweep:
    """Sweeps of one problem on one grid by the interpreter. A SweepBackend.

    Raises CaptureError when a function of the problem cannot become a graph.
    """

    name = "interpreter"
    memory = HOST  # where its arrays lie

    def __init__(
        self,
        problem: Problem,
        grid: TimeGrid,
        *,
        control_kind: ControlKind,
        scheme: str | Tableau = "rk4",
        dtype: torch.dtype = torch.float64,
        threads: int = 1,
    ) -> None:
        self.model = CompiledModel.of(problem)
        self.title = problem.name or "a problem without a name"
        self.dtype = dtype
        self.device = HOST
        self.reason = ""
        self.threads = threads
        self._single = dtype == torch.float32
        self._steps = grid.steps
        self._tau = grid.nodes.to(torch.float64).contiguous()
        # Nodes k / N differ by 1 / N only up to rounding; steps that are meant to be equal are taken as equal.
        self._uniform = bool((self._tau.diff() - 1.0 / grid.steps).abs().max() < 4 * torch.finfo(torch.float64).eps)
        self._t0 = problem.t0
        self._tableau = tableau_named(scheme)
        self._linear_control = control_kind == "linear"
        self._linear_data = problem.data is not None and problem.data.kind == "linear"
        self._declared = problem.parameter_dim
        equations = self.model.equations
        self._n, self._m, self._q = equations.state_dim, equations.control_dim, equations.parameter_dim
        self._r = equations.equality_count + equations.inequality_count

    @property
    def implicit_parameters(self) -> tuple[nn.Parameter, ...]:
        """The nn.Parameters found in the functions; their entries follow the declared parameters in theta."""
        return tuple(self.model.equations.implicit.parameters)

    def _sweeper(self, backward: bool, keep_state: bool, extended: bool) -> SweepRunner:
        t = self._tableau
        key = (t, self._t0, self._linear_control, self._linear_data, backward, keep_state, extended, self._uniform)
        kept = self.model.sweepers.get(key)
        if kept is None:
            kept = self.model.sweepers[key] = _core.Sweeper(
                self.model.core,
                t.a,
                t.b,
                t.c,
                t0=self._t0,
                linear_control=self._linear_control,
                linear_data=self._linear_data,
                backward=backward,
                keep_state=keep_state,
                extended=extended,
                uniform=self._uniform,
            )
        return kept

    def _request(self, backward: bool, extended: bool) -> SweepRequest:
        return SweepRequest(
            single=self._single,
            linear_control=self._linear_control,
            linear_data=self._linear_data,
            uniform=self._uniform,
            backward=backward,
            extended=extended,
        )

    def _input(self, tensor: Tensor | None, shape: tuple[int, ...], what: str) -> Tensor | None:
        """The tensor as it is read: this type, contiguous. The shape is checked because addresses cannot be."""
        if tensor is None:
            return None
        if tensor.shape != shape:
            raise ProblemError(f"{what} has shape {tuple(tensor.shape)}, expected {shape}")
        if tensor.dtype != self.dtype or tensor.device != self.memory:
            tensor = tensor.to(device=self.memory, dtype=self.dtype)
        return tensor.resolve_neg().contiguous()

    def _inputs(self, a: Arguments) -> Inputs:
        batch, steps, nodes = a.batch, self._steps, self._steps + 1
        if batch == 0:
            raise ProblemError("the batch holds no problems; give at least one row")
        data_dim = self.model.equations.data_dim
        if a.data is None and data_dim:
            raise ProblemError("the problem has data and the sweep was given none")

        def rows(tensor: Tensor, count: int, components: int) -> tuple[int, ...]:
            return (count, components) if tensor.dim() == 2 else (batch, count, components)

        data_shape = () if a.data is None else rows(a.data, nodes if self._linear_data else steps, data_dim)
        control_shape = rows(a.control, nodes if self._linear_control else steps, self._m)
        return Inputs(
            self._input(a.control, control_shape, "control"),
            self._input(a.initial_state, (batch, self._n), "initial state"),
            self._input(a.final_time, (batch,), "final time"),
            self._input(self.theta(a.parameters), (batch, self._q), "parameters") if self._q else None,
            self._input(a.data, data_shape, "data"),
            self._input(a.multipliers, (batch, self._r), "multipliers"),
            self._input(a.penalties, (batch, self._r), "penalties"),
            self._input(a.objective_cotangent, (batch,), "objective cotangent"),
            self._input(a.state_cotangent, (batch, nodes, self._n), "state cotangent"),
        )

    def _shapes(self, a: Arguments) -> dict[str, tuple[int, ...]]:
        """Of every output, in order."""
        batch, path = a.batch, (a.batch, self._steps + 1, self._n)
        return {
            "objective": (batch,),
            "lagrangian": (batch,),
            "terminal": (batch, self._r),
            "state": path,
            "costate": path,
            "control_derivative": tuple(a.control.shape),
            "initial_state_derivative": (batch, self._n),
            "parameter_derivative": (batch, self._q),
            "final_time_derivative": (batch,),
        }

    def theta(self, parameters: Tensor) -> Tensor:
        """The declared parameters (B, q) followed by the captured nn.Parameters, as they are now."""
        if parameters.shape[1] == self._q:
            return parameters
        tail = torch.cat([p.detach().reshape(-1) for p in self.implicit_parameters]).to(parameters)
        return torch.cat([parameters, tail.expand(parameters.shape[0], -1)], dim=1)

    def evaluate(self, arguments: Arguments, outputs: Set[str]) -> SweepResult:
        """One sweep over the batch; `outputs` names the fields of the result to fill."""
        inputs = self._inputs(arguments)
        shapes = self._shapes(arguments)
        results = {name: torch.empty(shape, dtype=self.dtype) for name, shape in shapes.items() if name in outputs}
        backward, extended = direction(arguments, outputs)
        addresses = [self._tau, *inputs, *map(results.get, shapes)]
        self._sweeper(backward, backward and "state" in outputs, extended).run(
            self._single,
            self._steps,
            arguments.batch,
            stride(arguments.control),
            stride(inputs.data),
            self.threads,
            [0 if tensor is None else tensor.data_ptr() for tensor in addresses],
        )
        return SweepResult(**results)

    def hamiltonian(
        self, time: Tensor, state: Tensor, costate: Tensor, control: Tensor, parameters: Tensor, data: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """H = L + p.f (P,), H_x (P, n) and H_u (P, m) at P points, one row a point."""
        inputs, count = self._points(time, state, costate, control, parameters, data), time.shape[0]
        outputs = (
            torch.empty(count, dtype=self.dtype),
            torch.empty(count, self._n, dtype=self.dtype),
            torch.empty(count, self._m, dtype=self.dtype),
        )
        addresses = [0 if tensor is None else tensor.data_ptr() for tensor in (*inputs, *outputs)]
        self.model.points.run(self._single, count, self.threads, addresses)
        return outputs

    def _points(
        self, time: Tensor, state: Tensor, costate: Tensor, control: Tensor, parameters: Tensor, data: Tensor | None
    ) -> PointInputs:
        count, nd = time.shape[0], self.model.equations.data_dim
        if count == 0:
            raise ProblemError("there are no points to evaluate; give at least one row")
        return PointInputs(
            self._input(time, (count,), "time"),
            self._input(state, (count, self._n), "state"),
            self._input(costate, (count, self._n), "costate"),
            self._input(control, (count, self._m), "control"),
            self._input(self.theta(parameters), (count, self._q), "parameters") if self._q else None,
            self._input(data, (count, nd), "data") if nd else None,
        )
