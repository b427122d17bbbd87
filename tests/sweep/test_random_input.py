"""Whatever is thrown at the public sweep: an answer with finite numbers, or one of the package's own errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_cases import SMALL

from pontryagin.data import Data
from pontryagin.errors import PontryaginError
from pontryagin.evaluate import FIELDS, sweep

numbers = st.one_of(
    st.floats(-2, 2), st.sampled_from([0.0, 1e-300, 1e300, math.nan, math.inf, -math.inf]), st.integers(-3, 3)
)
sizes = st.integers(0, 4)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    shape = draw(st.lists(sizes, max_size=4))
    dtype = draw(st.sampled_from([torch.float64] * 6 + [torch.float32, torch.float16, torch.int64, torch.bool]))
    value = torch.full(shape, draw(st.floats(-2, 2)), dtype=torch.float64)
    if value.numel() and draw(st.integers(0, 5)) == 0:
        value.view(-1)[draw(st.integers(0, value.numel() - 1))] = draw(numbers)
    if draw(st.booleans()) and value.dim() > 1:
        value = value.transpose(0, 1)
    value = value.to(dtype)
    return value.requires_grad_() if dtype.is_floating_point and draw(st.integers(0, 4)) == 0 else value


junk: st.SearchStrategy[Any] = st.one_of(
    st.none(), numbers, st.text(max_size=3), st.booleans(), st.lists(numbers, max_size=3),
    st.lists(st.lists(numbers, max_size=3), max_size=3), st.just(object()), st.just(np.zeros((2, 2), dtype=object)),
    st.just({"gravity": 1.0}), st.just({"rest": [1.0]}), st.just(lambda t: t), st.just(Data([[1.0, 2.0], [3.0, 4.0]])),
)  # fmt: skip


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    """Shapes that fit more often than not, so that the sweep is reached; any of them spoiled."""
    name = draw(st.sampled_from([name for name in SMALL if name != "network"]))
    problem = SMALL[name]()
    kind = draw(st.sampled_from(["constant", "linear"]))
    batch = draw(st.sampled_from([(), (), (2,), (3,)]))

    def fitting(*shape: int) -> torch.Tensor:
        lead = batch if draw(st.booleans()) else ()
        return torch.full((*lead, *shape), draw(st.floats(-1, 1)), dtype=torch.float64)

    r = problem.equality_count + problem.inequality_count
    arguments: dict[str, Any] = {
        "problem": problem,
        "u": fitting(draw(st.integers(2, 4)), problem.control_dim),
        "control": kind,
    }
    optional = {
        "initial_state": lambda: fitting(problem.state_dim),
        "parameters": lambda: fitting(problem.parameter_dim),
        "final_time": lambda: problem.t1_guess + fitting(),
        "multipliers": lambda: fitting(r),
        "outputs": lambda: draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=3)),
        "scheme": lambda: draw(st.sampled_from(["euler", "rk4", "tsitouras", "rk5"])),
        "backend": lambda: draw(st.sampled_from(["auto", "torch", "interpreter", "native"])),
        "threads": lambda: draw(st.sampled_from([1, 2, 0])),
    }
    if problem.data is not None:
        del optional["final_time"]  # not together with data yet
    for key, make in optional.items():
        if draw(st.integers(0, 2)) == 0:
            arguments[key] = make()
    spoiled = draw(st.sampled_from([None, None, "u", "control", "data", *optional]))
    if spoiled is not None:
        arguments[spoiled] = draw(st.one_of(junk, tensors()))
    return arguments


@settings(max_examples=400)
@given(calls())
def test_any_call_answers_or_raises_one_of_the_errors_of_the_package(arguments: dict[str, Any]) -> None:
    try:
        answer = sweep(**arguments)
    except PontryaginError:
        return
    for field in FIELDS:
        value = getattr(answer, field)
        assert value is None or bool(value.isfinite().all())
