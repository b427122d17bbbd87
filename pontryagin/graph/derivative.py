"""Derivatives of formulas: reverse mode, forward mode, and forward over reverse for second derivatives.

A derivative that is zero whatever the values (no path, or only through floor, sign, comparisons) is the constant 0 and
is left out of `jacobian` and `hessian`. Where branches meet the rules are those of torch.autograd: |x|' = 0 at 0,
half each for equal arguments of max and min, sqrt' = inf at 0.

Selection. d where(c, a, b) = where(c, da, db), also where db is NaN or infinite. The reverse pass therefore carries
adjoints together with the branch they belong to (a *mask*), multiplies behind it, and selects last:

    s = where(c, sqrt(x), 0):    adjoint of sqrt(x) is g | c,    of x  where(c, g * 0.5 / sqrt(x), 0)

torch.autograd selects first and multiplies 0 by inf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pontryagin.graph.nodes import Node
from pontryagin.graph.operations import STEPS
from pontryagin.graph.order import dependents, schedule
from pontryagin.graph.partials import Mask, partials

#: Operations that are infinite or NaN, or have such a derivative, at some finite argument.
_SINGULAR = frozenset(
    (
        "sqrt", "reciprocal", "exp", "expm1", "log", "log1p", "tan", "asin", "acos", "sinh", "cosh",
        "acosh", "atanh", "div", "pow", "atan2", "hypot",
    )
)  # fmt: skip

_MOST_PARTS = 8  # an adjoint with more masks than this is selected at once, as torch.autograd does

_Masks = tuple[Mask, ...]


def gradient(scalar: Node, wrt: Sequence[Node]) -> list[Node]:
    """d scalar / d wrt[i], each a node; one reverse pass."""
    return _pullback([scalar], [scalar.graph.constant(1.0)], wrt)


def jacobian(outputs: Sequence[Node], wrt: Sequence[Node]) -> dict[tuple[int, int], Node]:
    """{(i, j): d outputs[i] / d wrt[j]} for every entry that is not a structural zero, by rows.

    Forward mode, or reverse mode where there are fewer outputs than inputs.
    """
    found: dict[tuple[int, int], Node] = {}
    if len(outputs) < len(wrt):
        for i, output in enumerate(outputs):
            for j, entry in enumerate(gradient(output, wrt)):
                found[i, j] = entry
    else:
        for j, variable in enumerate(wrt):
            for i, entry in enumerate(_pushforward(outputs, variable)):
                found[i, j] = entry
    return {key: found[key] for key in sorted(found) if not found[key].is_value(0.0)}


def hessian(scalar: Node, wrt: Sequence[Node]) -> dict[tuple[int, int], Node]:
    """{(i, j): d2 scalar / d wrt[i] d wrt[j]} for i >= j, without structural zeros; forward over reverse."""
    slopes = gradient(scalar, wrt)
    found: dict[tuple[int, int], Node] = {}
    for j, variable in enumerate(wrt):
        for i, entry in enumerate(_pushforward(slopes[j:], variable), start=j):
            if not entry.is_value(0.0):
                found[i, j] = entry
    return {key: found[key] for key in sorted(found)}


def _pushforward(outputs: Sequence[Node], variable: Node) -> list[Node]:
    """d outputs / d variable: tangents from the variable up."""
    graph = variable.graph
    zero = graph.constant(0.0)
    tangent: dict[Node, Node] = {variable: graph.constant(1.0)}
    moving = dependents(outputs, [variable])
    for node in schedule(outputs):
        if node not in moving or node is variable or node.op in STEPS:
            continue
        if node.op == "where":
            condition, a, b = node.args
            total = graph.where(condition, tangent.get(a, zero), tangent.get(b, zero))
        else:
            total = zero
            needed = [a in tangent and not tangent[a].is_value(0.0) for a in node.args]
            for argument, mask, partial in partials(node, needed):
                part = tangent[argument] if partial is None else tangent[argument] * partial
                total = total + (part if mask is None else _selected(part, (mask,)))
        tangent[node] = total
    return [tangent.get(output, zero) for output in outputs]


def _pullback(outputs: Sequence[Node], seeds: Sequence[Node], wrt: Sequence[Node]) -> list[Node]:
    """sum_i seeds[i] d outputs[i] / d wrt: adjoints from the outputs down, each kept apart by its masks."""
    order = schedule(outputs)
    moving = dependents(outputs, wrt)
    singular = _with_singular_part(order)
    adjoint: dict[Node, dict[_Masks, Node]] = {}

    def add(node: Node, masks: _Masks, value: Node) -> None:
        if value.is_value(0.0):
            return
        if masks and node not in singular:
            value, masks = _selected(value, masks), ()
        slots = adjoint.setdefault(node, {})
        slots[masks] = slots[masks] + value if masks in slots else value

    for output, seed in zip(outputs, seeds, strict=True):
        add(output, (), seed)
    targets = set(wrt)
    for node in reversed(order):
        if node not in moving or not node.args or node.op in STEPS or node in targets or node not in adjoint:
            continue
        needed = [a in moving for a in node.args]
        for masks, value in _merged(adjoint[node]).items():
            if node.op == "where":
                condition, a, b = node.args
                for branch, argument, wanted in ((True, a, needed[1]), (False, b, needed[2])):
                    if wanted:
                        _add_masked(add, argument, masks, (condition, branch), value)
                continue
            for argument, mask, partial in partials(node, needed):
                part = value if partial is None else value * partial
                if mask is None:
                    add(argument, masks, part)
                else:
                    _add_masked(add, argument, masks, mask, part)
    zero = outputs[0].graph.constant(0.0)
    return [_total(adjoint.get(variable), zero) for variable in wrt]


def _add_masked(add: Callable[[Node, _Masks, Node], None], node: Node, masks: _Masks, mask: Mask, value: Node) -> None:
    """Adds an adjoint that holds on one more branch; on both branches of one condition it holds nowhere."""
    condition, branch = mask
    if (condition, not branch) in masks:
        return
    if mask not in masks:
        masks = tuple(sorted((*masks, mask), key=lambda m: (m[0].number, m[1])))
    add(node, masks, value)


def _merged(slots: dict[_Masks, Node]) -> dict[_Masks, Node]:
    """The same adjoint in fewer parts: both branches of a condition become one, a part of a wider part joins it."""
    slots = dict(slots)
    if len(slots) > _MOST_PARTS:
        return {(): _total(slots, next(iter(slots.values())).graph.constant(0.0))}
    while True:
        for masks in slots:
            partner = _complement(slots, masks)
            if partner is not None:
                condition = partner[1]
                first, second = (slots.pop(m) for m in (masks, partner[0]))
                if (condition, True) not in masks:
                    first, second = second, first
                rest = tuple(m for m in masks if m[0] is not condition)
                value = condition.graph.where(condition, first, second)
                slots[rest] = slots[rest] + value if rest in slots else value
                break
            wider = next((w for w in slots if w != masks and all(m in masks for m in w)), None)
            if wider is not None:
                extra = tuple(m for m in masks if m not in wider)
                slots[wider] = slots[wider] + _selected(slots.pop(masks), extra)
                break
        else:
            return slots


def _complement(slots: dict[_Masks, Node], masks: _Masks) -> tuple[_Masks, Node] | None:
    """The part that differs only by the other branch of one condition, and that condition."""
    for k, (condition, branch) in enumerate(masks):
        other = (*masks[:k], (condition, not branch), *masks[k + 1 :])
        if other in slots:
            return other, condition
    return None


def _selected(value: Node, masks: _Masks) -> Node:
    """The value where all masks hold, else 0."""
    for condition, branch in masks:
        value = condition.graph.where(condition, value if branch else 0.0, 0.0 if branch else value)
    return value


def _total(slots: dict[_Masks, Node] | None, zero: Node) -> Node:
    """All parts of an adjoint together."""
    total = zero
    for masks, value in (slots or {}).items():
        total = total + _selected(value, masks)
    return total


def _with_singular_part(order: Sequence[Node]) -> set[Node]:
    """The nodes whose formula holds an operation that may be infinite or NaN."""
    found: set[Node] = set()
    for node in order:
        if node.op in _SINGULAR or any(a in found for a in node.args):
            found.add(node)
    return found
