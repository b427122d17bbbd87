"""Simplification of whole formulas."""

from __future__ import annotations

from collections.abc import Sequence

from pontryagin.graph.nodes import Node


def simplify(outputs: Sequence[Node]) -> list[Node]:
    """The same outputs in fewer operations."""
    return list(outputs)
