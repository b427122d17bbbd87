"""Settings of the first-order methods: every default in one place, checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

from pontryagin.errors import ProblemError, unknown_name

StepRule = Literal["fixed", "armijo", "barzilai_borwein"]
STEP_RULES: tuple[str, ...] = get_args(StepRule)


@dataclass(frozen=True, kw_only=True)
class MethodSettings:
    """What steers a first-order method; the meaning of every number is beside it.

    Raises ProblemError for a value out of its range or an unknown step rule.
    """

    tolerance: float = 1e-8  # largest scaled optimality residual and terminal violation of a solved problem
    max_iterations: int | None = None  # line searches per problem; None: the method's own default
    max_inner_iterations: int = 300  # of these, between two changes of the multipliers
    interval: int | None = None  # iterations from one look of the host at the numbers to the next; None: by device

    step_rule: StepRule = "barzilai_borwein"  # of the gradient method
    step: float = 1e-2  # eta of the fixed rule, first eta of the Armijo rule
    smallest_step: float = 1e-10  # of a spectral step, in scaled variables
    largest_step: float = 1e10
    memory: int = 30  # pairs (s, y) kept by L-BFGS
    curvature: float = 1e-10  # a pair is kept if s.y > curvature |s| |y|

    sufficient_decrease: float = 1e-4  # c in J(trial) <= J + c g.(trial - u)
    backtracking: float = 0.4  # ratio of two neighbouring step lengths of a search
    trials: int = 6  # step lengths of one backend call
    searches: int = 4  # such calls before a line search gives up
    nonmonotone: int = 8  # last values whose largest J_a a spectral, or a constrained quasi-Newton step may reach

    penalty: float = 30.0  # first penalty of a scaled terminal constraint, times the scale of J; see Pace
    penalty_growth: float = 10.0  # factor on a penalty when the violation does not drop
    violation_drop: float = 0.25  # a violation that falls by this factor leaves its penalty alone
    largest_penalty: float = 1e10  # relative to the first; beyond it a problem is INFEASIBLE
    largest_multiplier: float = 1e12  # of scaled constraints, relative to the scale of J: safeguard of the update

    def __post_init__(self) -> None:
        if self.step_rule not in STEP_RULES:
            raise unknown_name("step rule", self.step_rule, STEP_RULES)
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "step_rule" or (field.type == "int | None" and value is None):
                continue
            whole = field.type in ("int", "int | None")
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise ProblemError(f"{field.name} is {value!r}; expected {'an integer' if whole else 'a number'}")
            if not (math.isfinite(value) and value > 0):
                raise ProblemError(f"{field.name} is {value}; expected a positive finite number")
        for name in ("sufficient_decrease", "backtracking", "violation_drop", "curvature"):
            if getattr(self, name) >= 1:
                raise ProblemError(f"{name} is {getattr(self, name)}; expected a number between 0 and 1")
        if self.penalty_growth <= 1:
            raise ProblemError(f"penalty_growth is {self.penalty_growth}; expected a number above 1")

    @property
    def asks(self) -> bool:
        """Whether the host may ask for numbers during an iteration, since it looks at all of them anyway."""
        return self.interval in (None, 1)
