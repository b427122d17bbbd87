"""python -m benchmarks [NAME] [--no-save]: run one benchmark, or all of them."""

from __future__ import annotations

import argparse
import importlib

BENCHMARKS = ("yardstick", "interpreter", "native", "peers", "odenet", "odenet_memory", "gallery", "newton",
              "newton_peers", "newton_starts", "cuda_compile")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=BENCHMARKS, help="all of them where none is given")
    parser.add_argument("--no-save", action="store_true", help="print only, leave benchmarks/results as it is")
    arguments, rest = parser.parse_known_args()
    if rest and arguments.name is None:
        parser.error(f"{' '.join(rest)}: options of one benchmark, name it")
    for name in BENCHMARKS if arguments.name is None else (arguments.name,):
        benchmark = importlib.import_module(f"benchmarks.run_{name}")
        own = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=benchmark.__doc__)
        has_options = hasattr(benchmark, "options")
        if has_options:
            benchmark.options(own)
        given = own.parse_args(rest)
        report = benchmark.run(given) if has_options else benchmark.run()
        report.show()
        if not arguments.no_save:
            written = [report.save()]
            if hasattr(benchmark, "draw"):
                written.append(benchmark.draw(report))
            print("\n" + "\n".join(f"written to benchmarks/results/{path.name}" for path in written))


if __name__ == "__main__":
    main()
