"""The registry of the gallery: every module of this package whose name has no leading underscore is a problem.

Such a module states its problem in mathematics in its docstring, and has

    tags        kinds of difficulty, out of TAGS
    tolerance   "smooth", "constrained" (the optimal control has kinks where bounds begin to hold) or "nonsmooth" (it
                jumps, or the problem is singular): how fast a discretised optimum approaches the reference
    reference   Reference, the optimal value and where it comes from; a problem without one is refused
    problem()   the Problem; its functions are those of the module, so that it can be pickled
    guess(problem), optional: a first control that a person would try where zero (or the middle of the bounds) is a bad
                one: m numbers for a constant control, or rows (K, m) at K evenly spaced nodes of the horizon
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from pontryagin.errors import ProblemError, unknown_name

if TYPE_CHECKING:  # torch is imported when a problem is asked for
    from pontryagin.problem import Problem

TAGS = (
    "unconstrained",
    "control bounds",
    "terminal constraint",
    "path constraint",
    "state bounds",
    "free time",
    "singular",
)
TOLERANCES = ("smooth", "constrained", "nonsmooth")

Tolerance = Literal["smooth", "constrained", "nonsmooth"]
Rows = Sequence[float] | Sequence[Sequence[float]]
Guess = Callable[["Problem"], Rows]


@dataclass(frozen=True)
class Reference:
    """The optimal value in the sense of the statement (of a maximum, the maximum), to so many significant digits.

    Costates are those of H = L + p.f minimised, of -J where J is maximised.
    """

    objective: float
    digits: int
    citation: str
    initial_costate: tuple[float, ...] | None = None
    switching_times: tuple[float, ...] | None = None
    final_time: float | None = None
    other_minima: tuple[float, ...] = ()  # local ones that solvers are known to end in

    def __post_init__(self) -> None:
        if not math.isfinite(self.objective) or self.digits < 1 or not self.citation:
            raise ProblemError(f"{self} proves nothing; give a finite value, its digits and where it comes from")


@dataclass(frozen=True)
class Entry:
    """One problem of the gallery; `problem()` builds it."""

    name: str
    title: str
    statement: str
    problem: Callable[[], Problem]
    reference: Reference
    tags: tuple[str, ...]
    tolerance: Tolerance
    guess: Guess | None = None


def names() -> list[str]:
    """The names of all problems, in alphabetical order."""
    package = importlib.import_module("pontryagin.problems")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))


def get(name: str) -> Entry:
    """The problem of that name. Raises ProblemError, with the nearest names, where there is none."""
    known = names()
    if name not in known:
        raise unknown_name("problem", name, known)
    return entry_of(importlib.import_module(f"pontryagin.problems.{name}"))


def entry_of(module: ModuleType) -> Entry:
    """The entry that a module states. Raises ProblemError where it lacks a part, the reference value above all."""
    name = module.__name__.rpartition(".")[2]
    reference = getattr(module, "reference", None)
    if not isinstance(reference, Reference):
        raise ProblemError(f"problem {name!r} has no reference value; give reference = Reference(...) in its module")
    statement = (module.__doc__ or "").strip()
    if not statement:
        raise ProblemError(f"problem {name!r} has no statement; write it as the docstring of its module")
    for tag in getattr(module, "tags", ()):
        if tag not in TAGS:
            raise unknown_name(f"tag of problem {name!r},", tag, TAGS)
    tolerance = getattr(module, "tolerance", None)
    if tolerance not in TOLERANCES:
        raise unknown_name(f"tolerance of problem {name!r},", tolerance, TOLERANCES)
    return Entry(
        name=name,
        title=statement.splitlines()[0].rstrip("."),
        statement=statement,
        problem=module.problem,
        reference=reference,
        tags=tuple(module.tags),
        tolerance=tolerance,
        guess=getattr(module, "guess", None),
    )
