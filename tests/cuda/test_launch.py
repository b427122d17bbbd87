"""What a kernel is launched with: enough threads and not many more, and memory that suffices."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import pytest
from cuda_golden import sweep_named
from hypothesis import given
from hypothesis import strategies as st
from test_kernels_on_host import arguments

from pontryagin.backend.cuda_launch import LARGEST_GRID, Job, Points, grid_for, segment_for
from pontryagin.backend.toolchain import include_directory
from pontryagin.codegen.cuda_library import BLOCK

C_TYPES = {"long long": ctypes.c_longlong, "double": ctypes.c_double, "T*": ctypes.c_void_p}


@pytest.mark.parametrize(("header", "structure"), [("device_job.hpp", Job), ("device_points.hpp", Points)])
def test_job_is_the_struct_of_the_header(header, structure):
    text = (Path(include_directory()) / "pontryagin" / header).read_text(encoding="utf-8")
    declared = re.findall(r"^  (?:const )?(long long|double|T\*) (\w+) = ", text, re.MULTILINE)
    assert [(name, C_TYPES[kind]) for kind, name in declared] == structure._fields_


@given(st.integers(1, 10**9))
def test_grid_has_a_thread_for_every_problem_and_less_than_a_block_too_many(problems):
    assert 0 <= grid_for(problems) * BLOCK - problems < BLOCK


def test_no_problem_is_no_launch():
    assert grid_for(0) == 0


def test_more_problems_than_a_launch_takes_are_refused():
    assert grid_for(LARGEST_GRID * BLOCK) == LARGEST_GRID
    with pytest.raises(ValueError, match="too many"):
        grid_for(LARGEST_GRID * BLOCK + 1)


@given(st.integers(1, 3000), st.integers(1, 4000))
def test_segments_fit_where_any_segments_fit(steps, rows):
    """Rows of the tape and of the starts, against the room that there is; as few segments as possible."""
    row_bytes = 24

    def needed(segment: int) -> int:
        return segment + (-(-steps // segment) if segment < steps else 0)

    segment = segment_for(steps, row_bytes, rows * row_bytes)
    assert 1 <= segment <= steps
    fitting = [s for s in range(1, steps + 1) if needed(s) <= rows]
    if not fitting:
        assert needed(segment) <= min(needed(s) for s in range(1, steps + 1)) + 2
    else:
        assert needed(segment) <= max(rows, min(map(needed, fitting)) + 2)
        if needed(segment) <= rows:
            assert -(-steps // segment) == min(-(-steps // s) for s in fitting)


def test_states_are_kept_once():
    """The path of the state is the tape where it is asked for; nothing is kept where there is no way back."""
    sweep = sweep_named("cartpole")
    asked = arguments("cartpole", sweep, batch=2)
    for wanted, tape in (({"costate"}, True), ({"costate", "state"}, False), ({"objective"}, False)):
        sweep.evaluate(asked, wanted)
        job = sweep._on.launches[-1]
        assert (job.tape is not None, job.starts) == (tape, None)
        assert job.segment == job.steps == sweep._steps
        assert job.problems == 2
