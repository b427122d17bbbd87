"""What the package raises: one root, one class for each thing that a caller can do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PontryaginError(Exception):
    """Root of all errors of this package."""


class ProblemError(PontryaginError, ValueError):
    """What was given is wrong: a shape, a type, a bound, an unknown name. The message says what to change."""


class CaptureError(PontryaginError):
    """A function cannot become a graph of formulas; such a problem is solved by the torch backend."""


class NonFiniteError(PontryaginError, ArithmeticError):
    """NaN or infinity where a finite number is needed. The message says in which function, when and where."""


class NotYetSupported(PontryaginError, NotImplementedError):
    """A valid wish that this version cannot fulfil."""


class BackendError(PontryaginError, RuntimeError):
    """A backend is missing, or its compiler, driver or device failed."""


def unknown_name(what: str, name: object, known: Iterable[str]) -> ProblemError:
    """The error for a name that is not in `known`: with the nearest ones, or all of them where none is near."""
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.6)
    remedy = f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(known) or '(none exist)'}"
    return ProblemError(f"{what} {name!r} is not known; {remedy}")
