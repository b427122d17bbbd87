"""The table of ATen operations: how each is written in scalar formulas.

A handler receives the graph and the arguments of the operation: arrays of nodes for traced tensors, numpy numbers for
constant ones, the rest as torch has it. It returns an array of nodes in the shape of the result, or a tuple of them,
with None for a result that has no formula (indices, pivots, factors).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pontryagin.graph.aten_common import NoFormula
from pontryagin.graph.aten_elementwise import ELEMENTWISE
from pontryagin.graph.aten_linalg import LINALG
from pontryagin.graph.aten_reductions import REDUCTIONS

__all__ = ["HANDLERS", "NoFormula"]

#: By name without overload and without the underscore of the variant in place.
HANDLERS: dict[str, Callable[..., Any]] = {**ELEMENTWISE, **REDUCTIONS, **LINALG}
