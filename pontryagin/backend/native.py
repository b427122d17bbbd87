"""Sweeps by generated C++: the formulas of a problem as text, compiled once by the system's compiler, kept on disk.

What a library is compiled for (scalar type, scheme, kind of control, which derivatives) is part of its text, so that
each is small and compiles fast; a problem has one for each request that was made of it.
"""

from __future__ import annotations

import ctypes
import hashlib
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from pontryagin import _core, codegen, graph
from pontryagin.backend.cache import is_cached, library_for
from pontryagin.backend.compiled import CompiledModel, CompiledSweep, SweepRunner
from pontryagin.backend.toolchain import CompileError, find_compiler
from pontryagin.codegen.library import SweepRequest, library_text
from pontryagin.codegen.model import LARGEST_INLINE, model_text
from pontryagin.errors import BackendError
from pontryagin.graph import operation_count
from pontryagin.tableau import Tableau

#: Straight-line code with more operations than this takes compilers minutes; the interpreter has no such limit.
LARGEST = 20_000

#: Small formulas leave registers free for a second pack beside the first; larger ones would spill them.
LARGEST_PAIRED = 100

#: Estimated seconds in the interpreter, on one request, after which "auto" compiles: about twice what that takes.
PATIENCE = 4.0

#: Nanoseconds that the interpreter takes for an instruction: of one problem alone, and of a block of 32.
ONE, BLOCK, BLOCK_LANES = 1.2, 4.2, 32


def operations(model: CompiledModel) -> int:
    """Scalar operations of one stage, forward and backward."""
    return operation_count([*model.equations.dynamics, *model.equations.pullback])


def formulas_of(model: CompiledModel, title: str, request: SweepRequest) -> str:
    """The C++ text of the Model of a library."""
    e = model.equations
    constraints = e.equality_count + e.inequality_count
    return model_text(
        title=title,
        sizes={"n": e.state_dim, "m": e.control_dim, "q": e.parameter_dim, "nd": e.data_dim,
               "equalities": e.equality_count, "r": constraints},
        dynamics=e.dynamics,
        terminal=e.terminal,
        pullback=e.pullback if request.backward else (),
        terminal_pullback=e.terminal_pullback,
        extended=request.extended,
    )  # fmt: skip


def text_of(model: CompiledModel, title: str, tableau: Tableau, request: SweepRequest) -> str:
    """The C++ text of a library."""
    count = operations(model)
    registers = 2 if count <= LARGEST_PAIRED else 1
    formulas = formulas_of(model, title, request)
    return library_text(formulas, request, tableau, unrolled=count <= LARGEST_INLINE, registers=registers)


@cache
def generator_digest() -> str:
    """SHA-256 over the files that write texts: with others, the same formulas may give another text."""
    files = [path for package in (codegen, graph) for path in sorted(Path(str(package.__file__)).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def key_of(model: CompiledModel, title: str, tableau: Tableau, request: SweepRequest) -> str:
    """All that determines the text of a library, without writing it."""
    return repr((generator_digest(), model.digest, title, tableau, request))


class NativeSweep(CompiledSweep):
    """Sweeps of one problem on one grid by compiled C++. A SweepBackend.

    Raises CaptureError when a function of the problem cannot become a graph, and BackendError when there is no
    compiler, or the formulas are too long for one. Where the compiler fails, a warning shows its lines and the
    interpreter sweeps.

    Beside arguments and results each thread needs memory for one block of W problems (a register or two full): their
    controls, data and the paths that are asked for, and a tape of at most 640 KiB, whatever the horizon; the formula is
    in csrc/include/pontryagin/model_sweep.hpp.
    """

    name = "native"

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._natives: dict[tuple[bool, bool], _core.NativeSweeper | None] = {}
        count = operations(self.model)
        if count > LARGEST:
            raise BackendError(
                f"the formulas of a stage hold {count} operations; compilers take minutes over more than {LARGEST}. "
                'Use backend="interpreter"'
            )
        find_compiler()

    def text(self, backward: bool = True, extended: bool = False) -> str:
        """The C++ text for this grid, scheme and type."""
        return text_of(self.model, self.title, self._tableau, self._request(backward, extended))

    def key(self, backward: bool = True, extended: bool = False) -> str:
        """What the text is found by in the cache."""
        return key_of(self.model, self.title, self._tableau, self._request(backward, extended))

    def _sweeper(self, backward: bool, keep_state: bool, extended: bool) -> SweepRunner:
        native = self._native(backward, extended)
        if native is not None:
            self.name = "native"
            return native
        self.name = "interpreter"
        return super()._sweeper(backward, keep_state, extended)

    def _native(self, backward: bool, extended: bool) -> _core.NativeSweeper | None:
        """The library of this request, None where the compiler failed; shared by the sweeps of a problem."""
        mine = backward, extended
        if mine not in self._natives:
            key = (self._tableau, self._t0, self._request(backward, extended))
            kept = self.model.natives
            if key not in kept:
                try:
                    kept[key] = self._compiled(backward, extended)
                except CompileError as error:
                    warnings.warn(f"The interpreter sweeps, because {error}", stacklevel=2)
                    kept[key] = None
            self._natives[mine] = kept[key]
        return self._natives[mine]

    def _compiled(self, backward: bool, extended: bool) -> _core.NativeSweeper:
        library = library_for(self.key(backward, extended), lambda: self.text(backward, extended))
        table = library.handle.pontryagin_table
        table.restype = ctypes.c_void_p
        return _core.NativeSweeper(table(), t0=self._t0)


class AutoSweep(NativeSweep):
    """The interpreter at once; compiled C++ where it lies in the cache, or where so much was swept that it pays.

    How much was swept is counted in work, not in seconds, so that the same calls give the same bits.
    """

    name = "interpreter"

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        CompiledSweep.__init__(self, *arguments, **keywords)
        self._natives = {}
        self._decided: dict[tuple[bool, bool], bool] = {}
        self._spent: dict[tuple[bool, bool], float] = {}
        self._batch = 1

    def evaluate(self, arguments: Any, outputs: Any) -> Any:
        self._batch = arguments.batch
        return super().evaluate(arguments, outputs)

    def _sweeper(self, backward: bool, keep_state: bool, extended: bool) -> SweepRunner:
        key = backward, extended
        if key not in self._decided:
            self._decided[key] = self._possible() and is_cached(self.key(*key))
            if self._decided[key]:
                self.reason = "Compiled code for it is in the cache."
        if self._decided[key]:
            return super()._sweeper(backward, keep_state, extended)
        runner = CompiledSweep._sweeper(self, backward, keep_state, extended)
        self.name = "interpreter"
        self._count(key, runner)
        return runner

    def _count(self, key: tuple[bool, bool], runner: Any) -> None:
        counts = runner.counts()
        blocks = -(-self._batch // BLOCK_LANES)
        nanoseconds = ONE if self._batch == 1 else BLOCK * blocks
        work = self._steps * (counts["forward"] + counts["backward"]) * nanoseconds
        self._spent[key] = self._spent.get(key, 0.0) + 1e-9 * work / max(1, min(self.threads, blocks))
        if self._spent[key] > PATIENCE and self._possible():
            self._decided[key] = True
            self.reason = "So much was swept that compiling pays."

    def _possible(self) -> bool:
        if operations(self.model) > LARGEST:
            return False
        try:
            find_compiler()
        except BackendError:
            return False
        return True
