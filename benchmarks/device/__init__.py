"""Parts of `python -m benchmarks.gpu`, each run in a process of its own: a broken GPU context ends with its process."""
