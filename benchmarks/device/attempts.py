"""What one contender fails at is a note, and the next has its turn."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

import torch

from benchmarks.contender import NotMeasured
from benchmarks.report import Report


@contextlib.contextmanager
def attempt(report: Report, what: str, caught: type[Exception] = Exception) -> Iterator[None]:
    """A refusal, an error or an end of memory becomes a note; memory is given back either way."""
    try:
        yield
    except caught as error:
        report.note(f"{what}: {_sentence(error)}")
    finally:
        gc.collect()
        torch.cuda.empty_cache()


def _sentence(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return "out of device memory"
    if isinstance(error, NotMeasured):
        return str(error)
    return f"{type(error).__name__}: {' '.join(str(error).strip().splitlines()[:3])}"
