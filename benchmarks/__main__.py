"""python -m benchmarks [NAME] [--no-save]: run one benchmark, or all of them."""

from __future__ import annotations

import argparse
import importlib

BENCHMARKS = ("yardstick", "interpreter", "gallery")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=BENCHMARKS, help="all of them where none is given")
    parser.add_argument("--no-save", action="store_true", help="print only, leave benchmarks/results as it is")
    arguments = parser.parse_args()
    for name in BENCHMARKS if arguments.name is None else (arguments.name,):
        report = importlib.import_module(f"benchmarks.run_{name}").run()
        report.show()
        if not arguments.no_save:
            print(f"\nwritten to benchmarks/results/{report.save().name}")


if __name__ == "__main__":
    main()
