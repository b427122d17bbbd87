"""Which steps of a grid are too long: what each of them costs, by the principle and by the equations.

    loss    int over the step of H(t, x, p, u) - H(t, x, p, v), v the better control in U: by the principle, what the
            objective loses because the control runs in straight lines (or stands still) between the nodes
    defect  |x_{k+1} - phi_k(x_k)|, phi_k the flow of the step by a method of order 5, relative to the size of x

x and p inside of the steps are cubics through the nodes with slopes f and -H_x. Where constraints act at the nodes, p
there is the mean of both sides of its jump, and - mu c_x belongs to its slope. v is a Newton step in one control after
the other, cut off at the bounds; where H is not convex in a control, the bound that it heads for.

The loss says little about when a control jumps where H hardly depends on it. So steps with a jump are also divided that
are longer than the square root of the accuracy: with H_u that changes at a rate of one, such a step costs as much.

A step is divided where its share is more than that of N equal shares of what is allowed in all: in two, or in four
where it is much more. (Equidistribution of errors: Betts, Practical Methods for Optimal Control (2010), section 4.7;
losses of H: the needle variations of Pontryagin's proof.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pontryagin import pointwise
from pontryagin.instances import Instances
from pontryagin.minimum import excess
from pontryagin.newton_answer import NewtonAnswer
from pontryagin.pointwise import Points
from pontryagin.reintegrate import Flows
from pontryagin.sweep import SweepBackend
from pontryagin.time_grid import TimeGrid

#: Points of Gauss' rule of order 4, as parts of a step; each has half of the weight.
GAUSS = (0.5 - math.sqrt(3) / 6, 0.5 + math.sqrt(3) / 6)

#: Difference of a control for the curvature of H, relative to one plus its size.
NUDGE = 1e-5

#: A range of a control that is none, relative to one plus its size.
LEVEL = 1e-3

#: A step with more than so many times its share is divided in four: what a jump of the control costs falls with the
#: square of the step, everything else faster.
MUCH = 64.0

#: A grid that would have too many steps and so many times those of the one before at least is cut to what is allowed.
WORTH = 1.1

#: No share counts as more.
HUGE = 1e30


@dataclass(frozen=True)
class Mesh:
    """The steps of an answer on its grid. B problems, N steps."""

    instances: Instances  # with the initial states and parameters that were found
    answer: NewtonAnswer
    flows: Flows  # of the control found, by a method of order 5
    grid: TimeGrid
    backend: SweepBackend

    def defects(self) -> Tensor:
        """(B, N), relative to one plus the largest value of each state."""
        x = self.answer.state.double()
        with torch.no_grad():
            after, _ = self.flows.run(*self.flows.ends, x[:, :-1])
        return ((after - x[:, 1:]).abs() / (1 + x.abs().amax(1, keepdim=True))).amax(2)

    def losses(self) -> Tensor:
        """(B, N) of the objective."""
        begin, end = self._nodes(0), self._nodes(1)
        h = self.flows.time.diff(dim=1)
        total = torch.zeros_like(h)
        for part in GAUSS:
            x, p = (self._cubic(begin[i], begin[i + 1], end[i], end[i + 1], h[..., None], part) for i in (0, 2))
            left, right = self.flows.ends
            points = self.flows.points(self.flows.time[:, :-1] + part * h, x, (1 - part) * left + part * right)
            total += h / 2 * self._gain(points, p.flatten(0, 1), part).reshape(h.shape)
        return total

    def jumps(self) -> Tensor:
        """(B, N) scaled lengths of the steps in which a control changes by half of its range, 0 of the others."""
        left, right = self.flows.ends
        values = self.flows.control.values
        extent = (values.amax(1) - values.amin(1)).clamp(min=LEVEL * (1 + values.abs().amax(1)))
        jumping = ((right - left).abs() > extent[:, None] / 2).any(2)
        return torch.where(jumping, self.grid.lengths.to(values), 0.0)

    def excess(self) -> Tensor:
        """(B,) H(u) - min H over U, the mean of both ends of the steps, relative to one plus the largest H."""
        steps, sides = self.grid.steps, []
        for side, control in enumerate(self.flows.ends):
            rows = slice(side, steps + side)
            sides.append(self.flows.points(self.flows.time[:, rows], self.answer.state.double()[:, rows], control))
        points = Points(*(torch.cat(fields) for fields in zip(*(one.fields for one in sides), strict=True)))
        p = self.answer.inner_costate.double()
        p = torch.cat((p[:, :-1].flatten(0, 1), p[:, 1:].flatten(0, 1)))

        def energy(controls: Tensor) -> Tensor:
            count = len(controls)
            many = Points(*(field.repeat(count, *[1] * (field.dim() - 1)) for field in points.fields))
            return self._hamiltonian(self._with(many, controls.flatten(0, 1)), p.repeat(count, 1))[0].reshape(count, -1)

        value = energy(points.control[None]).reshape(2, -1, steps)
        above = excess(energy, self.instances.problem.control_set, points.control).reshape(2, -1, steps)
        return (above.mean(0) * self.grid.lengths.to(above)).sum(1) / (1 + value.abs().amax((0, 2)))

    # -- x and p inside of the steps ----------------------------------------------------------------------------------

    def _nodes(self, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x, x', p, p' (B, N, n) at the begin (0) or the end (1) of every step."""
        problem, answer = self.instances.problem, self.answer
        rows = slice(side, self.grid.steps + side)
        points = self.flows.points(self.flows.time[:, rows], answer.state.double()[:, rows], self.flows.ends[side])
        push = answer.state_multipliers.double()[:, rows]
        if problem.functions.path_constraint is not None:
            mu = answer.path_multipliers.double()[:, rows].flatten(0, 1)
            push = push + pointwise.path(problem, points, mu)[1].reshape(push.shape)
        mass = self.grid.basis_mass("linear")[rows].to(push)
        duration = self.flows.time[:, -1:] - self.flows.time[:, :1]
        p = answer.costate.double()[:, rows] - (mass * duration)[..., None] * push / 2
        with torch.no_grad():
            f, _ = pointwise.equations(problem, points)
        _, by_state, _ = self._hamiltonian(points, p.flatten(0, 1))
        return points.state.reshape(p.shape), f.reshape(p.shape), p, -by_state.reshape(p.shape) - push

    @staticmethod
    def _cubic(x: Tensor, slope: Tensor, y: Tensor, other: Tensor, h: Tensor, part: float) -> Tensor:
        """The cubic from x to y with these slopes, at a part of the step."""
        rest = 1 - part
        ends = rest**2 * (1 + 2 * part) * x + part**2 * (1 + 2 * rest) * y
        return ends + h * part * rest * (rest * slope - part * other)

    # -- the better control -------------------------------------------------------------------------------------------

    def _hamiltonian(self, points: Points, costate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        like = self.instances.initial_state
        fields = [field.to(like) for field in points.fields]
        time, state, control, parameters, data = fields
        found = self.backend.hamiltonian(
            time, state, costate.to(like), control, parameters, data if data.shape[1] else None
        )
        return found[0].double(), found[1].double(), found[2].double()

    def _gain(self, points: Points, costate: Tensor, part: float) -> Tensor:
        """H(u) - H(v) (B N) at points a part into their steps, none less than zero; mu.c_u counts as a part of H_u."""
        problem, u = self.instances.problem, points.control
        here, _, gradient = self._hamiltonian(points, costate)
        extra = torch.zeros_like(gradient)
        if problem.functions.path_constraint is not None:
            mu = self.answer.path_multipliers.double()
            mu = ((1 - part) * mu[:, :-1] + part * mu[:, 1:]).flatten(0, 1)
            extra = pointwise.path(problem, points, mu)[2]
            gradient = gradient + extra
        box, best = problem.control_set, torch.zeros_like(here)
        low, high = box.low.to(u), box.high.to(u)
        moved = u.clone()
        for j in range(u.shape[1]):
            nudge = NUDGE * (1 + u[:, j].abs())
            other = u.clone()
            other[:, j] += nudge
            curvature = (self._hamiltonian(self._with(points, other), costate)[2] + extra - gradient)[:, j] / nudge
            heading = torch.where(gradient[:, j] > 0, low[j], high[j])
            heading = torch.where(heading.isfinite(), heading, u[:, j])
            flat = curvature <= NUDGE * gradient[:, j].abs()
            newton = (u[:, j] - gradient[:, j] / curvature).clamp(low[j], high[j])
            moved[:, j] = torch.where(flat, heading, newton)
            single = u.clone()
            single[:, j] = moved[:, j]
            best = torch.fmax(best, self._fallen(points, costate, single, here, extra))
        return torch.fmax(best, self._fallen(points, costate, moved, here, extra)) if u.shape[1] > 1 else best

    def _fallen(self, points: Points, costate: Tensor, control: Tensor, here: Tensor, extra: Tensor) -> Tensor:
        there = self._hamiltonian(self._with(points, control), costate)[0]
        return here - there - (extra * (control - points.control)).sum(1)

    @staticmethod
    def _with(points: Points, control: Tensor) -> Points:
        return Points(points.time, points.state, control, points.parameters, points.data)


def divided(grid: TimeGrid, shares: Tensor, largest: int) -> TimeGrid | None:
    """Steps with a share (N,) above 1 in two parts, those far above in four; all of them in two where there is none.

    Where that is more than the `largest` number of steps, those with the largest shares alone; None where room is left
    for few.
    """
    if bool((shares <= 1).all()):
        return grid.refine(2) if 2 * grid.steps <= largest else None
    parts = _parts(shares)
    if int(parts.sum()) > largest:
        shares = shares.clamp(max=HUGE)
        while int(parts.sum()) > largest and bool((shares > 1).any()):
            shares = shares / 2
            parts = _parts(shares)
        if int(parts.sum()) < WORTH * grid.steps:
            return None
    lengths = (grid.lengths / parts).repeat_interleave(parts)
    first = torch.repeat_interleave(parts.cumsum(0) - parts, parts)
    inner = grid.nodes[:-1].repeat_interleave(parts) + (torch.arange(len(first)) - first) * lengths
    return TimeGrid(torch.cat((inner, grid.nodes[-1:])))


def _parts(shares: Tensor) -> Tensor:
    return 1 + (shares > 1).long() + 2 * (shares > MUCH).long()
