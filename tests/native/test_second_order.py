"""Second derivatives: graphs against torch.func, printed text against graphs, scalars against packs."""

from __future__ import annotations

import copy
import ctypes
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from second_order_cases import CONSTRAINED, NAMES, evaluated, printed, problem_named, random_values

from pontryagin.backend import cache
from pontryagin.backend.native import NativeSweep
from pontryagin.errors import CaptureError
from pontryagin.hamiltonian import derive
from pontryagin.problem import Problem
from pontryagin.second_order import derive_second_order
from pontryagin.time_grid import TimeGrid

#: Twice differentiated by two different tools, the formulas in another order.
TOLERANCE = 1e-10
POINTS = 4
LANES = 16

MATRICES = ("jacobian", "hessian", "path_jacobian", "path_hessian", "terminal_jacobian", "terminal_hessian")

#: Printed and compiled: quotients, many states, every terminal function, calls out of line, path constraints.
COMPILED = ("cartpole_kelly", "quadrotor_tracking", "pendulum", "network", *CONSTRAINED)


def lower_triangle(function, at: torch.Tensor) -> torch.Tensor:
    """The Hessian; by reverse mode twice, because forward mode warns at its first use."""
    return torch.tril(torch.func.jacrev(torch.func.jacrev(function))(at))


