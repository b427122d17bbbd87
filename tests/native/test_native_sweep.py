"""Native sweeps as Python programs call them: from several threads at once, and interrupted."""

from __future__ import annotations

import itertools
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from golden import cartpole

from pontryagin.backend.select import make_backend
from pontryagin.sweep import Arguments
from pontryagin.time_grid import TimeGrid

OUTPUTS = {"objective", "state", "costate", "control_derivative"}
ADDRESSES = 19  # of _core.NativeSweeper.run


def arguments(batch: int, rows: int, shared: bool) -> Arguments:
    problem = cartpole()
    return Arguments(
        control=torch.randn(*([] if shared else [batch]), rows, 1, dtype=torch.float64),
        initial_state=problem.initial_state + 0.1 * torch.randn(batch, 4, dtype=torch.float64),
        final_time=torch.full((batch,), 2.0, dtype=torch.float64),
        parameters=torch.empty(batch, 0, dtype=torch.float64),
    )


def test_threads_of_python_may_share_a_sweep():
    """Each call has memory of its own while it runs."""
    sweep = make_backend(cartpole(), TimeGrid.uniform(50), control_kind="linear", backend="native", threads=2)
    calls = [arguments(batch, 51, shared) for batch, shared in itertools.product((1, 3, 40, 100), (False, True))]
    expected = [sweep.evaluate(call, OUTPUTS) for call in calls]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda call: sweep.evaluate(call, OUTPUTS), calls * 12))
    for result, reference in zip(found, itertools.cycle(expected), strict=False):
        for name in OUTPUTS:
            assert torch.equal(getattr(result, name), getattr(reference, name)), name


class Stopped(Exception):
    pass


@pytest.mark.parametrize("backend", ["native", "interpreter"])
def test_a_signal_is_heard_between_chunks_of_a_batch(backend):
    """As Ctrl-C is: the rest of the batch is left as it was, and the next sweep is whole again."""
    batch, steps = 2048, 100_000
    sweep = make_backend(cartpole(), TimeGrid.uniform(steps), control_kind="linear", backend=backend, threads=1)
    small = arguments(3, steps + 1, shared=True)
    expected = sweep.evaluate(small, {"objective"})

    runner = sweep._sweeper(True, False, False)
    call = arguments(batch, steps + 1, shared=True)
    objective = torch.full((batch,), torch.nan, dtype=torch.float64)
    addresses = [0] * ADDRESSES
    for place, tensor in enumerate((sweep._tau, call.control, call.initial_state, call.final_time)):
        addresses[place] = tensor.data_ptr()
    addresses[10] = objective.data_ptr()

    def stop(number, frame):
        raise Stopped

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(Stopped):  # noqa: PT012
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            runner.run(False, steps, batch, 0, 0, 1, addresses)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert bool(objective[0].isfinite())
    assert bool(objective[-1].isnan()), "the batch was swept to its end"
    assert torch.equal(sweep.evaluate(small, {"objective"}).objective, expected.objective)
