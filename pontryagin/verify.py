"""The optimality report: Pontryagin's conditions recomputed independently of the solver that found the answer.

    state           x against the re-integration of the control found, by another method of order 5 on a finer grid
    objective       J, from the same re-integration
    bounds          u in U
    terminal        psi = 0, gamma <= 0 at the end of the re-integration
    costate         p(t0) against central differences of J + nu.e in x0
    transversality  p(t1) = phi_x + nu e_x
    multipliers     nu >= 0 and nu gamma = 0 of the terminal inequalities
    stationarity    u = P_U(u - H_u): the L2 gradient of J + nu.e in u, of the re-integration, projected
    minimum         H(t, x, p, u) <= H(t, x, p, v) for other controls v in U, in the mean over time
    hamiltonian     H constant in time, in the mean over time, where the problem is autonomous
    final time      H(t1) + phi_t + nu e_t = 0 where t1 is free; of one sign where it lies on its bound

Everything runs in float64 with the functions as they were written, whatever backend solved. All values are relative:
to one plus the largest state, costate or Hamiltonian. The first eight limits are a multiple of `accuracy`: they fail
where the grid is too coarse or the solver stopped early. The last three hold of the continuous optimum; a control of
N pieces meets them to about 1 / N, so their limit is MESH / N, and no less than a hundred times the accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pontryagin import pointwise
from pontryagin.answer import Answer
from pontryagin.backend.torch_sweep import TorchSweep
from pontryagin.control import Control
from pontryagin.instances import Instances
from pontryagin.pointwise import Points
from pontryagin.problem import Problem
from pontryagin.records import Check, Report
from pontryagin.sweep import Arguments, SweepResult
from pontryagin.time_grid import TimeGrid

#: Limit of a condition that only the continuous optimum meets, times the number of steps.
MESH = 0.5

#: The re-integration halves its steps until it agrees with itself to a tenth of the limit, and so often at most.
HALVINGS = 4

#: Numbers kept at once; larger batches are verified in parts.
MEMORY = 20_000_000


def verify(solution: Answer, accuracy: float | None = None) -> Report:
    """The optimality report of a solution; `accuracy` None is the one that the solve asked for.

    Raises ProblemError for a solution loaded without its problem.
    """
    solution.need_problem("checks")
    whole = solution.batched()
    accuracy = solution.accuracy if accuracy is None else accuracy
    n, steps = whole.state.shape[-1], 4 * whole.steps
    part = max(1, MEMORY // (steps * n * max(4 * n, 16)))
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
        checks, left_out = [
            self._state(), self._objective(), self._bounds(), self._costate(), self._transversality(),
            self._stationarity(), self._minimum(),
        ], []  # fmt: skip
        if self.problem.equality_count + self.problem.inequality_count:
            checks.insert(3, self._terminal())
        if self.problem.inequality_count:
            checks.append(self._multipliers())
        if self._autonomous():
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
    def fine(self) -> tuple[TorchSweep, SweepResult]:
        """The re-integration, on the first grid whose halving changes nothing that the limit would see."""
        factor, (sweep, found) = 2, self._integrate(2)
        for _ in range(HALVINGS):
            factor *= 2
            before, (sweep, found) = found, self._integrate(factor)
            assert before.state is not None and found.state is not None
            if bool((distance(before.state[:, :: factor // 2], found.state[:, ::factor]) < self.accuracy / 10).all()):
                break
        return sweep, found

    def _integrate(self, factor: int) -> tuple[TorchSweep, SweepResult]:
        grid = self.control.grid.refine(factor)
        scheme = "tsitouras" if self.solution.scheme == "dormand_prince" else "dormand_prince"
        sweep = TorchSweep(
            self.problem, grid, control_kind=self.control.kind, scheme=scheme, device=self.instances.device
        )
        return sweep, sweep.evaluate(self._arguments(grid), {"state", "objective", "terminal"})

    def _arguments(self, grid: TimeGrid) -> Arguments:
        s = self.solution
        return self.instances.arguments(self.control.on(grid), s.final_time.double(), s.multipliers.double())

    @cached_property
    def points(self) -> Points:
        """Begin and end of every step: 2N points for each problem."""
        points = self.solution.points()
        return Points(*(field.double() for field in points.fields))

    @cached_property
    def hamiltonian(self) -> pointwise.Hamiltonian:
        """At the points, flat (B 2N)."""
        return pointwise.hamiltonian(self.problem, self.points, self.solution.costate_points().double())

    @cached_property
    def hamiltonian_scale(self) -> Tensor:
        return 1 + self._by_problem(self.hamiltonian.value.abs()).amax(1)

    @cached_property
    def end(self) -> pointwise.End:
        s = self.solution
        return pointwise.end(
            self.problem, s.final_time.double(), self.state[:, -1], self.instances.parameters, s.multipliers.double()
        )

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
        sweep, found = self.fine
        assert found.state is not None
        factor = sweep.grid.steps // self.solution.steps
        value = distance(self.state, found.state[:, ::factor])
        meaning = f"x against {sweep.tableau.name}, {factor} times the steps"
        return Check("state", meaning, value, self.accuracy)

    def _objective(self) -> Check:
        _, found = self.fine
        assert found.objective is not None
        claimed = self.solution.objective.double() * (-1 if self.problem.maximize else 1)
        return Check("objective", "J from the same", relative(claimed, found.objective), 10 * self.accuracy)

    def _bounds(self) -> Check:
        values = self.control.values
        outside = (values - self.problem.control_set.project(values)).abs().amax((1, 2))
        return Check("bounds", "u in U", outside, 0.0)

    def _terminal(self) -> Check:
        _, found = self.fine
        assert found.terminal is not None and found.state is not None
        e = found.terminal
        miss = torch.cat(
            (e[:, : self.problem.equality_count].abs(), e[:, self.problem.equality_count :].clamp(min=0)), 1
        )
        meaning = "psi = 0" + (", gamma <= 0" if self.problem.inequality_count else "") + " at t1, from the same"
        return Check("terminal", meaning, miss.amax(1) / (1 + found.state[:, -1].abs().amax(1)), 10 * self.accuracy)

    # -- derivatives -------------------------------------------------------------------------------------------------

    def _costate(self) -> Check:
        """Central differences of order 4 with steps of a thousandth: their error is of order 1e-12 J^(5)."""
        batch, n = self.instances.initial_state.shape
        step = 1e-3 * (1 + self.instances.initial_state.abs())  # (B, n)
        offsets, weights = (-2.0, -1.0, 1.0, 2.0), (1 / 12, -2 / 3, 2 / 3, -1 / 12)
        moves = torch.stack([c * torch.diag_embed(step) for c in offsets], 1).reshape(batch, 4 * n, n)
        sweep, _ = self.fine
        rows = torch.arange(batch, device=step.device).repeat_interleave(4 * n)
        moved = self.instances.pick(rows)
        moved = replace(moved, initial_state=moved.initial_state + moves.flatten(0, 1))
        s, control = self.solution, replace(self.control, values=self.control.values[rows])
        arguments = moved.arguments(control.on(sweep.grid), s.final_time.double()[rows], s.multipliers.double()[rows])
        lagrangian = sweep.evaluate(arguments, {"lagrangian"}).lagrangian
        assert lagrangian is not None
        slopes = (lagrangian.reshape(batch, 4, n) * lagrangian.new_tensor(weights)[:, None]).sum(1) / step
        error = (self.costate[:, 0] - slopes).abs().amax(1)
        meaning = "p(t0) against central differences in x0"
        return Check("costate", meaning, error / (1 + self.costate.abs().amax((1, 2))), 100 * self.accuracy)

    def _transversality(self) -> Check:
        miss = (self.costate[:, -1] - self.end.by_state).abs().amax(1)
        value = miss / (1 + self.costate.abs().amax((1, 2)))
        return Check("transversality", "p(t1) = phi_x + nu e_x", value, self.accuracy)

    def _multipliers(self) -> Check:
        nu = self.solution.multipliers.double()[:, self.problem.equality_count :]
        gamma = self.end.constraints[:, self.problem.equality_count :]
        wrong = torch.maximum((-nu).clamp(min=0), (nu * gamma).abs()).amax(1) / (1 + nu.abs().amax(1))
        return Check("multipliers", "nu >= 0, nu gamma = 0", wrong, 100 * self.accuracy)

    def _stationarity(self) -> Check:
        """Derivatives on the fine grid, carried back to the rows of the control by the transpose of Control.on."""
        sweep, _ = self.fine
        derivative = sweep.evaluate(self._arguments(sweep.grid), {"control_derivative"}).control_derivative
        values = self.control.values.clone().requires_grad_()
        with torch.enable_grad():
            spread = replace(self.control, values=values).on(sweep.grid).values
        (coarse,) = torch.autograd.grad(spread, values, derivative)
        duration = (self.solution.final_time.double() - self.problem.t0)[:, None, None]
        gradient = coarse / (self.control.grid.basis_mass(self.control.kind).to(coarse)[:, None] * duration)
        projected = self.problem.control_set.projected_gradient(values.detach(), gradient)
        value = projected.abs().amax((1, 2)) / self.hamiltonian_scale
        bounded = self.problem.control_set.is_bounded
        return Check("stationarity", "u = P_U(u - H_u)" if bounded else "H_u = 0", value, 100 * self.accuracy)

    # -- the continuous optimum --------------------------------------------------------------------------------------

    def _minimum(self) -> Check:
        costate = self.solution.costate_points().double()
        best = self.hamiltonian.value
        for control in self._other_controls():
            other = pointwise.hamiltonian_value(self.problem, replace(self.points, control=control), costate)
            best = torch.fmin(best, other.detach())  # where another control leads to NaN it is no better
        excess = self._by_problem(self.hamiltonian.value - best)
        value = self._time_mean(excess) / self.hamiltonian_scale
        return Check("minimum", "H(u) <= H(v) for other v in U, mean", value, self.mesh_limit)

    def _other_controls(self) -> list[Tensor]:
        """(P, m) each: one component moved, over its range or by parts of its size; then the corners of the box."""
        u, box = self.points.control, self.problem.control_set
        low, high = box.low.to(u), box.high.to(u)
        size = 1 + u.abs().amax(0)
        found = []
        for j in range(u.shape[1]):
            both = bool(low[j].isfinite() & high[j].isfinite())
            for part in (0.0, 0.25, 0.5, 0.75, 1.0) if both else (-1.0, -0.1, 0.1, 1.0):
                moved = u.clone()
                moved[:, j] = low[j] + part * (high[j] - low[j]) if both else u[:, j] + part * size[j]
                found.append(box.project(moved))
        if 1 < u.shape[1] <= 3 and bool((low.isfinite() & high.isfinite()).all()):
            corners = torch.cartesian_prod(*torch.stack((low, high), 1))
            found += [corner.expand_as(u) for corner in corners]
        return found

    def _autonomous(self) -> bool:
        """Whether H stays the same, to the bit, when the times of the points are exchanged."""
        if self.problem.data is not None:
            return False
        costate = self.solution.costate_points().double()
        moved = replace(self.points, time=self.points.time.roll(self.solution.steps))
        same, other = (pointwise.hamiltonian_value(self.problem, p, costate) for p in (self.points, moved))
        return torch.equal(same.nan_to_num(), other.nan_to_num())

    def _constancy(self) -> Check:
        values = self._by_problem(self.hamiltonian.value)
        spread = self._time_mean((values - self._time_mean(values)[:, None]).abs())
        return Check("hamiltonian", "H constant, mean deviation", spread / self.hamiltonian_scale, self.mesh_limit)

    def _final_time(self) -> Check:
        assert self.problem.free_final_time is not None
        _, low, high = self.problem.free_final_time
        t1 = self.solution.final_time.double()
        slope = self._by_problem(self.hamiltonian.value)[:, -1] + self.end.by_time  # dJ/dt1
        slack = 1e-9 * (t1 - self.problem.t0)
        wrong = torch.where(t1 <= low + slack, (-slope).clamp(min=0), slope.abs())
        wrong = torch.where(t1 >= high - slack, slope.clamp(min=0), wrong)
        return Check("final time", "H(t1) + phi_t + nu e_t = 0", wrong / self.hamiltonian_scale, self.mesh_limit)


def distance(state: Tensor, other: Tensor) -> Tensor:
    """(B,) largest difference of two trajectories (B, N+1, n), relative to one plus the size of each component."""
    return ((state - other).abs() / (1 + other.abs().amax(1, keepdim=True))).amax((1, 2))


def relative(value: Tensor, other: Tensor) -> Tensor:
    """(B,) difference of two objectives, relative; of those under a thousandth, in thousandths."""
    return (value - other).abs() / other.abs().clamp(min=1e-3)
