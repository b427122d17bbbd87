"""Pontryagin's principle on graphs: from the formulas of a problem to its costate and control equations.

For the minimised problem  J = phi(t1, x(t1)) + int L(t, x, u) dt,  x' = f(t, x, u), with terminal constraints
e = (psi = 0, gamma <= 0) and their weights omega, the Hamiltonian is H = L + p.f, minimised over u, and

    state     x' =  H_p = f                     x(t0) = x0
    costate   p' = -H_x                         p(t1) = phi_x + sum_j omega_j e_jx
    control   H_u = 0 (interior)                u = argmin_U H in general

A Runge-Kutta stage needs the derivatives of w L + m.f for a weight w and a multiplier m (the Hamiltonian with w = 1,
m = p), the end those of omega_0 phi + omega.e. One reverse pass over each gives all first derivatives together.

Inputs of the graphs, by group: t, x (n), u (m), theta (q), d (nd), w, m (n), omega (1 + r).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

from pontryagin.errors import CaptureError
from pontryagin.graph import Graph, ImplicitParameters, Node, capture, gradient, simplify
from pontryagin.problem import Problem

Made = TypeVar("Made")

#: Several grids of a refinement, two kinds of control, and room for comparisons.
KEPT = 32


@dataclass(frozen=True)
class Equations:
    """The graphs of one problem, in the minimised sense."""

    state_dim: int
    control_dim: int
    parameter_dim: int  # declared parameters, then the entries of captured nn.Parameters
    data_dim: int
    equality_count: int
    inequality_count: int
    implicit: ImplicitParameters
    dynamics: tuple[Node, ...]  # f (n), L
    pullback: tuple[Node, ...]  # of w L + m.f in x (n), u (m), theta (q), t
    terminal: tuple[Node, ...]  # phi, psi, gamma
    terminal_pullback: tuple[Node, ...]  # of omega_0 phi + omega.e in x (n), theta (q), t


def weighted_sum(graph: Graph, weights: list[Node], values: tuple[Node, ...]) -> Node:
    """sum_i weights_i values_i."""
    total = graph.constant(0.0)
    for weight, value in zip(weights, values, strict=True):
        total = total + weight * value
    return total


def arguments_along(problem: Problem) -> list[tuple[str, int | None]]:
    """The groups of inputs of functions on the path, and their sizes."""
    return [
        ("t", None),
        ("x", problem.state_dim),
        ("u", problem.control_dim),
        ("theta", problem.parameter_dim),
        ("d", problem.data_dim),
    ]


def remembered(problem: Problem, key: str, make: Callable[[Problem], Made]) -> Made:
    """What is made of a problem once and kept with it; a refusal is remembered too."""
    kept = problem._cache.get(key)
    if kept is None:
        try:
            kept = make(problem)
        except CaptureError as refusal:
            kept = refusal
        problem._cache[key] = kept
    if isinstance(kept, CaptureError):
        raise kept
    found: Made = kept
    return found


def kept(problem: Problem, what: str, key: Hashable, make: Callable[[], Made]) -> Made:
    """The same for each key, of which the last KEPT stay."""
    known: dict[Hashable, Made] = problem._cache.setdefault(what, {})
    if key not in known:
        if len(known) >= KEPT:
            known.pop(next(iter(known)))
        known[key] = make()
    return known[key]


def derive(problem: Problem) -> Equations:
    """Captures the functions of a problem and differentiates w L + m.f and omega_0 phi + omega.e, once.

    Raises CaptureError when a function cannot become a graph.
    """
    return remembered(problem, "equations", _derived)


def _derived(problem: Problem) -> Equations:
    graph = Graph()
    n, m, nd = problem.state_dim, problem.control_dim, problem.data_dim
    implicit = ImplicitParameters(problem.parameter_dim)
    path = arguments_along(problem)
    end = [("t", None), ("x", n), ("theta", problem.parameter_dim)]
    functions = problem.functions

    def captured(name: str, arguments: list[tuple[str, int | None]], shape: tuple[int, ...]) -> tuple[Node, ...]:
        function = getattr(functions, name)
        return capture(graph, function, arguments, name=name, shape=shape, parameters=implicit).outputs

    f = captured("dynamics", path, (n,))
    running_cost = captured("running_cost", path, ())
    phi = captured("terminal_cost", end, ())
    psi = captured("terminal_equality", end, (problem.equality_count,)) if problem.equality_count else ()
    gamma = captured("terminal_inequality", end, (problem.inequality_count,)) if problem.inequality_count else ()

    dynamics = tuple(simplify([*f, *running_cost]))
    terminal = tuple(simplify([*phi, *psi, *gamma]))

    q = problem.parameter_dim + implicit.count
    time = graph.input("t", 0)
    state = [graph.input("x", i) for i in range(n)]
    control = [graph.input("u", i) for i in range(m)]
    theta = [graph.input("theta", i) for i in range(q)]
    weights = [*(graph.input("m", i) for i in range(n)), graph.input("w", 0)]
    omega = [graph.input("omega", i) for i in range(len(terminal))]

    pullback = gradient(weighted_sum(graph, weights, dynamics), [*state, *control, *theta, time])
    terminal_pullback = gradient(weighted_sum(graph, omega, terminal), [*state, *theta, time])
    # Together, so that formulas and their derivatives share what they can.
    along = tuple(simplify([*dynamics, *pullback]))
    at_end = tuple(simplify([*terminal, *terminal_pullback]))
    return Equations(
        state_dim=n,
        control_dim=m,
        parameter_dim=q,
        data_dim=nd,
        equality_count=problem.equality_count,
        inequality_count=problem.inequality_count,
        implicit=implicit,
        dynamics=along[: n + 1],
        pullback=along[n + 1 :],
        terminal=at_end[: len(terminal)],
        terminal_pullback=at_end[len(terminal) :],
    )
