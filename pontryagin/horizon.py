"""The horizon of a problem, [t0, t1] or [t0, free]."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from pontryagin.errors import ProblemError
from pontryagin.values import number

FreeTime = tuple[float, float, float]


def time_span(horizon: Any, free_final_time: Any) -> tuple[float, float, FreeTime | None]:
    """(t0, t1 or its guess, None or (guess, low, high) with t0 < low <= guess <= high) of what was given."""
    if horizon is None and free_final_time is None:
        raise ProblemError("no horizon: give horizon=(t0, t1), or free_final_time=(guess, low, high)")
    ends = (0.0, None) if horizon is None else horizon
    if not isinstance(ends, (list, tuple, Tensor)) or len(ends) != 2:
        raise ProblemError(f"horizon is {horizon!r}; give two times (t0, t1)")
    t0 = number("horizon[0]", ends[0])
    if free_final_time is None:
        return t0, _fixed_end(t0, ends[1]), None
    if ends[1] is not None:
        raise ProblemError(
            f"the final time is fixed to {ends[1]!r} by horizon and left free by free_final_time; "
            "leave one out, or give horizon=(t0, None) to set the start alone"
        )
    guess, low, high = _free_end(t0, free_final_time)
    return t0, guess, (guess, low, high)


def _fixed_end(t0: float, given: Any) -> float:
    if given is None:
        raise ProblemError("horizon has no end; give horizon=(t0, t1), or free_final_time=(guess, low, high)")
    t1 = number("horizon[1]", given)
    if t1 <= t0:
        fault = "is empty" if t1 == t0 else "runs backwards"
        raise ProblemError(f"the horizon from {t0:g} to {t1:g} {fault}; the end must lie after the start")
    return t1


def _free_end(t0: float, given: Any) -> FreeTime:
    if not isinstance(given, (list, tuple)) or len(given) != 3:
        raise ProblemError(f"free_final_time is {given!r}; give (guess, low, high)")
    guess = number("free_final_time guess", given[0])
    low = -math.inf if given[1] is None else number("free_final_time low", given[1], infinite=True)
    high = math.inf if given[2] is None else number("free_final_time high", given[2], infinite=True)
    if low > high:
        raise ProblemError(f"free_final_time: low {low:g} lies above high {high:g}; the form is (guess, low, high)")
    if guess <= t0:
        raise ProblemError(f"free_final_time: the guess {guess:g} does not lie after the start {t0:g}")
    if low <= t0:
        low = t0 + 1e-3 * (guess - t0)  # t1 > t0 is built in
    if not low <= guess <= high:
        raise ProblemError(f"free_final_time: the guess {guess:g} lies outside of low {low:g} to high {high:g}")
    return guess, low, high
