"""One section of the benchmark in a process of its own: `python -m benchmarks.device.measure NAME [quick]`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from benchmarks.device import ceilings, checks, ensemble, gradients, nets, newton
from benchmarks.device.sections import Section, Told
from benchmarks.report import Report

#: What runs, in order, with the seconds that each may take; the later ones fall away where time is short.
SECTIONS: dict[Section, Callable[[Report, bool], None]] = {
    Section("ceilings", 60): ceilings.measure,
    Section("tests marked gpu", 190): checks.tests,
    Section("cart-pole gradient", 160): gradients.cartpole,
    Section("Lorenz ensemble", 90): ensemble.ours,
    Section("cart-pole swing-ups by Newton's method", 90): newton.swing_ups,
    Section("Lorenz ensemble, others", 100): ensemble.others,
    Section("compute-sanitizer", 90): checks.sanitizer,
    Section("ODE-Net steps", 90): nets.odenet,
}


def command(quick: bool) -> Callable[[Section], list[str]]:
    more = ["quick"] if quick else []
    return lambda section: [sys.executable, "-m", "benchmarks.device.measure", section.name, *more]


def main(name: str, *more: str) -> None:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the memory is torch's as well
    run = next(run for section, run in SECTIONS.items() if section.name == name)
    run(Told("gpu"), "quick" in more)


if __name__ == "__main__":
    main(*sys.argv[1:])
