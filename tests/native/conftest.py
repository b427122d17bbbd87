"""A cache for one test alone."""

from __future__ import annotations

import pytest

from pontryagin.backend import cache


@pytest.fixture
def home(monkeypatch, tmp_path):
    """A cache of its own for every test, in a process that has opened nothing."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("PONTRYAGIN_CACHE_DIR", str(folder))
    monkeypatch.delenv("PONTRYAGIN_CACHE_SIZE", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(cache, "_opened", {})
    monkeypatch.setattr(cache, "_temporary", None)
    return folder


@pytest.fixture
def compiles(monkeypatch):
    """What was compiled, in order."""
    done, real = [], cache.compile_library

    def compile_library(source, library, compiler):
        done.append(source)
        return real(source, library, compiler)

    monkeypatch.setattr(cache, "compile_library", compile_library)
    return done
