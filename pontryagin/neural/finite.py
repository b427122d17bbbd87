"""Where a number stopped being one: which sample of a batch, and when."""

from __future__ import annotations

import torch
from torch import Tensor

from pontryagin.errors import NonFiniteError
from pontryagin.neural.flow import Flow
from pontryagin.neural.stage_weights import Weights


def is_finite(x: Tensor) -> bool:
    """Of all components; one sum settles nearly every case. On a GPU this waits, for one number; a CUDA graph that is
    captured cannot, and takes the answer to be yes."""
    if x.is_cuda and torch.cuda.is_current_stream_capturing():
        return True
    return x.numel() == 0 or bool(torch.isfinite(x.detach().sum())) or bool(torch.isfinite(x.detach()).all())


def refuse(flow: Flow, x: Tensor, weights: Weights) -> None:
    """Raises NonFiniteError with the first sample and time at which the state is not finite; walks the steps again."""
    bad = [name for name, w in weights.items() if not torch.isfinite(w).all()]
    if bad:
        raise NonFiniteError(f"the weights {', '.join(bad)} are not finite; the step that trained them was too long")
    if (sample := _first(x)) is not None:
        raise NonFiniteError(f"sample {sample} of the batch is not finite before the net, at t = {flow.nodes[0]:g}")
    with torch.no_grad():
        point = (x, x.new_zeros(x.shape[0]))
        for n in range(flow.steps):
            point = flow.step(n, point, weights)
            if (sample := _first(point[0])) is not None:
                raise NonFiniteError(
                    f"the state of sample {sample} is not finite at t = {flow.nodes[n + 1]:g}, after step {n + 1} of "
                    f"{flow.steps}: the field grows too fast there. Take more steps, or smaller weights"
                )


def _first(x: Tensor) -> int | None:
    bad = ~torch.isfinite(x).flatten(1).all(1)
    return int(bad.nonzero()[0]) if bool(bad.any()) else None
