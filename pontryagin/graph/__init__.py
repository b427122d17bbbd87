"""Scalar formulas: captured from torch functions, differentiated, simplified, shown, evaluated."""

from pontryagin.graph.capture import Captured, ImplicitParameters, capture
from pontryagin.graph.derivative import gradient, hessian, jacobian
from pontryagin.graph.evaluate import evaluate
from pontryagin.graph.nodes import Graph, Node
from pontryagin.graph.order import count_operations, dependents, depends, inputs, operation_count, schedule
from pontryagin.graph.show import dot, text
from pontryagin.graph.simplify import simplify

__all__ = [
    "Captured",
    "Graph",
    "ImplicitParameters",
    "Node",
    "capture",
    "count_operations",
    "dependents",
    "depends",
    "dot",
    "evaluate",
    "gradient",
    "hessian",
    "inputs",
    "jacobian",
    "operation_count",
    "schedule",
    "simplify",
    "text",
]
