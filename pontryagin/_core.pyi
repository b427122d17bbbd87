from collections.abc import Callable, Sequence
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

def device_sweep_program(
    model: Model,
    a: Sequence[Sequence[float]],
    b: Sequence[float],
    c: Sequence[float],
    *,
    t0: float,
    linear_control: bool,
    linear_data: bool,
    backward: bool,
    extended: bool,
    uniform: bool,
) -> dict[str, Any]: ...
def device_point_program(model: Model) -> dict[str, Any]: ...

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

newton_functions: int

class NewtonFunctions:
    def __init__(self, codes: Sequence[tuple[Any, ...]], results: Sequence[int], rows: int) -> None: ...
    @staticmethod
    def compiled(table: int) -> NewtonFunctions: ...

class Newton:
    def __init__(
        self,
        functions: NewtonFunctions,
        *,
        sizes: dict[str, int],
        rows: Sequence[int],
        entries: Sequence[Sequence[tuple[int, int]]],
        optimised: Sequence[int],
        a: Sequence[Sequence[float]],
        b: Sequence[float],
        c: Sequence[float],
        statement: dict[str, Any],
    ) -> None: ...
    def values(
        self, state: Any, control: Any, initial: Any, theta: Any, data: Any, threads: int
    ) -> tuple[Any, ...]: ...
    def linearise(
        self,
        state: Any,
        control: Any,
        initial: Any,
        theta: Any,
        data: Any,
        costate: Any,
        nu: Any,
        mu: Any,
        weight: Any,
        exact: bool,
        threads: int,
    ) -> tuple[Any, ...]: ...
    def lagrangian(
        self,
        state: Any,
        control: Any,
        initial: Any,
        theta: Any,
        data: Any,
        costate: Any,
        nu: Any,
        mu: Any,
        threads: int,
    ) -> Any: ...
    def choose_start(
        self, state: Any, control: Any, initial: Any, theta: Any, data: Any, favour: float, threads: int
    ) -> None: ...
    def solve(
        self,
        state: Any,
        control: Any,
        costate: Any,
        end: Any,
        sigma: Any,
        multiplier: Any,
        known: Any,
        initial: Any,
        theta: Any,
        data: Any,
        options: dict[str, Any],
        threads: int,
        told: Callable[[tuple[float, ...]], bool] | None,
    ) -> dict[str, Any]: ...
