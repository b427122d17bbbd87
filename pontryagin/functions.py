"""The functions of a problem behind uniform signatures.

A person writes functions of leading arguments of (t, x, u[, theta][, d]); everything else in the package calls

    dynamics, running_cost, path_constraint (t, x, u, theta, d)        terminal functions (t, x, theta)

on one sample: t 0-d, x (n,), u (m,), theta (q,), d (nd,). Costs are those that are minimised: of a problem that
maximises, they are the negative of what was written.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pontryagin.errors import ProblemError

UserCallable = Callable[..., Any]


@dataclass(frozen=True)
class UserFunction:
    """One function as it was written: which of the uniform arguments it takes, and what it must return.

    `shape` (n,) or () is demanded; None means a constraint: a vector of any length, or a scalar, which becomes (1,).
    """

    name: str
    function: UserCallable
    picks: tuple[int, ...]
    shape: tuple[int, ...] | None
    negated: bool = False

    def __call__(self, *arguments: Tensor) -> Tensor:
        return self.finish(self.function(*[arguments[i] for i in self.picks]), arguments)

    def finish(self, value: Any, arguments: Sequence[Tensor]) -> Tensor:
        """What was returned as a tensor: numbers too, a single constraint as a vector, a maximised cost negated."""
        if isinstance(value, (int, float)):
            value = arguments[0].new_full((), value)
        if self.shape is None and value.dim() == 0:
            value = value.reshape(1)
        return -value if self.negated else value  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Functions:
    """All functions of a problem, with uniform signatures and in the minimised sense."""

    user_dynamics: UserFunction
    user_running_cost: UserFunction | None
    user_terminal_cost: UserFunction | None
    user_initial_cost: UserFunction | None
    user_terminal_constraint: UserFunction | None
    user_terminal_inequality: UserFunction | None
    path_constraint: UserFunction | None  # (t, x, u, theta, d) -> (k,) <= 0
    integrand: UserFunction | None  # (t, x, u, theta, d) -> (k,), of the integral constraint
    targets: tuple[tuple[int, float], ...]  # (component, value) for the fixed components of the terminal state

    def dynamics(self, t: Tensor, x: Tensor, u: Tensor, theta: Tensor, d: Tensor) -> Tensor:
        """x' (n,)."""
        return self.user_dynamics(t, x, u, theta, d)

    def running_cost(self, t: Tensor, x: Tensor, u: Tensor, theta: Tensor, d: Tensor) -> Tensor:
        """L, a scalar; zero where none is given."""
        return x.new_zeros(()) if self.user_running_cost is None else self.user_running_cost(t, x, u, theta, d)

    def terminal_cost(self, t: Tensor, x: Tensor, theta: Tensor) -> Tensor:
        """phi, a scalar; zero where none is given."""
        return x.new_zeros(()) if self.user_terminal_cost is None else self.user_terminal_cost(t, x, theta)

    def initial_cost(self, x: Tensor, theta: Tensor) -> Tensor:
        """The cost of the initial state, a scalar; zero where none is given."""
        return x.new_zeros(()) if self.user_initial_cost is None else self.user_initial_cost(x, theta)

    def terminal_equality(self, t: Tensor, x: Tensor, theta: Tensor) -> Tensor:
        """psi (equality_count,): x_j - target_j for each fixed component, then the terminal constraint."""
        fixed = [torch.stack([x[j] - target for j, target in self.targets])] if self.targets else []
        given = [] if self.user_terminal_constraint is None else [self.user_terminal_constraint(t, x, theta)]
        parts = fixed + given
        return x.new_zeros((0,)) if not parts else parts[0] if len(parts) == 1 else torch.cat(parts)

    def terminal_inequality(self, t: Tensor, x: Tensor, theta: Tensor) -> Tensor:
        """gamma (inequality_count,) <= 0."""
        given = self.user_terminal_inequality
        return x.new_zeros((0,)) if given is None else given(t, x, theta)


def user_function(
    name: str,
    function: Any,
    available: Sequence[str],
    uniform: Sequence[str],
    shape: tuple[int, ...] | None,
    negated: bool = False,
) -> UserFunction | None:
    """The function with its argument list read; None stays None.

    `available` names what this problem can hand to it, `uniform` all arguments of the uniform signature.
    """
    if function is None:
        return None
    call = f"{name}({', '.join(available)})"
    if not callable(function):
        raise ProblemError(f"{name} is of type {type(function).__name__}; give a function {call}")
    count = _leading_arguments(name, function, len(available))
    if count > len(available):
        absent = [f"{word} needs {keyword}=" for word, keyword in (("theta", "parameters"), ("d", "data"))
                  if word in uniform and word not in available]  # fmt: skip
        raise ProblemError(
            f"{name} takes {count} arguments, but this problem has only {len(available)} for it: write {call}"
            + (f" ({', '.join(absent)})" if absent else "")
        )
    picks = tuple(uniform.index(word) for word in available[:count])
    return UserFunction(name, function, picks, shape, negated)


def _leading_arguments(name: str, function: UserCallable, available: int) -> int:
    """How many arguments to hand over: those without a default; all that there are where the function takes any."""
    target = function.forward if isinstance(function, torch.nn.Module) else function
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):  # built-in functions do not tell
        return available
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            raise ProblemError(
                f"{name} wants a keyword argument {parameter.name!r}; arguments are given by position, "
                "so give it a default or use functools.partial"
            )
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return available
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is p.empty for p in parameters)
