"""The table that verbose=True prints while Newton's method runs, and the history behind it."""

from __future__ import annotations

import pytest

import pontryagin as pmp
from pontryagin.problems import get


@pytest.fixture(scope="module")
def told():
    """A solution, and the rows that a callback was told."""
    rows = []
    return pmp.solve(get("van_der_pol_bounded").problem(), method="newton", steps=20, callback=rows.append), rows


def test_history_is_what_the_callback_was_told(told):
    solution, rows = told
    assert solution.history == rows
    assert [row.iteration for row in rows] == list(range(1, int(solution.iterations) + 1))


def test_the_last_row_is_the_answer(told):
    solution, rows = told
    last = rows[-1]
    assert last.objective == pytest.approx(float(solution.objective), rel=1e-12)
    assert max(last.residual, last.complementarity) == pytest.approx(float(solution.residual))
    assert last.violation == pytest.approx(float(solution.violation), abs=1e-15)


def test_a_person_reads_one_line_an_iteration(capsys):
    solution = pmp.solve(get("van_der_pol_bounded").problem(), method="newton", steps=20, verbose=True)
    header, *lines = capsys.readouterr().err.rstrip("\n").split("\n")
    names = ["iter", "steps", "objective", "dual", "primal", "complem", "barrier", "step", "regular", "seconds"]
    assert header.split() == names
    assert len(header.rstrip()) <= 80
    assert len(lines) == int(solution.iterations)
    for line, row in zip(lines, solution.history, strict=True):
        shown = dict(zip(names, line.split(), strict=True))
        assert int(shown["iter"]) == row.iteration and shown["steps"] == "20"
        assert float(shown["objective"]) == pytest.approx(row.objective, rel=1e-9)
        numbers = {
            "dual": row.residual, "primal": row.violation, "complem": row.complementarity, "barrier": row.barrier,
            "step": row.step, "regular": row.regularisation,
        }  # fmt: skip
        assert {name: float(shown[name]) for name in numbers} == pytest.approx(numbers, rel=0.06, abs=1e-300)
    assert any(line.split()[8] == "0" for line in lines), "no regularisation is a plain zero"
