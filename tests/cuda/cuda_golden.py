"""The texts in csrc/tests/golden/cuda: `python tests/cuda/cuda_golden.py` writes them anew.

Those of the native libraries (tests/native/golden.py) as kernels, and three more: a vehicle with many formulas, the
Lorenz system of benchmarks, and a state too long for registers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("native", "sweep")]
from emulator import Emulator
from golden import LIBRARIES as NATIVE

from pontryagin import problems
from pontryagin.backend.cuda_sweep import CudaSweep
from pontryagin.problem import Problem
from pontryagin.time_grid import TimeGrid

FOLDER = Path(__file__).resolve().parents[2] / "csrc" / "tests" / "golden" / "cuda"
COMMAND = "python tests/cuda/cuda_golden.py"


def quadrotor() -> Problem:
    return problems.get("quadrotor_tracking").problem()


def lorenz() -> Problem:
    """The Lorenz system (1963), pushed: chaos, and hardly any formula."""

    def dynamics(t: Tensor, x: Tensor, u: Tensor, p: Tensor) -> Tensor:
        return torch.stack([p[0] * (x[1] - x[0]) + u[0], x[0] * (p[1] - x[2]) - x[1], x[0] * x[1] - p[2] * x[2]])

    return Problem(
        name="Lorenz system",
        dynamics=dynamics,
        running_cost=lambda t, x, u, p: 0.1 * u[0] ** 2,
        terminal_cost=lambda t, x, p: (x**2).sum(),
        initial_state=[1.0, 0.0, 0.0],
        horizon=(0.0, 0.1),
        parameters={"p": [10.0, 28.0, 8.0 / 3.0]},
        control_dim=1,
    )


def tanks() -> Problem:
    """Tanks that one control fills: 33 states, one more than are taken apart into registers."""
    return Problem(
        name="tanks",
        dynamics=lambda t, x, u: u - x * x,
        running_cost=lambda t, x, u: u[0] ** 2,
        terminal_cost=lambda t, x: x.sum(),
        initial_state=[0.1] * 33,
        horizon=(0.0, 1.0),
        control_dim=1,
    )


#: name -> problem, scheme, what is asked for: single, linear_control, uniform, backward, extended
PLAIN = {"single": False, "linear_control": False, "linear_data": False, "uniform": True, "backward": True,
         "extended": False}  # fmt: skip
KERNELS: dict[str, tuple[Callable[[], Problem], str, dict[str, bool]]] = {
    **NATIVE,
    "quadrotor": (quadrotor, "rk4", {"single": True}),
    "lorenz": (lorenz, "rk4", {"single": True, "extended": True}),
    "tanks": (tanks, "bogacki_shampine", {"linear_control": True}),
}


def sweep_named(name: str, room: int = 2**30) -> CudaSweep:
    """The sweep that a text is for, on the emulator."""
    make, scheme, changes = KERNELS[name]
    asked = PLAIN | changes
    nodes = torch.linspace(0, 1, 8, dtype=torch.float64)
    return CudaSweep(
        make(),
        TimeGrid(nodes if asked["uniform"] else nodes**1.3),
        control_kind="linear" if asked["linear_control"] else "constant",
        scheme=scheme,
        dtype=torch.float32 if asked["single"] else torch.float64,
        device="cpu",
        on=Emulator(room),
    )


def text_named(name: str) -> str:
    asked = PLAIN | KERNELS[name][2]
    return sweep_named(name).text(asked["backward"], asked["extended"])


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in KERNELS:
        path = FOLDER / f"{name}.cu"
        path.write_text(text_named(name), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
