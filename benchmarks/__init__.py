"""Benchmarks: `python -m benchmarks [NAME]` from the repository. Each asserts its answers before it times them."""
