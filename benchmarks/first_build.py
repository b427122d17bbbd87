"""Seconds until the sweep of a workload is ready in a new process, not counting the capture of its formulas.

`python -m benchmarks.first_build NAME BACKEND`, with NAME in benchmarks.workloads.
"""

from __future__ import annotations

import sys
import time

from benchmarks import workloads
from benchmarks.ours import backend_of


def main(name: str, backend: str) -> None:
    sweeps = backend_of(getattr(workloads, name).batch(1), backend, threads=1)
    start = time.perf_counter()
    sweeps._sweeper(backward=True, keep_state=False, extended=False)
    spent = time.perf_counter() - start
    assert sweeps.name == backend, f"{sweeps.name} swept in place of {backend}"
    print(spent)


if __name__ == "__main__":
    main(*sys.argv[1:])
