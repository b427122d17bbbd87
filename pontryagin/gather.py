"""One grid for problems that were solved on grids of their own."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from pontryagin.records import Level
from pontryagin.time_grid import TimeGrid

#: Nodes that are closer are one.
SAME = 1e-12


def common(grids: Iterable[TimeGrid], largest: int) -> TimeGrid:
    """All nodes of all grids, coarse ones first; a grid that would make it more than `largest` steps is left out."""
    first, *others = sorted(grids, key=lambda grid: grid.steps)
    for other in others:
        nodes = torch.cat((first.nodes, other.nodes)).sort().values
        apart = nodes.diff() > SAME
        nodes = torch.cat((nodes[:1], nodes[1:][apart]))
        nodes[-1] = 1.0
        if len(nodes) - 1 <= max(largest, first.steps):
            first = TimeGrid(nodes)
    return first


def merged(levels: Iterable[Level]) -> tuple[Level, ...]:
    """The largest of each number for each grid, coarse ones first."""
    found: dict[int, Level] = {}
    for level in levels:
        known = found.get(level.steps, level)
        found[level.steps] = Level(
            level.steps,
            max(level.iterations, known.iterations),
            max(level.change, known.change),
            max(level.defect, known.defect),
        )
    return tuple(found[steps] for steps in sorted(found))
