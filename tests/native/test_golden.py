"""The generator prints the texts in csrc/tests/golden, which the C++ tests compile."""

from __future__ import annotations

import pytest
from golden import COMMAND, FOLDER, LIBRARIES, text_named


@pytest.mark.parametrize("name", LIBRARIES)
def test_generator_prints_the_golden_text(name):
    """In every process, whatever the order of its sets and dictionaries."""
    text = (FOLDER / f"{name}.cpp").read_text(encoding="utf-8")
    assert text_named(name) == text, f"look at what changed, then: {COMMAND}"


def test_every_golden_text_has_its_problem():
    found = {path.stem for path in FOLDER.glob("*.cpp")}
    assert found == set(LIBRARIES), f"remove what is left over, then: {COMMAND}"
