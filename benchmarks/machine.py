"""What the numbers were measured on: processor, compiler and versions, and no names of people or machines."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ("pontryagin", "torch", "numpy", "torchdiffeq", "jax", "diffrax", "casadi", "crocoddyl", "nvidia-cuda-nvrtc")
_ALLOWED = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()


def describe() -> dict[str, object]:
    return {
        **({"gpu": _gpu()} if torch.cuda.is_available() else {}),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "compiler": _or_none(lambda: _first_line([os.environ.get("CXX", "c++"), "--version"])),
        "commit": _or_none(lambda: _first_line(["git", "describe", "--always", "--dirty"])),
        "packages": {name: found for name in PACKAGES if (found := _or_none(partial(version, name)))},
    }


def use_cores(count: int) -> None:
    """Keep this process on so many cores and torch on so many threads, so that a thread is a thread for every package.

    Packages with threads of their own from the first import on, as JAX, keep what they found then.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(_ALLOWED)[-count:])
    torch.set_num_threads(count)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    fields = dict(line.split(":", 1) for line in info.read_text().split("\n\n")[0].splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    wide = [name for name in ("avx2", "fma", "avx512f") if name in fields.get("flags", "").split()]
    family = f"family {fields.get('cpu family')} model {fields.get('model')}"
    return f"{fields.get('model name', platform.processor())} ({family}; {' '.join(wide)})"


def _gpu() -> dict[str, object]:
    device = torch.cuda.get_device_properties(torch.cuda.current_device())
    ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return {
        "name": device.name,
        "multiprocessors": device.multi_processor_count,
        "memory": device.total_memory,
        "compute capability": f"{device.major}.{device.minor}",
        "driver": _or_none(lambda: _first_line(ask)),
        "cuda": torch.version.cuda,
    }


def _first_line(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def _or_none(read: Callable[[], str]) -> str | None:
    try:
        return read()
    except (OSError, subprocess.CalledProcessError, PackageNotFoundError, IndexError):
        return None
