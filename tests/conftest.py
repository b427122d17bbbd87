"""Settings of every test: one thread, repeatable random numbers, GPU tests only where there is a GPU."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator

import hypothesis
import pytest
import torch

os.environ.setdefault("MPLBACKEND", "Agg")  # no window opens in a test

# What the user keeps compiled would change which backend "auto" takes, and tests would leave libraries behind.
if "PONTRYAGIN_CACHE_DIR" not in os.environ:
    os.environ["PONTRYAGIN_CACHE_DIR"] = tempfile.mkdtemp(prefix="pontryagin-tests-")
    atexit.register(shutil.rmtree, os.environ["PONTRYAGIN_CACHE_DIR"], ignore_errors=True)

hypothesis.settings.register_profile("default", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU on this machine"))


@pytest.fixture(autouse=True)
def _repeatable() -> Iterator[None]:
    """One thread, because small tensors only lose by more, and the same random numbers in any order of tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
