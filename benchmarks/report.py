"""Rows and limits of one benchmark, as a table on standard output and as JSON in benchmarks/results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import machine

RESULTS = Path(__file__).with_name("results")


@dataclass(frozen=True)
class Row:
    what: str
    value: float
    unit: str
    batch: int | None = None
    error: float | None = None  # relative, against float64 autograd, before anything was timed


@dataclass(frozen=True)
class Check:
    what: str
    value: float
    limit: str  # "<= 2.7"
    batch: int | None = None

    @property
    def met(self) -> bool:
        relation, bound = self.limit.split()
        return self.value <= float(bound) if relation == "<=" else self.value >= float(bound)


@dataclass
class Report:
    name: str
    rows: list[Row] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    def row(self, what: str, value: float, unit: str, batch: int | None = None, error: float | None = None) -> None:
        self.rows.append(Row(what, value, unit, batch, error))

    def check(self, what: str, value: float, limit: str, batch: int | None = None) -> None:
        self.checks.append(Check(what, value, limit, batch))

    def show(self) -> None:
        lines = [("", "B", "", "", "error")]
        for r in self.rows:
            error = "" if r.error is None else f"{r.error:.0e}"
            lines.append((r.what, str(r.batch or ""), f"{r.value:,.4g}", r.unit, error))
        print(f"\n{self.name}\n{_aligned(lines)}")
        if not self.checks:
            return
        limits = [("", "B", "", "limit", "")]
        for c in self.checks:
            limits.append((c.what, str(c.batch or ""), f"{c.value:.3g}", c.limit, "" if c.met else "missed"))
        print(f"\n{_aligned(limits)}")

    def save(self) -> Path:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.name}.json"
        content = {
            "machine": machine.describe(),
            "rows": [asdict(r) for r in self.rows],
            "checks": [{**asdict(c), "met": c.met} for c in self.checks],
        }
        path.write_text(json.dumps(content, indent=1) + "\n")
        return path


def _aligned(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def padded(line: tuple[str, ...]) -> list[str]:
        return [
            cell.ljust(width) if i in (0, 3) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]

    return "\n".join("  ".join(padded(line)) for line in lines)
