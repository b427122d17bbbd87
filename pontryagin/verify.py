"""The optimality report: Pontryagin's conditions recomputed independently of the solver that found the answer.

    state            x against the re-integration of the control found, by another method of order 5 with shorter steps
    objective        J, from the same re-integration
    bounds           u in U
    path             c <= 0 and state bounds at the nodes
    terminal         psi = 0, gamma <= 0 at the end of the re-integration
    costate          p against the derivatives of J + nu.e in every node, from the re-integration
    initial costate  p(t0) against central differences of J + nu.e in x0
    transversality   p(t1) = phi_x + nu e_x
    stationarity     u = P_U(u - H_u): the L2 gradient of J + nu.e in u, from the re-integration, projected
    minimum          H(t, x, p, u) <= H(t, x, p, v) for other controls v in U, in the mean over time
    multipliers      nu >= 0 and nu gamma = 0 of the terminal inequalities
    hamiltonian      H constant in time, in the mean over time, where the problem is autonomous
    final time       H(t1) + phi_t + nu e_t = 0 where t1 is free; of one sign where it lies on its bound

Path constraints and state bounds act at nodes, mu w c_x is part of the costate there. Where they or integral
constraints change what a check means, it is left out, and the report says so.

Everything runs in float64 with the functions as they were written, whatever backend solved; the central differences
alone use that backend, to integrate forward. All values are relative: to one plus the largest state, costate or
Hamiltonian. Most limits are a multiple of `accuracy`: they fail where the grid is too coarse or the solver stopped
early. Minimum, hamiltonian and final time hold of the continuous optimum; a control of N pieces meets them to about
1 / N, so their limit is MESH / N (that of hamiltonian MESH times the longest step, where p is known no better on a
bound of the state), and no less than a hundred times the accuracy. That of minimum is JUMPS / N^2: H is
above its minimum in the steps alone in which the control jumps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pontryagin import pointwise
from pontryagin.answer import Answer
from pontryagin.backend.select import make_backend
from pontryagin.control import Control
from pontryagin.instances import Instances
from pontryagin.minimum import excess
from pontryagin.pointwise import Points
from pontryagin.problem import Problem
from pontryagin.records import Check, Report
from pontryagin.reintegrate import Flows, Pushes, Reintegration, reintegrate
from pontryagin.tableau import DORMAND_PRINCE, TSITOURAS, Tableau

#: Limit of a condition that only the continuous optimum meets, times the number of steps.
MESH = 0.5

#: Steps of the central differences, relative to one plus the size of each state.
STEPS_IN_STATE = (1e-4, 1e-6)

#: Limit of the mean of H above its minimum, times the square of the number of steps.
JUMPS = 5.0

#: The re-integration halves its steps until it agrees with itself to a tenth of the limit, and so often at most.
HALVINGS = 4

#: What changes by more in the first halving belongs to steps that are far too long.
NO_HOPE = 1e-2

#: Numbers that the derivatives of a re-integration keep for each component of the state at each node, roughly.
KEPT = 300

#: Numbers kept at once, roughly; larger batches are verified in parts.
MEMORY = 100_000_000


def verify(solution: Answer, accuracy: float | None = None) -> Report:
    """The optimality report of a solution; `accuracy` None is the one that the solve asked for.

    Raises ProblemError for a solution loaded without its problem.
    """
    solution.need_problem("checks")
    whole = solution.batched()
    accuracy = solution.accuracy if accuracy is None else accuracy
    accuracy = max(accuracy, 100 * torch.finfo(whole.state.dtype).eps)  # of answers in single precision
    part = max(1, MEMORY // (KEPT * whole.state.shape[-1] * whole.steps))
    reports = [
        _Verification(whole.part(first, first + part), accuracy).report()
        for first in range(0, whole.state.shape[0], part)
    ]
    checks = zip(*(report.checks for report in reports), strict=True)
    return Report(
        tuple(replace(same[0], value=torch.cat([check.value for check in same])) for same in checks),
        reports[0].left_out,
    )


@dataclass(frozen=True)
class _Verification:
    """The checks of a batch of solutions, in float64."""

    solution: Answer  # with a batch axis
    accuracy: float

    def report(self) -> Report:
        checks, left_out = [self._state(), self._objective(), self._bounds()], []
        problem = self.problem
        if problem.functions.integrand is None:
            checks += [self._costate(), self._transversality(), self._stationarity()]
        else:
            left_out.append("costates and stationarity: integral constraints are part of H, and not checked")
        constrained = problem.functions.path_constraint is not None or problem.state_bounds is not None
        if problem.functions.integrand is None and not constrained:
            checks.insert(-2, self._initial_costate())
        if problem.functions.integrand is None and problem.functions.path_constraint is None:
            checks.append(self._minimum())
        if constrained:
            checks.insert(3, self._path())
        if self.problem.equality_count + self.problem.inequality_count:
            checks.insert(3, self._terminal())
        if self.problem.inequality_count:
            checks.append(self._multipliers())
        if problem.functions.path_constraint is not None or problem.functions.integrand is not None:
            left_out.append("minimum and hamiltonian: of u and H alone, which constraints along the path change")
        elif self._autonomous():
            checks.append(self._constancy())
        else:
            left_out.append("hamiltonian is not constant: the problem depends on time")
        if self.problem.free_final_time is not None:
            checks.append(self._final_time())
        return Report(tuple(checks), tuple(left_out))

    # -- what the checks look at -----------------------------------------------------------------------------------

    @cached_property
    def problem(self) -> Problem:
        return self.solution.need_problem("checks")

    @cached_property
    def instances(self) -> Instances:
        s = self.solution
        return Instances(self.problem, s.state[:, 0].double(), s.parameters.double(), s.data, single=False)

    @cached_property
    def control(self) -> Control:
        return replace(self.solution.control, values=self.solution.control.values.double())

    @cached_property
    def state(self) -> Tensor:
        return self.solution.state.double()

    @cached_property
    def costate(self) -> Tensor:
        return self.solution.costate.double()

    @cached_property
    def again(self) -> Reintegration:
        """The re-integration, in so many parts of each step that twice as many change nothing that the limit sees."""
        s = self.solution
        flows = Flows(self.instances, self.control, s.time.double(), self.scheme, 1)
        for _ in range(HALVINGS):
            before, flows = flows, replace(flows, parts=2 * flows.parts)
            with torch.no_grad():
                (x, cost), (y, same) = (f.run(*f.ends, self.state[:, :-1]) for f in (before, flows))
            change = torch.maximum(((x - y).abs() / (1 + y.abs())).amax(2).sum(1), (cost - same).abs().sum(1))
            if bool(((change < self.accuracy / 10) | ~(change < NO_HOPE)).all()):
                break
        return reintegrate(flows, self.state, s.multipliers.double(), self.pushes)

    @cached_property
    def node_weights(self) -> Tensor:
        """(B, N+1) of time: those of constraints at the nodes."""
        duration = self.solution.final_time.double() - self.problem.t0
        return duration[:, None] * self.control.grid.basis_mass("linear").to(self.state)

    @cached_property
    def nodes(self) -> Points:
        """All nodes, N+1 points for each problem; the last value of a constant control stands at the end too."""
        s, values, count = self.solution, self.control.values, self.state.shape[1]
        values = values if values.shape[1] == count else torch.cat((values, values[:, -1:]), 1)
        data = self.state.new_empty(*self.state.shape[:2], 0)
        if s.data is not None:
            data = s.data.on_grid(s.time).to(self.state).expand(len(self.state), -1, -1)
            data = data if data.shape[1] == count else torch.cat((data, data[:, -1:]), 1)
        theta = self.instances.parameters[:, None].expand(-1, count, -1)
        fields = (s.time.double(), self.state, values, theta, data)
        return Points(*(field.flatten(0, 1) for field in fields))

    @cached_property
    def path(self) -> tuple[Tensor, Tensor, Tensor]:
        """c (B, N+1, k), mu.c_x (B, N+1, n) and mu.c_u (B, N+1, m) at the nodes."""
        if self.problem.functions.path_constraint is None:
            none = torch.zeros_like(self.state)
            return none[..., :0], none, none.new_zeros(*none.shape[:2], self.problem.control_dim)
        mu = self.solution.path_multipliers.double()
        found = pointwise.path(self.problem, self.nodes, mu.flatten(0, 1))
        c, by_state, by_control = (value.reshape(*self.state.shape[:2], -1) for value in found)
        return c, by_state, by_control

    @cached_property
    def pushes(self) -> Pushes | None:
        """Of path constraints and state bounds."""
        if self.problem.functions.path_constraint is None and self.problem.state_bounds is None:
            return None
        _, by_state, by_control = self.path
        weights = self.node_weights[..., None]
        by_state = weights * (by_state + self.solution.state_multipliers.double())
        by_control = weights * by_control
        if self.control.kind == "constant":
            by_control = by_control[:, :-1]
        if self.problem.initial_state.isnan().any():  # bounds of a free initial state are no part of p(t0)
            by_state[:, 0] -= weights[:, 0] * self.solution.state_multipliers[:, 0].double()
        return Pushes(by_state, by_control)

    @property
    def scheme(self) -> Tableau:
        """Another method than that of the solve."""
        return TSITOURAS if self.solution.scheme == DORMAND_PRINCE.name else DORMAND_PRINCE

    @cached_property
    def points(self) -> Points:
        """Begin and end of every step: 2N points for each problem."""
        points = self.solution.points()
        return Points(*(field.double() for field in points.fields))

    @cached_property
    def hamiltonian(self) -> pointwise.Hamiltonian:
        """At the points, flat (B 2N)."""
        return pointwise.hamiltonian(self.problem, self.points, self.solution.inner_costate_points().double())

    @cached_property
    def hamiltonian_scale(self) -> Tensor:
        return 1 + self._by_problem(self.hamiltonian.value.abs()).amax(1)

    @cached_property
    def end(self) -> pointwise.End:
        """Of the state that the solution claims."""
        s = self.solution
        return pointwise.end(
            self.problem, s.final_time.double(), self.state[:, -1], self.instances.parameters, s.multipliers.double()
        )

    @cached_property
    def costate_size(self) -> Tensor:
        return 1 + self.costate.abs().amax((1, 2))

    def _by_problem(self, values: Tensor) -> Tensor:
        """(B, 2N) from (B 2N)."""
        return values.reshape(self.instances.batch, -1)

    def _time_mean(self, values: Tensor) -> Tensor:
        """(B,) mean over time of values (B, 2N) at the points."""
        weights = self.control.grid.lengths.repeat_interleave(2).to(values) / 2
        return (values * weights).sum(1)

    @property
    def mesh_limit(self) -> float:
        return max(MESH / self.solution.steps, 100 * self.accuracy)

    # -- the control found, integrated again -------------------------------------------------------------------------

    def _state(self) -> Check:
        meaning = f"x against {self.scheme.name}, {self.again.parts} times the steps"
        return Check("state", meaning, distance(self.state, self.again.state), self.accuracy)

    def _objective(self) -> Check:
        claimed = self.solution.objective.double() * (-1 if self.problem.maximize else 1)
        found = self.again.cost + self.again.end.cost
        found = found + pointwise.initial_cost(self.problem, self.state[:, 0], self.instances.parameters)
        return Check("objective", "J from the same", relative(claimed, found), 10 * self.accuracy)

    def _bounds(self) -> Check:
        values = self.control.values
        outside = (values - self.problem.control_set.project(values)).abs().amax((1, 2))
        return Check("bounds", "u in U", outside, 0.0)

    def _path(self) -> Check:
        c = self.path[0].clamp(min=0)
        if self.control.kind == "constant":
            c = c[:, :-1]
        worst = torch.nn.functional.pad(c.flatten(1), (0, 1)).amax(1)
        if self.problem.state_bounds is not None:
            low, high = (side.to(self.state) for side in self.problem.state_bounds)
            x = self.again.state
            worst = torch.maximum(worst, torch.maximum(low - x, x - high).clamp(min=0).amax((1, 2)))
        scale = 1 + self.again.state.abs().amax((1, 2))
        return Check("path", "c <= 0 and states in their bounds, at the nodes", worst / scale, 10 * self.accuracy)

    def _terminal(self) -> Check:
        e, equalities = self.again.end.constraints, self.problem.equality_count
        miss = torch.cat((e[:, :equalities].abs(), e[:, equalities:].clamp(min=0)), 1).amax(1)
        meaning = "psi = 0" + (", gamma <= 0" if self.problem.inequality_count else "") + " at t1, from the same"
        return Check("terminal", meaning, miss / (1 + self.again.state[:, -1].abs().amax(1)), 10 * self.accuracy)

    # -- derivatives -------------------------------------------------------------------------------------------------

    def _costate(self) -> Check:
        error = (self.costate - self.again.costate).abs().amax((1, 2))
        return Check("costate", "p against the derivatives of the same", error / self.costate_size, 100 * self.accuracy)

    def _initial_costate(self) -> Check:
        """Errors of order s^4 J^(5) from the step s, and 1e-16 J / s from rounding. J^(5) is large where all depends
        much on x0; so what disagrees is looked at with shorter steps once more."""
        limit = 100 * self.accuracy
        error = self._slope_errors(STEPS_IN_STATE[0])
        for part in STEPS_IN_STATE[1:]:
            if bool((error <= limit).all()):
                break
            error = torch.fmin(error, self._slope_errors(part))
        return Check("initial costate", "p(t0) against central differences in x0", error, limit)

    def _slope_errors(self, part: float) -> Tensor:
        """(B,) of p(t0) against central differences of order 4, relative to the size of p."""
        batch, n = self.instances.initial_state.shape
        step = part * (1 + self.instances.initial_state.abs())  # (B, n)
        offsets, weights = (-2.0, -1.0, 1.0, 2.0), (1 / 12, -2 / 3, 2 / 3, -1 / 12)
        moves = torch.stack([c * torch.diag_embed(step) for c in offsets], 1).reshape(batch, 4 * n, n)
        rows = torch.arange(batch, device=step.device).repeat_interleave(4 * n)
        moved = self.instances.pick(rows)
        moved = replace(moved, initial_state=moved.initial_state + moves.flatten(0, 1))
        control = replace(self.control, values=self.control.values[rows]).on(self.control.grid.refine(self.again.parts))
        sweep = make_backend(
            self.problem,
            control.grid,
            control_kind=control.kind,
            scheme=self.scheme,
            backend=self.solution.backend,
            device=self.instances.device,
        )
        s = self.solution
        arguments = moved.arguments(control, s.final_time.double()[rows], s.multipliers.double()[rows])
        lagrangian = sweep.evaluate(arguments, {"lagrangian"}).lagrangian
        assert lagrangian is not None
        slopes = (lagrangian.reshape(batch, 4, n) * lagrangian.new_tensor(weights)[:, None]).sum(1) / step
        return (self.costate[:, 0] - slopes).abs().amax(1) / self.costate_size

    def _transversality(self) -> Check:
        expected = self.end.by_state if self.pushes is None else self.end.by_state + self.pushes.state[:, -1]
        miss = (self.costate[:, -1] - expected).abs().amax(1)
        return Check("transversality", "p(t1) = phi_x + nu e_x", miss / self.costate_size, self.accuracy)

    def _multipliers(self) -> Check:
        nu = self.solution.multipliers.double()[:, self.problem.equality_count :]
        gamma = self.end.constraints[:, self.problem.equality_count :]
        wrong = torch.maximum((-nu).clamp(min=0), (nu * gamma).abs()).amax(1) / (1 + nu.abs().amax(1))
        return Check("multipliers", "nu >= 0, nu gamma = 0", wrong, 100 * self.accuracy)

    def _stationarity(self) -> Check:
        duration = (self.solution.final_time.double() - self.problem.t0)[:, None, None]
        mass = self.control.grid.basis_mass(self.control.kind).to(self.state)[:, None]
        gradient = self.again.control_derivative / (mass * duration)
        projected = self.problem.control_set.projected_gradient(self.control.values, gradient)
        value = projected.abs().amax((1, 2)) / self.hamiltonian_scale
        meaning = "u = P_U(u - H_u)" if self.problem.control_set.is_bounded else "H_u = 0"
        return Check("stationarity", meaning + ", from the same", value, 100 * self.accuracy)

    # -- the continuous optimum --------------------------------------------------------------------------------------

    def _minimum(self) -> Check:
        costate = self.solution.inner_costate_points().double()

        def energy(controls: Tensor) -> Tensor:
            points = (replace(self.points, control=control) for control in controls)
            return torch.stack([pointwise.hamiltonian_value(self.problem, p, costate).detach() for p in points])

        above = self._by_problem(excess(energy, self.problem.control_set, self.points.control))
        value = self._time_mean(above) / self.hamiltonian_scale
        limit = minimum_limit(self.solution.steps, self.accuracy)
        return Check("minimum", "H(u) <= H(v) for other v in U, mean", value, limit)

    def _autonomous(self) -> bool:
        """Whether H stays the same, to the bit, when the times of the points are exchanged."""
        if self.problem.data is not None:
            return False
        costate = self.solution.inner_costate_points().double()
        moved = replace(self.points, time=self.points.time.roll(self.solution.steps))
        same, other = (pointwise.hamiltonian_value(self.problem, p, costate) for p in (self.points, moved))
        return torch.equal(same.nan_to_num(), other.nan_to_num())

    def _constancy(self) -> Check:
        values = self._by_problem(self.hamiltonian.value)
        spread = self._time_mean((values - self._time_mean(values)[:, None]).abs())
        longest = float(self.control.grid.lengths.max())
        limit = max(MESH * longest, 100 * self.accuracy)
        return Check("hamiltonian", "H constant, mean deviation", spread / self.hamiltonian_scale, limit)

    def _final_time(self) -> Check:
        assert self.problem.free_final_time is not None
        _, low, high = self.problem.free_final_time
        t1 = self.solution.final_time.double()
        slope = self._by_problem(self.hamiltonian.value)[:, -1] + self.end.by_time  # dJ/dt1
        wrong = (t1 - (t1 - slope).clamp(low, high)).abs()
        return Check("final time", "H(t1) + phi_t + nu e_t = 0", wrong / self.hamiltonian_scale, self.mesh_limit)


def minimum_limit(steps: int, accuracy: float) -> float:
    """Of H above its minimum, the mean over time relative to one plus the largest H."""
    return max(JUMPS / steps**2, 100 * accuracy)


def distance(state: Tensor, other: Tensor) -> Tensor:
    """(B,) largest difference of two trajectories (B, N+1, n), relative to one plus the size of each component."""
    return ((state - other).abs() / (1 + other.abs().amax(1, keepdim=True))).amax((1, 2))


def relative(value: Tensor, other: Tensor) -> Tensor:
    """(B,) difference of two objectives, relative; of those under a thousandth, in thousandths."""
    return (value - other).abs() / other.abs().clamp(min=1e-3)
