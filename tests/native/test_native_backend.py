"""The native tier as people meet it: asked for by name, or chosen because it pays; and what if it cannot be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import pontryagin as pmp
from pontryagin.backend import native
from pontryagin.backend.toolchain import CompileError
from pontryagin.errors import BackendError


def oscillator(name: str = "oscillator") -> pmp.Problem:
    return pmp.Problem(
        name=name,
        dynamics=lambda t, x, u: torch.stack([x[1], u[0] - torch.sin(x[0])]),
        running_cost=lambda t, x, u: 0.5 * (u[0] ** 2 + x[0] ** 2),
        initial_state=[1.0, 0.0],
        horizon=(0.0, 2.0),
    )


def sweep(problem: pmp.Problem, backend: str, batch: int = 3) -> pmp.Sweep:
    generator = torch.Generator().manual_seed(5)
    u = torch.randn(batch, 8, 1, generator=generator, dtype=torch.float64)
    return pmp.sweep(problem, u, control="constant", backend=backend, outputs=("objective", "control_gradient"))


def assert_same(one: pmp.Sweep, other: pmp.Sweep) -> None:
    for name in ("objective", "control_gradient"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-12, atol=1e-13)


def test_native_gives_the_numbers_of_torch_and_says_that_it_did(home):
    swept = sweep(oscillator(), "native")
    assert_same(swept, sweep(oscillator(), "torch"))
    assert swept.backend == "native"
    assert "asked for" in swept.reason
    assert len(list(home.glob("*.so"))) == 1


def test_a_solve_runs_on_native_code_and_says_so(home):
    solution = pmp.solve(oscillator(), backend="native", steps=20)
    assert solution.backend == "native"
    reference = pmp.solve(oscillator(), backend="interpreter", steps=20)
    torch.testing.assert_close(solution.objective, reference.objective, rtol=1e-9, atol=0)


def test_auto_starts_on_the_interpreter_and_compiles_once_so_much_was_swept_that_it_pays(home, monkeypatch):
    problem = oscillator()
    first = sweep(problem, "auto")
    assert first.backend == "interpreter"
    assert not list(home.glob("*.so"))
    monkeypatch.setattr(native, "PATIENCE", 0.0)
    assert sweep(problem, "auto").backend == "interpreter"  # this one reaches the mark
    after = sweep(problem, "auto")
    assert after.backend == "native"
    assert "pays" in after.reason
    assert_same(after, first)


def test_auto_takes_what_lies_in_the_cache_at_once(home):
    sweep(oscillator(), "native")
    swept = sweep(oscillator(), "auto")
    assert swept.backend == "native"
    assert "in the cache" in swept.reason
    assert sweep(oscillator("another name, another file"), "auto").backend == "interpreter"


def test_without_a_compiler_native_says_what_to_install_and_auto_sweeps_on(home, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(native, "PATIENCE", 0.0)
    with pytest.raises(BackendError, match=r"no C\+\+ compiler.*Install one"):
        sweep(oscillator(), "native")
    problem = oscillator()
    assert [sweep(problem, "auto").backend for _ in range(3)] == ["interpreter"] * 3


def test_where_the_compiler_fails_a_warning_shows_its_lines_and_the_interpreter_sweeps(home, monkeypatch):
    def fails(key, write):
        raise CompileError("the C++ compiler failed with exit status 1:\nc++ x.cpp\nx.cpp:1: no")

    monkeypatch.setattr(native, "library_for", fails)
    problem = oscillator()
    with pytest.warns(UserWarning, match="x.cpp:1: no"):
        swept = sweep(problem, "native")
    assert swept.backend == "interpreter"
    assert_same(swept, sweep(oscillator(), "interpreter"))
    assert_same(sweep(problem, "native"), swept)  # and is not tried, nor warned of, again


def test_formulas_too_long_for_a_compiler_are_left_to_the_interpreter(home, monkeypatch):
    monkeypatch.setattr(native, "LARGEST", 3)
    monkeypatch.setattr(native, "PATIENCE", 0.0)
    with pytest.raises(BackendError, match="operations; compilers take minutes"):
        sweep(oscillator(), "native")
    problem = oscillator()
    assert [sweep(problem, "auto").backend for _ in range(3)] == ["interpreter"] * 3


def native_sweep(problem: pmp.Problem) -> native.NativeSweep:
    return native.NativeSweep(problem, pmp.TimeGrid.uniform(4), control_kind="linear")


def test_the_text_of_a_problem_does_not_depend_on_what_was_asked_before():
    alone, after = native_sweep(oscillator()), native_sweep(oscillator())
    after.text(backward=False)
    after.text(extended=True)
    assert after.text() == alone.text()
    assert after.key() == alone.key()
    assert len({alone.key(*request) for request in ((False, False), (True, False), (True, True))}) == 3


def test_the_key_sees_every_bit_of_a_constant():
    def scaled(factor: float) -> pmp.Problem:
        def dynamics(t: Tensor, x: Tensor, u: Tensor) -> Tensor:
            return torch.stack([factor * x[0] + u[0]])

        return pmp.Problem(
            dynamics=dynamics,
            running_cost=lambda t, x, u: u[0] ** 2,
            initial_state=[1.0],
            horizon=(0.0, 1.0),
            control_dim=1,
        )

    keys = {native_sweep(scaled(factor)).key() for factor in (1.5, 1.5000000000000002)}
    assert len(keys) == 2
