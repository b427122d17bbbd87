"""Rows and limits of one benchmark, as tables on standard output and as JSON in benchmarks/results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import machine

RESULTS = Path(__file__).with_name("results")
PER_STEP = "ns per problem and step"
WIDEST = 6  # columns of a table


@dataclass(frozen=True)
class Row:
    what: str
    value: float
    unit: str
    batch: int | None = None
    error: float | None = None  # relative, against float64 autograd, before anything was timed
    group: str = ""  # the table that it stands in
    steps: int | None = None  # of the horizon, where it is not the usual number
    width: int | None = None  # of the state and of the hidden layer, where a table runs over it


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
    notes: list[str] = field(default_factory=list)  # what was not measured, and why
    records: list[dict[str, Any]] = field(default_factory=list)  # lines of a table with columns of its own

    def row(
        self,
        what: str,
        value: float,
        unit: str,
        batch: int | None = None,
        error: float | None = None,
        group: str = "",
        steps: int | None = None,
        width: int | None = None,
    ) -> None:
        self.rows.append(Row(what, value, unit, batch, error, group, steps, width))

    def check(self, what: str, value: float, limit: str, batch: int | None = None) -> None:
        self.checks.append(Check(what, value, limit, batch))

    def record(self, **cells: Any) -> None:
        self.records.append(cells)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def show(self) -> None:
        for group in dict.fromkeys(r.group for r in self.rows):
            print(f"\n{self.name}{group and ': '}{group}")
            print(_table([r for r in self.rows if r.group == group]))
        if self.records:
            print(f"\n{self.name}\n{_records(self.records)}")
        if self.checks:
            limits = [("", "B", "", "limit", "")]
            for c in self.checks:
                limits.append((c.what, str(c.batch or ""), f"{c.value:.3g}", c.limit, "" if c.met else "missed"))
            print(f"\n{_aligned(limits, left=(0, 3))}")
        if self.notes:
            print("\nNot measured:")
        for text in self.notes:
            print(f"- {text}")

    def save(self) -> Path:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.name}.json"
        content = {
            "machine": machine.describe(),
            "rows": [{key: value for key, value in asdict(r).items() if value is not None} for r in self.rows],
            "records": self.records,
            "checks": [{**asdict(c), "met": c.met} for c in self.checks],
            "notes": self.notes,
        }
        path.write_text(json.dumps(content, indent=1) + "\n")
        return path


def _table(rows: Sequence[Row]) -> str:
    """A line for each thing measured, a column for each size of batch and the largest error; or a line for each row."""
    columns = list(dict.fromkeys(map(_column, rows)))
    if len(columns) > WIDEST:
        plain = [("", "", "", "", "error")]
        for r in rows:
            error = "" if r.error is None else f"{r.error:.0e}"
            plain.append((r.what, _heading(_column(r)), f"{r.value:,.4g}", r.unit, error))
        return _aligned(plain, left=(0, 1, 3))
    lines: list[tuple[str, ...]] = [("", *map(_heading, columns), "", "error")]
    for what, unit in dict.fromkeys((r.what, r.unit) for r in rows):
        same = [r for r in rows if (r.what, r.unit) == (what, unit)]
        cells = {_column(r): f"{r.value:,.4g}" for r in same}
        errors = [r.error for r in same if r.error is not None]
        error = f"{max(errors):.0e}" if errors else ""
        lines.append((what, *(cells.get(column, "") for column in columns), unit, error))
    return _aligned(lines, left=(0, len(columns) + 1))


def _records(records: Sequence[dict[str, Any]]) -> str:
    """A line a record under the names of its cells; words to the left, numbers to the right."""
    names = list(records[0])
    words = [i for i, name in enumerate(names) if isinstance(records[0][name], str)]
    return _aligned([tuple(names), *(tuple(_cell(record[name]) for name in names) for record in records)], left=words)


def _cell(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, float):
        return f"{value:.1e}" if abs(value) < 1e-3 else f"{value:.10g}" if abs(value) >= 1 else f"{value:.6g}"
    return str(value)


def _column(row: Row) -> tuple[int | None, ...]:
    return row.batch, row.steps, row.width


def _heading(column: tuple[int | None, ...]) -> str:
    names = ("B", "N", "D")
    return " ".join(f"{name}={value}" for name, value in zip(names, column, strict=True) if value is not None)


def _aligned(lines: Sequence[tuple[str, ...]], left: Iterable[int]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    kept = set(left)

    def padded(line: tuple[str, ...]) -> list[str]:
        return [
            cell.ljust(width) if i in kept else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]

    return "\n".join("  ".join(padded(line)).rstrip() for line in lines)
