"""Sections one after the other, each a process, within a budget of seconds; what one measured before it broke is kept.

A section prints a line of JSON for each row, check and note as soon as it has it. Other lines are of no account.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any

from benchmarks.report import Check, Report, Row

#: Seconds; with fewer left, no section begins: imports and the first use of a GPU take that long.
LEAST = 20.0
#: Lines of what a failed section printed last that are kept.
LINES = 12


@dataclass(frozen=True)
class Section:
    name: str
    most: float  # seconds that it may take


class Told(Report):
    """A report that prints what it is given, for the process that waits for it."""

    def row(self, *arguments: Any, **keywords: Any) -> None:
        super().row(*arguments, **keywords)
        _tell("row", asdict(self.rows[-1]))

    def check(self, *arguments: Any, **keywords: Any) -> None:
        super().check(*arguments, **keywords)
        _tell("check", asdict(self.checks[-1]))

    def note(self, text: str) -> None:
        super().note(text)
        _tell("note", text)


def _tell(kind: str, content: object) -> None:
    print(json.dumps({kind: content}), flush=True)


def run_all(
    sections: Sequence[Section],
    report: Report,
    budget: float,
    command: Callable[[Section], list[str]],
    clock: Callable[[], float] = time.monotonic,
) -> list[str]:
    """Fills the report; returns the names of sections that failed. Those for which no time is left have a note."""
    start, failed = clock(), []
    for section in sections:
        left = budget - (clock() - start)
        if left < LEAST:
            report.note(f"{section.name}: skipped, {max(left, 0):.0f} s of the {budget:g} s were left")
            continue
        begun = clock()
        if not _run(section, min(section.most, left), command(section), report):
            failed.append(section.name)
        print(f"{section.name}: {clock() - begun:.0f} s", file=sys.stderr, flush=True)
    return failed


def _run(section: Section, seconds: float, command: list[str], report: Report) -> bool:
    """Whether the section came to its end without an error."""
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=told, stderr=said, start_new_session=True)
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # its own group: compilers that it started end with it
                process.wait()
        _collect(told, report)
        if code is None:
            report.note(f"{section.name}: stopped after {seconds:.0f} s; what it had measured by then stands")
        elif code:
            said.seek(0)
            last = said.read().strip().splitlines()[-LINES:]
            report.note("\n".join([f"{section.name}: failed with exit status {code}", *last]))
    return code == 0


def _collect(told: IO[str], report: Report) -> None:
    told.seek(0)
    for line in told:
        try:
            message = json.loads(line)
        except ValueError:  # of a library, or cut off
            continue
        if not isinstance(message, dict):
            continue
        if "row" in message:
            report.rows.append(Row(**message["row"]))
        elif "check" in message:
            report.checks.append(Check(**message["check"]))
        elif "note" in message:
            report.note(message["note"])
