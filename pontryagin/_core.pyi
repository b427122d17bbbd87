from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

operations: dict[str, int]

def instruction_set() -> str: ...
def lanes() -> int: ...

Code = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]

class Model:
    def __init__(
        self,
        *,
        n: int,
        m: int,
        q: int,
        nd: int,
        equalities: int,
        inequalities: int,
        dynamics: Code,
        pullback: Code,
        terminal: Code,
        terminal_pullback: Code,
    ) -> None: ...

class Sweeper:
    def __init__(
        self,
        model: Model,
        a: Sequence[Sequence[float]],
        b: Sequence[float],
        c: Sequence[float],
        *,
        t0: float,
        linear_control: bool,
        linear_data: bool,
        backward: bool,
        keep_state: bool,
        extended: bool,
        uniform: bool,
    ) -> None: ...
    def run(
        self,
        single: bool,
        steps: int,
        batch: int,
        control_stride: int,
        data_stride: int,
        threads: int,
        addresses: Sequence[int],
    ) -> None: ...
    def listing(self) -> str: ...
    def counts(self) -> dict[str, int]: ...

class PointEvaluator:
    def __init__(self, model: Model) -> None: ...
    def run(self, single: bool, count: int, threads: int, addresses: Sequence[int]) -> None: ...

class NativeSweeper:
    def __init__(self, table: int, *, t0: float) -> None: ...
    def run(
        self,
        single: bool,
        steps: int,
        batch: int,
        control_stride: int,
        data_stride: int,
        threads: int,
        addresses: Sequence[int],
    ) -> None: ...
    def workspace_bytes(self, steps: int, *, state: bool, costate: bool, state_cotangent: bool) -> int: ...

class MlpSweeper:
    def __init__(
        self,
        *,
        widths: Sequence[int],
        activations: Sequence[str],
        bias: Sequence[bool],
        time: bool,
        a: Sequence[Sequence[float]],
        b: Sequence[float],
        c: Sequence[float],
        state_cost: float,
        velocity_cost: float,
    ) -> None: ...
    def run(
        self,
        single: bool,
        steps: int,
        t0: float,
        batch: int,
        weight_rows: int,
        backward: bool,
        replay: bool,
        scale: float,
        cost_scale: float,
        threads: int,
        addresses: Sequence[int],
        weights: Sequence[int],
        gradients: Sequence[int],
    ) -> float: ...
    def tape_bytes(self, single: bool, batch: int, steps: int) -> int: ...
