"""Where a net runs: in the fused kernels or in PyTorch, and why."""

from __future__ import annotations

from torch import Tensor

from pontryagin.errors import BackendError, ProblemError
from pontryagin.mlp import MLP
from pontryagin.neural.fused import FusedFlow
from pontryagin.neural.path_cost import PathCost, RunningCost
from pontryagin.neural.recognise import Perceptron

BACKENDS = ("auto", "torch", "fused")

#: The widest layers on which the fused kernels were seen to lead (`python -m benchmarks odenet`); beyond, PyTorch runs.
WIDEST = 256
#: The same on a GPU, where none of it was measured: weights of two such layers fit into the memory that a block shares.
WIDEST_ON_GPU = 128


def choose(
    backend: str, found: Perceptron | str, gradient: str, running_cost: PathCost | RunningCost | None
) -> tuple[str, str]:
    """The backend, "torch" or "fused", and why. Raises ProblemError where "fused" is asked for and cannot be."""
    if backend == "torch":
        return "torch", "it was asked for"
    obstacle = ""
    if isinstance(found, str):
        obstacle = found
    elif gradient not in ("discrete", "checkpoint"):
        obstacle = f"gradient={gradient!r} has no fused kernel"
    elif running_cost is not None and not isinstance(running_cost, PathCost):
        obstacle = "the running cost is a function; a PathCost is fused"
    if backend == "fused":
        if obstacle:
            raise ProblemError(f"backend='fused' does not run this net, because {obstacle}")
        return "fused", "it was asked for"
    if not obstacle and isinstance(found, Perceptron) and _widest(found.mlp) > WIDEST:
        obstacle = f"a layer of {_widest(found.mlp)} units is wider than {WIDEST}, up to which the kernels lead"
    return ("torch", obstacle) if obstacle else ("fused", "the field is a perceptron that the kernels know")


def obstacle_on_gpu(backend: str, flow: FusedFlow, x: Tensor) -> str | None:
    """Why a net whose backend is "fused" runs in PyTorch on the GPU where x lies; None where it does not.

    Raises BackendError where "fused" was asked for and there are no kernels.
    """
    obstacle = flow.obstacle(x)
    if obstacle and backend == "fused":
        raise BackendError(f"backend='fused' does not run this net on {x.device}: {obstacle}")
    widest = _widest(flow.mlp)
    if not obstacle and backend == "auto" and widest > WIDEST_ON_GPU:
        return f"a layer of {widest} units is wider than {WIDEST_ON_GPU}, up to which kernels on GPUs are taken"
    return obstacle


def _widest(mlp: MLP) -> int:
    return max(mlp.widths, default=0)
