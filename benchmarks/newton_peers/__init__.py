"""Optimal control problems solved by several packages: the same steps, the same constraints, answers checked first."""
