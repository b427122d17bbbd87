"""The answer of a solve, with everything that can be done with it.

H = L + p.f, minimised over u;    x' = H_p,    p' = -H_x,    p(t1) = phi_x + nu e_x,    e = (psi, gamma) at t1
"""

from __future__ import annotations

from functools import cached_property
from os import PathLike
from typing import Any

from torch import Tensor

from pontryagin.answer import Answer
from pontryagin.feedback import feedback_gain
from pontryagin.plot import plot as draw
from pontryagin.problem import Problem
from pontryagin.records import Report
from pontryagin.show import describe, headline
from pontryagin.store import load, save
from pontryagin.verify import verify as recompute


class Solution(Answer):
    """What `solve` found; its fields are those of Answer.

    Functions of time: state_at(t), costate_at(t), control_at(t). solution[i] is problem i of a batch.
    print(solution) says everything on one page.
    """

    def verify(self, accuracy: float | None = None) -> Report:
        """The optimality report, recomputed independently of the solver: see pontryagin.verify."""
        report = recompute(self, accuracy)
        object.__setattr__(self, "report", report)  # so that print(solution) shows it; nothing is computed from it
        return report

    @cached_property
    def feedback_gain(self) -> Tensor:
        """K (B, N, m, n): u = u*_k + K_k (x - x*_k) is optimal to first order; see pontryagin.feedback."""
        return feedback_gain(self)

    def plot(self, path: str | PathLike[str] | None = None) -> Any:
        """A matplotlib figure of state, costate, control and switching function, written to `path` where given."""
        return draw(self, path)

    def save(self, path: str | PathLike[str]) -> None:
        """Write a .npz file of plain arrays, without pickle; the functions of the problem are not in it."""
        save(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str], problem: Problem | None = None) -> Solution:
        """Read what save() wrote. With the problem given, everything works; without, what needs no functions."""
        return cls(**load(path, problem))

    def __str__(self) -> str:
        return describe(self)

    def __repr__(self) -> str:
        return f"<Solution {headline(self)}>"
