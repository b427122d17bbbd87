"""The functions of a problem that Newton's method asks for, in the compiled core: rows of arguments, rows of results.

Every function of step_equations.py gives values, values with the entries of their Jacobian, and entries of its Hessian.
All take their arguments from the same rows,

    tau, x, u, theta, t1, d, then the weights: w and m of a step, mu of path constraints, omega of the ends

and write values (and entries of the Jacobian) behind them, entries of the Hessian behind those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from pontryagin import _core
from pontryagin.codegen.bytecode import Code, flatten
from pontryagin.codegen.newton_step import StageFormulas, StepKind
from pontryagin.graph import Node, operation_count
from pontryagin.hamiltonian import remembered
from pontryagin.problem import Problem
from pontryagin.second_order import Matrix
from pontryagin.step_equations import Function, StepEquations, derive_step

#: Which function is which; the order is the core's (csrc/include/pontryagin/newton_problem.hpp).
KINDS = ("stage", "path", "end", "start")
PARTS = ("values", "slopes", "hessian")


@dataclass(frozen=True)
class Rows:
    """Where arguments and results stand."""

    tau: int
    x: int
    u: int
    theta: int
    t1: int
    d: int
    weights: int
    output: int
    hessian: int
    count: int

    def place(self, node: Node) -> tuple[int, int]:
        """Of an input; only the row counts."""
        first = {"w": self.weights, "m": self.weights + 1, "mu": self.weights, "omega": self.weights}
        return 0, first.get(node.group, getattr(self, node.group, 0)) + node.index

    @property
    def starts(self) -> list[int]:
        """As the core wants them."""
        return [self.tau, self.x, self.u, self.theta, self.t1, self.d, self.weights, self.output, self.hessian]


class NewtonFunctions:
    """The functions of one problem: formulas, rows, and what runs them."""

    def __init__(self, problem: Problem) -> None:
        self.equations: StepEquations = derive_step(problem)
        self.rows = _rows(problem, self.equations)
        self.title = problem.name or "a problem without a name"
        codes = [flatten(outputs, _core.operations, self.rows.place) for _, outputs in self.outputs()]
        self.codes: list[Code] = codes
        self.interpreted = _core.NewtonFunctions(codes, self.results, self.rows.count)
        self.compiled: dict[StepKind, _core.NewtonFunctions] = {}
        self.refused: set[StepKind] = set()  # where the compiler failed
        self.data_dim = problem.data_dim

    @classmethod
    def of(cls, problem: Problem) -> NewtonFunctions:
        """Those of a problem, made once; a refusal is remembered too."""
        return remembered(problem, "newton_functions", cls)

    def outputs(self) -> Iterator[tuple[str, list[Node]]]:
        """Name and results of each function, none where there is nothing to compute."""
        for kind in KINDS:
            function: Function = getattr(self.equations, kind)
            values, slopes, curvature = [*function.values], [*function.jacobian.values()], [*function.hessian.values()]
            yield f"{kind}_values", values
            yield f"{kind}_slopes", [*values, *slopes]
            yield f"{kind}_hessian", curvature

    @property
    def texts(self) -> dict[str, tuple[list[Node], int]]:
        """Name -> results and the row where they begin, for a generator."""
        return {name: (outputs, row) for (name, outputs), row in zip(self.outputs(), self.results, strict=True)}

    @property
    def stage(self) -> StageFormulas:
        """What a whole step is made of."""
        e = self.equations
        return StageFormulas(
            e.stage.values, e.stage.jacobian, e.stage.hessian, e.control_dim, self.data_dim, e.optimised, e.free_time
        )

    def row(self, node: Node) -> int:
        """Of an input."""
        return self.rows.place(node)[1]

    @cached_property
    def operations(self) -> int:
        """Scalar operations of all functions."""
        return sum(operation_count(outputs) for _, outputs in self.outputs())

    @cached_property
    def results(self) -> list[int]:
        """The row where the results of each function begin."""
        return [self.rows.output, self.rows.output, self.rows.hessian] * len(KINDS)

    @cached_property
    def entries(self) -> list[list[tuple[int, int]]]:
        """Places of the entries of all matrices."""
        matrices: list[Matrix] = []
        for kind in KINDS:
            function: Function = getattr(self.equations, kind)
            matrices += [function.jacobian, function.hessian]
        return [[*matrix] for matrix in matrices]


def _rows(problem: Problem, equations: StepEquations) -> Rows:
    functions: list[Function] = [getattr(equations, kind) for kind in KINDS]
    x = 1
    u = x + equations.state_dim
    theta = u + equations.control_dim
    t1 = theta + problem.parameter_dim + equations.implicit.count
    d = t1 + 1
    weights = d + problem.data_dim
    output = weights + max(equations.state_dim + 1, *(len(function.values) for function in functions))
    hessian = output + max(len(function.values) + len(function.jacobian) for function in functions)
    count = hessian + max(1, *(len(function.hessian) for function in functions))
    return Rows(0, x, u, theta, t1, d, weights, output, hessian, count)
