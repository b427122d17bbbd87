"""Kernels compiled ahead of time on a GPU against float64 on the CPU, where the package was built with them.

Not a line of this has run where there is no GPU.
"""

from __future__ import annotations

import ahead_emulator  # noqa: F401 (the other folders of tests)
import pytest
import test_mlp_on_gpu
import torch
from sweep_cases import EVERYTHING, SMALL, random_arguments, uneven_grid
from test_fused_mlp import SHAPES, make_case
from test_on_gpu import GALLERY, assert_close, gallery_problem, there

from pontryagin.backend.compiled import CompiledSweep
from pontryagin.backend.cuda_ahead import find_ahead
from pontryagin.backend.cuda_ahead_mlp import AheadMLP
from pontryagin.backend.cuda_interpreter import InterpretedCudaSweep
from pontryagin.errors import BackendError

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _built(monkeypatch):
    """What a sweep allocates holds NaN until it is written to."""
    try:
        find_ahead()
    except BackendError as error:
        pytest.skip(str(error))
    for kind in (InterpretedCudaSweep, AheadMLP):
        empty = kind._empty
        monkeypatch.setattr(kind, "_empty", lambda self, *shape, empty=empty: empty(self, *shape).fill_(torch.nan))


@pytest.mark.parametrize("kind", ["constant", "linear"])
@pytest.mark.parametrize("name", [*SMALL, *GALLERY])
def test_interpreter_on_gpu_gives_what_the_cpu_gives(name, kind):
    problem = SMALL[name]() if name in SMALL else gallery_problem(name)
    grid = uneven_grid(9)
    for batch in (1, 65, 1000):
        asked = random_arguments(problem, grid, kind, batch, cotangents=True)
        found = InterpretedCudaSweep(problem, grid, control_kind=kind, device="cuda").evaluate(there(asked), EVERYTHING)
        assert_close(found, CompiledSweep(problem, grid, control_kind=kind).evaluate(asked, EVERYTHING), 1e-10)


def test_hamiltonian_at_points_is_that_of_the_cpu():
    problem, grid = SMALL["pendulum"](), uneven_grid(9)
    sizes = (problem.state_dim, problem.state_dim, problem.control_dim, problem.parameter_dim)
    given = [torch.rand(1000).double(), *(torch.randn(1000, size).double() for size in sizes)]
    expected = CompiledSweep(problem, grid, control_kind="linear").hamiltonian(*given, None)
    found = InterpretedCudaSweep(problem, grid, control_kind="linear", device="cuda")
    for one, other in zip(found.hamiltonian(*(x.cuda() for x in given), None), expected, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", SHAPES)
def test_nets_give_what_autograd_gives(name, monkeypatch):
    monkeypatch.setattr(test_mlp_on_gpu, "CudaMLP", AheadMLP)
    for batch in (1, 16, 300):
        test_mlp_on_gpu.assert_as_on_the_cpu(make_case(**SHAPES[name], kind="per step", batch=batch, state_cost=0.5))
