"""Every problem of the gallery by Newton's method, with its own guess, beside its reference value."""

from __future__ import annotations

from benchmarks.report import Report
from benchmarks.run_gallery import solved


def run() -> Report:
    return solved("newton", "newton")
