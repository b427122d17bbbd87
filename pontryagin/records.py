"""Plain records of an answer: the grids that a solve went through, and the lines of an optimality report."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Level:
    """One grid of a solve with steps=None; over a batch, the largest of each."""

    steps: int
    iterations: int
    change: float  # of the objective against the grid before, relative; NaN on the first
    defect: float  # of state and objective against the control's re-integration, relative; NaN where not looked at


@dataclass(frozen=True)
class Check:
    """One line of a report: passed where value <= limit, problem by problem; NaN never passes."""

    name: str
    meaning: str
    value: Tensor  # (B,)
    limit: float

    @property
    def passed(self) -> Tensor:
        """(B,) bool."""
        return self.value <= self.limit

    @property
    def ok(self) -> bool:
        return bool(self.passed.all())

    @property
    def worst(self) -> int:
        """The problem with the largest value; one with NaN before all others."""
        return int(self.value.nan_to_num(nan=torch.inf).argmax())


@dataclass(frozen=True)
class Report:
    """An optimality report. `ok` says whether every check passed; print(report) shows each with its limit."""

    checks: tuple[Check, ...]
    left_out: tuple[str, ...] = ()  # what does not apply to this problem, and why

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def passed(self) -> Tensor:
        """(B,) whether problem b passed every check."""
        return torch.stack([check.passed for check in self.checks]).all(0)

    def __getitem__(self, name: str) -> Check:
        return {check.name: check for check in self.checks}[name]

    def __str__(self) -> str:
        batch = len(self.checks[0].value) if self.checks else 0
        width = max((len(check.name) for check in self.checks), default=0)
        length = max((len(check.meaning) for check in self.checks), default=0)
        failed = sum(not check.ok for check in self.checks)
        verdict = "every check passed" if not failed else f"{failed} of {len(self.checks)} checks failed"
        if batch > 1:
            verdict += f", {int(self.passed.sum())} of {batch} problems passed all"
        lines = [f"optimality report: {verdict}"]
        for check in self.checks:
            where = f"  problem {check.worst}" if batch > 1 else ""
            lines.append(
                f"  {'pass' if check.ok else 'FAIL'}  {check.name:<{width}}  {check.meaning:<{length}}  "
                f"{float(check.value[check.worst]):8.1e} <= {check.limit:.0e}{where}"
            )
        return "\n".join(lines + [f"  {' ' * 4}  {note}" for note in self.left_out])
