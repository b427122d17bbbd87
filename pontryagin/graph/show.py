"""Formulas for people: numbered lines of text, and dot for Graphviz."""

from __future__ import annotations

from collections.abc import Sequence

from pontryagin.graph.nodes import Node
from pontryagin.graph.order import schedule

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "lt": "<", "le": "<=", "eq": "==", "ne": "!="}


def text(outputs: Sequence[Node], names: Sequence[str] | None = None) -> str:
    """One line for each operation, in the order of evaluation, then one for each output.

    v1 = sin(x[1])
    v2 = 0.5 * v1
    y[0] = v2
    """
    labels: dict[Node, str] = {}
    lines: list[str] = []
    for node in schedule(outputs):
        if node.args:
            labels[node] = f"v{len(lines) + 1}"
            lines.append(f"{labels[node]} = {_formula(node, labels)}")
        else:
            labels[node] = _leaf(node)
    targets = names if names is not None else [f"y[{i}]" for i in range(len(outputs))]
    lines += [f"{target} = {labels[output]}" for target, output in zip(targets, outputs, strict=True)]
    return "\n".join(lines)


def dot(outputs: Sequence[Node], names: Sequence[str] | None = None) -> str:
    """The graph in the language of Graphviz, inputs and constants as boxes."""
    order = schedule(outputs)
    number = {node: i for i, node in enumerate(order)}
    lines = ["digraph formulas {", "  rankdir=BT;"]
    for node in order:
        shape = "" if node.args else ", shape=box"
        label = _INFIX.get(node.op, node.op) if node.args else _leaf(node)
        lines.append(f'  n{number[node]} [label="{label}"{shape}];')
        lines += [f"  n{number[a]} -> n{number[node]};" for a in node.args]
    targets = names if names is not None else [f"y[{i}]" for i in range(len(outputs))]
    for i, (target, output) in enumerate(zip(targets, outputs, strict=True)):
        lines.append(f'  y{i} [label="{target}", shape=plaintext];')
        lines.append(f"  n{number[output]} -> y{i};")
    return "\n".join([*lines, "}"])


def _leaf(node: Node) -> str:
    return f"{node.value:.17g}" if node.is_constant else f"{node.group}[{node.index}]"


def _formula(node: Node, labels: dict[Node, str]) -> str:
    args = [labels[a] for a in node.args]
    if node.op in _INFIX:
        return f"{args[0]} {_INFIX[node.op]} {args[1]}"
    return f"-{args[0]}" if node.op == "neg" else f"{node.op}({', '.join(args)})"
