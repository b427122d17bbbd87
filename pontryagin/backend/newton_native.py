"""Which code runs the functions of Newton's method: the interpreter, or generated C++, compiled once and kept."""

from __future__ import annotations

import ctypes
import warnings
from typing import NamedTuple

from pontryagin import _core
from pontryagin.backend.cache import is_cached, library_for
from pontryagin.backend.native import LARGEST, PATIENCE, generator_digest
from pontryagin.backend.newton_functions import NewtonFunctions
from pontryagin.backend.toolchain import CompileError, find_compiler
from pontryagin.codegen.bytecode import digest_of_graphs
from pontryagin.codegen.newton_library import newton_text
from pontryagin.codegen.newton_riccati import LARGEST_RICCATI, RiccatiShape
from pontryagin.codegen.newton_step import LARGEST_STEP, StepFormulas, StepKind
from pontryagin.errors import BackendError

#: Nanoseconds that the interpreter takes for an operation of a register of problems, and iterations of a solve.
OPERATION, ITERATIONS = 2.0, 20


class Chosen(NamedTuple):
    """What runs, its name and why."""

    functions: _core.NewtonFunctions
    name: str
    reason: str


def choose(functions: NewtonFunctions, backend: str, batch: int, steps: int, kind: StepKind) -> Chosen:
    """The functions for so many problems. Raises BackendError where compiled ones were asked for and cannot be."""
    interpreted = functions.interpreted
    match backend:
        case "native":
            if kind not in functions.compiled:
                _refuse_long(functions)
                find_compiler()
            return _compiled(functions, kind, "Compiled C++ was asked for.")
        case "auto":
            if kind in functions.compiled or is_cached(_key_of_steps(functions, kind)):
                return _compiled(functions, kind, "Compiled code for it is in the cache.")
            try:
                find_compiler()
            except BackendError:
                return Chosen(interpreted, "interpreter", "There is no compiler.")
            count, stages = functions.operations, len(kind.tableau.b)
            blocks = -(-batch // 8)
            if count <= LARGEST and 1e-9 * OPERATION * count * stages * steps * blocks * ITERATIONS > PATIENCE:
                return _compiled(functions, kind, "There are so many problems that compiling pays.")
            return Chosen(interpreted, "interpreter", "The functions are captured as formulas.")
    return Chosen(interpreted, "interpreter", "The interpreter was asked for.")


def text_of(functions: NewtonFunctions, kind: StepKind) -> str:
    """The C++ text of the library."""
    step = StepFormulas(functions.stage, kind)
    shape = RiccatiShape(
        n=step.n,
        ns=step.ns,
        nz=step.nz,
        moved=step.m if kind.linear_control else 0,
        ends=functions.equations.equality_count,
        jacobian=step.known_slopes,
    )
    return newton_text(
        functions.title,
        functions.texts,
        functions.row,
        functions.rows.count,
        step if step.operations <= LARGEST_STEP else None,
        shape if shape.operations <= LARGEST_RICCATI else None,
    )


def key_of(functions: NewtonFunctions) -> str:
    """All that determines the text, without writing it."""
    e, names = functions.equations, [name for name, _ in functions.outputs()]
    digest = digest_of_graphs({}, dict(zip(names, functions.codes, strict=True)))
    sizes = (
        e.state_dim, e.control_dim, functions.data_dim, tuple(e.optimised), e.free_time, len(e.path.values),
        len(e.end.values), e.equality_count,
    )  # fmt: skip
    return repr(("newton", generator_digest(), digest, functions.title, functions.rows, functions.entries, sizes))


def _key_of_steps(functions: NewtonFunctions, kind: StepKind) -> str:
    return repr((key_of(functions), kind, LARGEST_STEP, LARGEST_RICCATI))


def _refuse_long(functions: NewtonFunctions) -> None:
    count = functions.operations
    if count > LARGEST:
        raise BackendError(
            f"the formulas hold {count} operations; compilers take minutes over more than {LARGEST}. "
            'Use backend="interpreter"'
        )


def _compiled(functions: NewtonFunctions, kind: StepKind, reason: str) -> Chosen:
    if kind in functions.refused:
        return Chosen(functions.interpreted, "interpreter", "The compiler failed.")
    if kind not in functions.compiled:
        try:
            library = library_for(_key_of_steps(functions, kind), lambda: text_of(functions, kind))
        except CompileError as error:
            functions.refused.add(kind)
            warnings.warn(f"The interpreter runs Newton's method, because {error}", stacklevel=2)
            return Chosen(functions.interpreted, "interpreter", "The compiler failed.")
        table = library.handle.pontryagin_newton
        table.restype = ctypes.c_void_p
        functions.compiled[kind] = _core.NewtonFunctions.compiled(table())
    return Chosen(functions.compiled[kind], "native", reason)