def filled(places: list[tuple[int, int]], entries: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A dense matrix of its entries, zero elsewhere."""
    matrix = np.zeros(shape)
    for place, entry in zip(places, entries, strict=True):
        matrix[place] = entry
    return matrix


def of_torch(problem: Problem, values: dict[str, np.ndarray], i: int) -> dict[str, torch.Tensor]:
    """The matrices at point i by torch.func, of the functions as they were written."""
    t, x, u, theta, d, w, m, mu, omega = (torch.tensor(value[..., i]) for value in values.values())
    functions, n = problem.functions, x.numel()
    t, w, theta = t[0], w[0], theta[: problem.parameter_dim]
    z = torch.cat([x, u])

    def f(z):
        return functions.dynamics(t, z[:n], z[n:], theta, d)

    def stage(z):
        return w * functions.running_cost(t, z[:n], z[n:], theta, d) + m @ f(z)

    def path(z):
        return functions.path_constraint(t, z[:n], z[n:], theta, d)

    def end(x):
        parts = (functions.terminal_equality(t, x, theta), functions.terminal_inequality(t, x, theta))
        return torch.cat([part.to(x.dtype) for part in parts])

    def cost(x):
        return omega[0] * functions.terminal_cost(t, x, theta) + omega[1:] @ end(x)

    found = {
        "f": f(z),
        "L": functions.running_cost(t, x, u, theta, d).reshape(1),
        "jacobian": torch.func.jacrev(f)(z),
        "gradient": torch.func.grad(stage)(z),
        "hessian": lower_triangle(stage, z),
        "terminal_jacobian": torch.func.jacrev(end)(x),
        "terminal_hessian": lower_triangle(cost, x),
    }
    if functions.path_constraint is not None:
        found |= {
            "path": path(z),
            "path_jacobian": torch.func.jacrev(path)(z),
            "path_hessian": lower_triangle(lambda z: mu @ path(z), z),
        }
    return {name: value.detach() for name, value in found.items()}


@pytest.mark.parametrize("name", NAMES)
def test_second_order_graphs_equal_torch_func_and_hold_no_entry_too_many(name):
    problem = problem_named(name)
    found = derive_second_order(problem)
    values = random_values(problem, POINTS)
    given = evaluated(found, values)
    for i in range(POINTS):
        for part, expected in of_torch(problem, values, i).items():
            assert expected.isfinite().all(), f"{part} at point {i}: choose better points"
            numbers = given[part][:, i]
            if part in MATRICES:
                numbers = filled(list(getattr(found, part)), numbers, expected.shape)
            scale = max(1.0, np.abs(expected.numpy()).max(initial=0.0))
            np.testing.assert_allclose(numbers, expected, rtol=0, atol=TOLERANCE * scale, err_msg=part)
    for part in MATRICES:
        places = list(getattr(found, part))
        assert places == sorted(places)
        idle = [place for place, row in zip(places, given[part], strict=True) if not row.any()]
        assert not idle, f"{part} has entries that are zero everywhere: {idle}"


def test_second_order_graphs_are_made_once():
    problem = problem_named("obstacle")
    assert derive_second_order(problem) is derive_second_order(problem)
    assert derive(problem) is derive(problem)


def test_a_path_constraint_that_cannot_become_a_graph_is_refused_each_time_and_leaves_the_sweeps_alone():
    problem = Problem(
        dynamics=lambda t, x, u: u,
        running_cost=lambda t, x, u: u[0] ** 2,
        path_constraint=lambda t, x, u: x if float(x[0].detach()) > 0.0 else -x,
        initial_state=[1.0],
        horizon=(0.0, 1.0),
    )
    for _ in range(2):
        with pytest.raises(CaptureError, match="path_constraint"):
            derive_second_order(problem)
    assert derive(problem).state_dim == 1


def test_parameters_of_path_constraints_come_behind_those_of_the_sweeps():
    problem = problem_named("engine")
    assert derive(problem).parameter_dim == 0
    assert derive_second_order(problem).parameter_dim == 2


# ---- the printed text ------------------------------------------------------------------------------------------------

HEAD = """
#include "pontryagin/math_calls.hpp"
#include "pontryagin/pack.hpp"
#include "pontryagin/each.hpp"
using namespace pontryagin;

namespace {

// Rows of W lanes: every input in, everything that the functions give out.
template <template <class> class ModelOf, int W>
void evaluate(const double* from, double* to) {
  using Real = Pack<double, W>;
  using Model = ModelOf<Real>;
  const auto next = [&] { return from += W, Real::load(from - W); };
  const auto read = [&](auto& values, int count) { for (int i = 0; i < count; ++i) values[i] = next(); };
  const auto write = [&](const auto& values, int count) {
    for (int i = 0; i < count; ++i, to += W) values[i].store(to);
  };
  const Real t = next();
  typename Model::State x, m, f;
  typename Model::Control u;
  typename Model::Parameters theta;
  typename Model::Data d;
  typename Model::Path mu, c;
  typename Model::Constraints omega;
  read(x, Model::n()), read(u, Model::m()), read(theta, Model::q()), read(d, Model::nd());
  const Real w = next();
  read(m, Model::n()), read(mu, Model::path_count());
  const Real omega_0 = next();
  read(omega, Model::r());

  Array<Real, 1> L;
  struct {
    typename Model::State x;
    typename Model::Control u;
  } g;
  typename Model::Jacobian J;
  typename Model::Hessian H;
  typename Model::PathJacobian path_J;
  typename Model::PathHessian path_H;
  typename Model::TerminalJacobian terminal_J;
  typename Model::TerminalHessian terminal_H;
  Model::jacobian(t, x, u, theta, d, f, L[0], J);
  Model::hessian(t, x, u, theta, d, w, m, g, H);
  Model::path(t, x, u, theta, d, c);
  Model::path_jacobian(t, x, u, theta, d, path_J);
  Model::path_hessian(t, x, u, theta, d, mu, path_H);
  Model::terminal_jacobian(t, x, theta, terminal_J);
  Model::terminal_hessian(t, x, theta, omega_0, omega, terminal_H);
  write(f, Model::n()), write(L, 1), write(J, Model::jacobian_count());
  write(g.x, Model::n()), write(g.u, Model::m()), write(H, Model::hessian_count());
  write(c, Model::path_count()), write(path_J, Model::path_jacobian_count());
  write(path_H, Model::path_hessian_count()), write(terminal_J, Model::terminal_jacobian_count());
  write(terminal_H, Model::terminal_hessian_count());
}

template <int count>
int* put(const int (&places)[count], int size, int* to) {
  for (int i = 0; i < size; ++i) *to++ = places[i];
  return to;
}

// Rows, then columns, of each matrix.
template <class Model>
void pattern(int* to) {
#define PUT(name) \\
  to = put(Model::name##_rows, Model::name##_count(), to), to = put(Model::name##_columns, Model::name##_count(), to);
  PUT(jacobian) PUT(hessian) PUT(path_jacobian) PUT(path_hessian) PUT(terminal_jacobian) PUT(terminal_hessian)
}

}  // namespace
"""


def harness(name: str) -> str:
    visible = 'extern "C" __attribute__((visibility("default"))) void'
    return f"""
namespace {name} {{
{printed(name)}
}}
{visible} {name}_one(const double* from, double* to) {{ evaluate<{name}::Model, 1>(from, to); }}
{visible} {name}_wide(const double* from, double* to) {{ evaluate<{name}::Model, {LANES}>(from, to); }}
{visible} {name}_pattern(int* to) {{ pattern<{name}::Model<double>>(to); }}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """All models in one library, in a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PONTRYAGIN_CACHE_DIR", str(tmp_path_factory.mktemp("cache") / "second"))
        patch.delenv("PONTRYAGIN_CACHE_SIZE", raising=False)
        patch.setattr(cache, "_opened", {})
        yield cache.library_for(HEAD + "".join(map(harness, COMPILED))).handle


def aligned(shape: tuple[int, int]) -> np.ndarray:
    """float64, on a border of 64 bytes."""
    room = np.full(shape[0] * shape[1] + 8, np.nan)
    start = (-room.ctypes.data // 8) % 8
    return room[start : start + shape[0] * shape[1]].reshape(shape)


def called(function, inputs: np.ndarray, rows: int) -> np.ndarray:
    given, found = aligned(inputs.shape), aligned((rows, inputs.shape[1]))
    given[:] = inputs
    function(ctypes.c_void_p(given.ctypes.data), ctypes.c_void_p(found.ctypes.data))
    return found


@pytest.mark.parametrize("name", COMPILED)
def test_printed_functions_equal_the_graphs_and_scalars_equal_packs_to_the_bit(library, name):
    problem = problem_named(name)
    values = random_values(problem, LANES)
    expected = evaluated(derive_second_order(problem), values)
    inputs = np.concatenate(list(values.values()))
    rows = sum(map(len, expected.values()))
    wide = called(library[f"{name}_wide"], inputs, rows)
    one = [called(library[f"{name}_one"], inputs[:, i : i + 1], rows) for i in range(LANES)]
    np.testing.assert_array_equal(np.hstack(one), wide)
    start = 0
    for part, numbers in expected.items():
        scale = max(1.0, np.abs(numbers).max(initial=0.0))
        np.testing.assert_allclose(
            wide[start : start + len(numbers)], numbers, rtol=0, atol=1e-13 * scale, err_msg=part
        )
        start += len(numbers)


@pytest.mark.parametrize("name", COMPILED)
def test_printed_rows_and_columns_are_those_of_the_graphs(library, name):
    found = derive_second_order(problem_named(name))
    expected = [place[axis] for part in MATRICES for axis in (0, 1) for place in getattr(found, part)]
    places = np.empty(len(expected), dtype=np.intc)
    library[f"{name}_pattern"](ctypes.c_void_p(places.ctypes.data))
    assert places.tolist() == expected


def test_the_text_is_the_same_in_every_process_whatever_was_printed_before():
    code = (
        "import hashlib; from second_order_cases import printed; "
        f"print([hashlib.sha256(printed(name).encode()).hexdigest() for name in {COMPILED!r}])"
    )
    paths = [str(Path(__file__).parent), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "7"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert run.returncode == 0, run.stderr
    here = []
    for name in COMPILED:
        problem = copy.copy(problem_named(name))  # without what the other one has made
        NativeSweep(problem, TimeGrid.uniform(3), control_kind="linear").text(backward=True, extended=True)
        here.append(hashlib.sha256(printed(name, problem).encode()).hexdigest())
    assert run.stdout.strip() == str(here)


def test_every_function_tells_its_operations():
    text = printed("obstacle")
    for name in (*MATRICES, "path"):
        before = text.split(f"static void {name}(")[0].splitlines()[-3:]
        assert any(line.startswith("  // ") and line.endswith(" operations") for line in before), name
