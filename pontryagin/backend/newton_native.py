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
from pontryagin.errors import BackendError

#: Nanoseconds that the interpreter takes for an operation of a register of problems, and iterations of a solve.
OPERATION, ITERATIONS = 2.0, 20


class Chosen(NamedTuple):
    """What runs, its name and why."""

    functions: _core.NewtonFunctions
    name: str
    reason: str


def choose(functions: NewtonFunctions, backend: str, batch: int, steps: int, stages: int) -> Chosen:
    """The functions for so many problems. Raises BackendError where compiled ones were asked for and cannot be."""
    interpreted = functions.interpreted
    match backend:
        case "native":
            if functions.compiled is None:
                _refuse_long(functions)
                find_compiler()
            return _compiled(functions, "Compiled C++ was asked for.")
        case "auto":
            if functions.compiled is not None or is_cached(key_of(functions)):
                return _compiled(functions, "Compiled code for it is in the cache.")
            try:
                find_compiler()
            except BackendError:
                return Chosen(interpreted, "interpreter", "There is no compiler.")
            count = functions.operations
            blocks = -(-batch // 8)
            if count <= LARGEST and 1e-9 * OPERATION * count * stages * steps * blocks * ITERATIONS > PATIENCE:
                return _compiled(functions, "There are so many problems that compiling pays.")
            return Chosen(interpreted, "interpreter", "The functions are captured as formulas.")
    return Chosen(interpreted, "interpreter", "The interpreter was asked for.")


def text_of(functions: NewtonFunctions) -> str:
    """The C++ text of the library."""
    return newton_text(functions.title, functions.texts, functions.row, functions.rows.count)


def key_of(functions: NewtonFunctions) -> str:
    """All that determines the text, without writing it."""
    names = [name for name, _ in functions.outputs()]
    digest = digest_of_graphs({}, dict(zip(names, functions.codes, strict=True)))
    return repr(("newton", generator_digest(), digest, functions.title, functions.rows))


def _refuse_long(functions: NewtonFunctions) -> None:
    count = functions.operations
    if count > LARGEST:
        raise BackendError(
            f"the formulas hold {count} operations; compilers take minutes over more than {LARGEST}. "
            'Use backend="interpreter"'
        )


def _compiled(functions: NewtonFunctions, reason: str) -> Chosen:
    if functions.compiled is None:
        try:
            table = library_for(key_of(functions), lambda: text_of(functions)).handle.pontryagin_newton
        except CompileError as error:
            warnings.warn(f"The interpreter runs Newton's method, because {error}", stacklevel=2)
            return Chosen(functions.interpreted, "interpreter", "The compiler failed.")
        table.restype = ctypes.c_void_p
        functions.compiled = _core.NewtonFunctions.compiled(table())
    return Chosen(functions.compiled, "native", reason)
