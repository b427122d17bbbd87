"""Second derivatives on graphs: what Newton's method needs of a problem beyond its first-order equations.

With z = (x, u), a weight w and multipliers m of f, mu of the path constraints c <= 0 and omega of cost and constraints
at the end:

    stages   f, L, f_z        and  (w L + m.f)_z, (w L + m.f)_zz
    nodes    c, c_z           and  (mu.c)_zz
    end      e_x              and  (omega_0 phi + omega.e)_xx

The two columns are two passes of a step: values and Jacobians on the way forward, Hessians on the way back, when the
multipliers are known. Each shares what it can within itself. Path constraints act at nodes and never inside stages, so
mu.c stands apart from w L + m.f.

A matrix is a mapping {(row, column): node} of the entries that are not structural zeros, by rows; of a symmetric one
the lower triangle. Inputs of the graphs are those of hamiltonian.py, and mu.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pontryagin.graph import Graph, ImplicitParameters, Node, capture, gradient, hessian, jacobian, schedule, simplify
from pontryagin.hamiltonian import arguments_along, derive, remembered, weighted_sum
from pontryagin.problem import Problem

Matrix = Mapping[tuple[int, int], Node]


@dataclass(frozen=True)
class SecondOrder:
    """The graphs of one problem, in the minimised sense."""

    parameter_dim: int  # that of Equations, then the entries of nn.Parameters that only the path constraints use
    implicit: ImplicitParameters
    dynamics: tuple[Node, ...]  # f (n), L, in the terms that the Jacobian shares with them
    jacobian: Matrix  # f_z (n, n + m)
    gradient: tuple[Node, ...]  # (w L + m.f)_z (n + m)
    hessian: Matrix  # (w L + m.f)_zz
    path: tuple[Node, ...]  # c
    path_jacobian: Matrix  # c_z
    path_hessian: Matrix  # (mu.c)_zz
    terminal_jacobian: Matrix  # e_x (r, n)
    terminal_hessian: Matrix  # (omega_0 phi + omega.e)_xx


def derive_second_order(problem: Problem) -> SecondOrder:
    """Differentiates the equations of a problem twice, and captures and differentiates its path constraints, once.

    Raises CaptureError when a function cannot become a graph.
    """
    return remembered(problem, "second_order", _derived)


def _derived(problem: Problem) -> SecondOrder:
    equations = derive(problem)
    n, m = equations.state_dim, equations.control_dim
    graph = Graph()  # the other one has grown by whatever was printed from it, and numbers decide orders
    formulas = _copied([*equations.dynamics, *equations.terminal], graph)
    dynamics, terminal = formulas[: n + 1], formulas[n + 1 :]
    state = _inputs(graph, "x", n)
    z = [*state, *_inputs(graph, "u", m)]
    path, implicit = _path_constraints(problem, graph, equations.implicit)

    stage = weighted_sum(graph, [*_inputs(graph, "m", n), graph.input("w", 0)], dynamics)
    node = weighted_sum(graph, _inputs(graph, "mu", len(path)), path)
    end = weighted_sum(graph, _inputs(graph, "omega", len(terminal)), terminal)

    f_and_L, f_z = _simplified(dynamics, jacobian(dynamics[:n], z))
    slopes, stage_zz = _simplified(gradient(stage, z), hessian(stage, z))
    c, c_z = _simplified(path, jacobian(path, z))
    return SecondOrder(
        parameter_dim=problem.parameter_dim + implicit.count,
        implicit=implicit,
        dynamics=f_and_L,
        jacobian=f_z,
        gradient=slopes,
        hessian=stage_zz,
        path=c,
        path_jacobian=c_z,
        path_hessian=_simplified((), hessian(node, z))[1],
        terminal_jacobian=_simplified((), jacobian(terminal[1:], state))[1],
        terminal_hessian=_simplified((), hessian(end, state))[1],
    )


def _copied(outputs: Sequence[Node], graph: Graph) -> tuple[Node, ...]:
    """The same formulas in another graph."""
    new: dict[Node, Node] = {}
    for node in schedule(outputs):
        if node.op == "input":
            new[node] = graph.input(node.group, node.index)
        elif node.is_constant:
            new[node] = graph.constant(node.value)
        else:
            new[node] = graph.make(node.op, tuple(new[a] for a in node.args))
    return tuple(new[node] for node in outputs)


def _inputs(graph: Graph, group: str, size: int) -> list[Node]:
    return [graph.input(group, i) for i in range(size)]


def _path_constraints(
    problem: Problem, graph: Graph, known: ImplicitParameters
) -> tuple[tuple[Node, ...], ImplicitParameters]:
    """c, and the nn.Parameters known so far with those of c behind them; sweeps go on without the latter."""
    implicit = ImplicitParameters(known.declared)
    for parameter in known.parameters:
        implicit.offset(parameter)
    function = problem.functions.path_constraint
    if function is None:
        return (), implicit
    shape = (problem.path_count,)
    arguments = arguments_along(problem)
    found = capture(graph, function, arguments, name="path_constraint", shape=shape, parameters=implicit)
    return tuple(simplify(found.outputs)), implicit


def _simplified(values: Sequence[Node], matrix: Matrix) -> tuple[tuple[Node, ...], Matrix]:
    """Values and entries, simplified together; entries that turn out to be zero are left out."""
    nodes = simplify([*values, *matrix.values()])
    entries = zip(matrix, nodes[len(values) :], strict=True)
    return tuple(nodes[: len(values)]), {place: entry for place, entry in entries if not entry.is_value(0.0)}
