"""The equations of a step as Newton's method sees them: on scaled time, with everything that it moves as an argument.

With tau in [0, 1], t = t0 + tau T and the duration T = t1 - t0, and the integrands g of integral constraints as
further states y,

    (x, y)' = T (f, g)(t, x, u, theta),    L -> T L,    y(0) = 0,    y(1) in [low, high]

so that a free final time is one more parameter. Arguments that Newton's method moves, in this order:

    z = (x, y, u, theta, t1)    with the optimised parameters alone, and t1 only where it is free

Inputs of the graphs, by group: tau, x (n + k), u (m), theta (q), t1, d (nd), and the weights w, m (n + k) of the
Lagrangian of a step, mu of path constraints, omega of the end. Matrices are those of second_order.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pontryagin.graph import Graph, ImplicitParameters, Node, capture, hessian, jacobian, schedule, simplify
from pontryagin.hamiltonian import arguments_along, derive, remembered, weighted_sum
from pontryagin.problem import Problem
from pontryagin.second_order import Matrix


@dataclass(frozen=True)
class Function:
    """Values h (rows), their Jacobian h_z and the Hessian of weights.h, lower triangle."""

    values: tuple[Node, ...]
    jacobian: Matrix
    hessian: Matrix


@dataclass(frozen=True)
class StepEquations:
    """The graphs of one problem, in the minimised sense. All matrices are in z."""

    state_dim: int  # n + k
    control_dim: int
    optimised: tuple[int, ...]  # entries of theta that are moved
    free_time: bool
    implicit: ImplicitParameters
    stage: Function  # T f, T g, T L; weights m, w
    path: Function  # c <= 0; weights mu
    end: Function  # phi, psi = 0 and fixed integrals, gamma <= 0 and bounds of integrals; weights omega
    start: Function  # the cost of the initial state; weight omega
    equality_count: int  # psi and fixed integrals

    @property
    def size(self) -> int:
        """Components of z."""
        return self.state_dim + self.control_dim + len(self.optimised) + self.free_time


def derive_step(problem: Problem) -> StepEquations:
    """Captures and differentiates, once. Raises CaptureError when a function cannot become a graph."""
    return remembered(problem, "step_equations", _derived)


def _derived(problem: Problem) -> StepEquations:
    equations = derive(problem)
    n, m, r = equations.state_dim, equations.control_dim, len(equations.terminal) - 1
    source = Graph()  # where functions are captured; the other graph is on scaled time
    implicit = ImplicitParameters(problem.parameter_dim)
    for parameter in equations.implicit.parameters:
        implicit.offset(parameter)
    functions, along = problem.functions, arguments_along(problem)

    def captured(
        name: str, function: Callable[..., Any] | None, arguments: list[tuple[str, int | None]], shape: tuple[int, ...]
    ) -> tuple[Node, ...]:
        if function is None:
            return ()
        return capture(source, function, arguments, name=name, shape=shape, parameters=implicit).outputs

    bounds = problem.integral_bounds
    low, high = ([], []) if bounds is None else (side.tolist() for side in bounds)
    integrand = captured("integral_constraint", functions.integrand, along, (len(low),))
    path = captured("path_constraint", functions.path_constraint, along, (problem.path_count,))
    first = functions.initial_cost if functions.user_initial_cost is not None else None
    start = captured("initial_cost", first, [("x", n), ("theta", problem.parameter_dim)], ())

    graph = Graph()
    free = problem.free_final_time is not None
    t1 = graph.input("t1", 0) if free else graph.constant(problem.t1_guess)
    duration = t1 - problem.t0
    now = problem.t0 + graph.input("tau", 0) * duration
    f_and_L = on(graph, equations.dynamics, now)
    integrands = on(graph, integrand, now)
    terminal = on(graph, equations.terminal, t1)
    integrals = [graph.input("x", n + i) for i in range(len(low))]
    fixed = [y - a for y, a, b in zip(integrals, low, high, strict=True) if a == b]
    sides = [a - y for y, a, b in zip(integrals, low, high, strict=True) if a > -float("inf") and a < b]
    sides += [y - b for y, a, b in zip(integrals, low, high, strict=True) if b < float("inf") and a < b]
    psi, gamma = terminal[1 : 1 + problem.equality_count], terminal[1 + problem.equality_count : 1 + r]

    optimised = tuple(problem.theta.optimised.nonzero().flatten().tolist())
    z = [*(graph.input("x", i) for i in range(n)), *integrals, *(graph.input("u", i) for i in range(m)),
         *(graph.input("theta", i) for i in optimised), *([t1] if free else [])]  # fmt: skip

    def function(values: Sequence[Node], weights: list[Node]) -> Function:
        return _differentiated(graph, tuple(values), weights, z)

    states = n + len(integrals)
    slopes = [duration * f for f in (*f_and_L[:n], *integrands)]
    end = [terminal[0], *psi, *fixed, *gamma, *sides]
    return StepEquations(
        state_dim=states,
        control_dim=m,
        optimised=optimised,
        free_time=free,
        implicit=implicit,
        stage=function(
            [*slopes, duration * f_and_L[n]], [*(graph.input("m", i) for i in range(states)), graph.input("w", 0)]
        ),
        path=function(on(graph, path, now), [graph.input("mu", i) for i in range(len(path))]),
        end=function(end, [graph.input("omega", i) for i in range(len(end))]),
        start=function(on(graph, start, now), [graph.input("omega", i) for i in range(len(start))]),
        equality_count=len(psi) + len(fixed),
    )


def on(graph: Graph, outputs: Sequence[Node], time: Node) -> tuple[Node, ...]:
    """The same formulas in another graph, with `time` in place of t."""
    new: dict[Node, Node] = {}
    for node in schedule(outputs):
        if node.op == "input":
            new[node] = time if node.group == "t" else graph.input(node.group, node.index)
        elif node.is_constant:
            new[node] = graph.constant(node.value)
        else:
            new[node] = graph.make(node.op, tuple(new[a] for a in node.args))
    return tuple(new[node] for node in outputs)


def _differentiated(graph: Graph, values: tuple[Node, ...], weights: list[Node], z: list[Node]) -> Function:
    """Values and Jacobian share what they can; so do the entries of the Hessian, which are asked for later."""
    if not values:
        return Function((), {}, {})
    slopes = jacobian(values, z)
    both = simplify([*values, *slopes.values()])
    total = weighted_sum(graph, weights, values)
    curvature = {} if total.is_constant else hessian(total, z)
    return Function(
        tuple(both[: len(values)]),
        _without_zeros(slopes, both[len(values) :]),
        _without_zeros(curvature, simplify([*curvature.values()])),
    )


def _without_zeros(places: Matrix, nodes: Sequence[Node]) -> Matrix:
    return {place: node for place, node in zip(places, nodes, strict=True) if not node.is_value(0.0)}
