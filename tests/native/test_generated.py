"""What is printed compiles to what was meant: names, numbers, and vectors too long to be taken apart."""

from __future__ import annotations

import ctypes
import math
import random
import struct

import pytest
import torch
from torch import Tensor

from pontryagin.backend.cache import library_for
from pontryagin.backend.select import make_backend
from pontryagin.codegen.printer import Body, literal
from pontryagin.graph import Graph
from pontryagin.problem import Problem
from pontryagin.sweep import BACKWARD_OUTPUTS, FORWARD_OUTPUTS, Arguments
from pontryagin.time_grid import TimeGrid

OUTPUTS = FORWARD_OUTPUTS | BACKWARD_OUTPUTS


def named(name: str) -> Problem:
    return Problem(
        name=name,
        dynamics=lambda t, x, u: u - x,
        running_cost=lambda t, x, u: u[0] ** 2,
        initial_state=[1.0],
        horizon=(0.0, 1.0),
        control_dim=1,
    )


@pytest.mark.parametrize(
    "name",
    [
        "two\nlines",
        "a\\",
        "a \\\r\nint x;",
        "*/ int x; /*",
        '"quoted"',
        "'",
        "??/\n#error",
        "\u2028#error",
        "%s {0}",
        "\0",
    ],
    ids=repr,
)
def test_a_name_stays_inside_of_its_comment(name):
    """No compiler is asked: the other lines are those of any other problem."""

    def lines(name: str) -> list[str]:
        sweep = make_backend(named(name), TimeGrid.uniform(2), control_kind="constant", backend="native")
        return sweep.text().split("\n")

    found, plain = lines(name), lines("plain")
    (comment,) = (k for k, line in enumerate(plain) if "plain" in line)
    assert found[:comment] == plain[:comment]
    assert found[comment + 1 :] == plain[comment + 1 :]
    assert found[comment].startswith("// ")
    assert found[comment].isprintable()
    assert not set('\\"?*/') & set(found[comment][3:])


def bits(value: float) -> int:
    return struct.unpack("<q", struct.pack("<d", value))[0]


def test_numbers_come_back_from_the_compiler_to_the_bit(home):
    generator = random.Random(3)
    values = [0.0, -0.0, 1e300, -1e300, 5e-324, -2.5e-320, 1e22, 0.1, 1 / 3, math.inf, -math.inf, math.pi]
    values += [struct.unpack("<d", generator.randbytes(8))[0] for _ in range(300)]
    values = [value for value in values if not math.isnan(value)] + [math.nan]
    text = f"static const double values[] = {{{', '.join(map(literal, values))}}};\n"
    text += 'extern "C" __attribute__((visibility("default"))) const double* numbers() { return values; }\n'
    numbers = library_for(text).handle.numbers
    numbers.restype = ctypes.POINTER(ctypes.c_double)
    found = numbers()[: len(values)]
    assert list(map(bits, found[:-1])) == list(map(bits, values[:-1]))
    assert math.isnan(found[-1])


def test_twice_a_multiple_that_is_there_is_a_sum():
    graph = Graph()
    a, b, c = (graph.input("x", i) for i in range(3))
    lines = list(Body({"f": 0.3 * a * c, "g": 0.15 * b * c}).lines())
    assert lines[:2] == ["const Real v1 = Real(0.15) * x[2];", "const Real v2 = v1 + v1;"]


def large(n: int = 40, m: int = 40, q: int = 50) -> Problem:
    """Too large for registers, in every direction."""

    def dynamics(t: Tensor, x: Tensor, u: Tensor, p: Tensor) -> Tensor:
        return torch.tanh(x.roll(1) * p[:n]) + u[:n] * torch.cos(x) - x

    return Problem(
        dynamics=dynamics,
        running_cost=lambda t, x, u, p: (u**2).sum() + p[n:].prod() * x[0],
        terminal_cost=lambda t, x, p: t * (x * p[q - n :]).sum(),
        terminal_constraint=lambda t, x, p: x[1:] - p[:-11],
        initial_state=[0.1 * k for k in range(n)],
        horizon=(0.0, 1.0),
        parameters={"p": [0.5 + 0.01 * k for k in range(q)]},
        control_dim=m,
    )


def test_long_vectors_become_loops_and_give_what_the_interpreter_gives():
    """On a horizon of several segments, so that states are kept at the start of each."""
    problem, steps, batch = large(), 70, 3
    grid = TimeGrid.uniform(steps)
    constraints = problem.equality_count
    arguments = Arguments(
        control=0.1 * torch.randn(batch, steps + 1, 40, dtype=torch.float64),
        initial_state=problem.initial_state + 0.1 * torch.randn(batch, 40, dtype=torch.float64),
        final_time=torch.tensor([0.9, 1.0, 1.1], dtype=torch.float64),
        parameters=problem.parameter_values * (1 + 0.1 * torch.rand(batch, 50, dtype=torch.float64)),
        multipliers=torch.randn(batch, constraints, dtype=torch.float64),
        penalties=torch.rand(batch, constraints, dtype=torch.float64),
        objective_cotangent=torch.randn(batch, dtype=torch.float64),
        state_cotangent=torch.randn(batch, steps + 1, 40, dtype=torch.float64),
    )
    native, interpreter = (
        make_backend(problem, grid, control_kind="linear", backend=name, threads=1)
        for name in ("native", "interpreter")
    )
    assert "for (" not in native.text(extended=True), "loops are those of the templates"
    assert "static constexpr int n() { return 40; }" in native.text(extended=True)
    found, expected = native.evaluate(arguments, OUTPUTS), interpreter.evaluate(arguments, OUTPUTS)
    assert native.name == "native"
    for name in sorted(OUTPUTS):
        one, other = getattr(found, name), getattr(expected, name)
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}")
