"""The optimal control problem: what a person states once, validated and immutable.

    minimise   J = phi0(x(t0)) + phi(t1, x(t1), theta) + int_{t0}^{t1} L(t, x, u, theta, d) dt
    subject to x' = f(t, x, u, theta, d),    x(t0) = x0,    u_low <= u <= u_high,
               psi(t1, x(t1), theta) = 0,    gamma(t1, x(t1), theta) <= 0,    c(t, x, u, theta, d) <= 0

State x (n,), control u (m,), parameters theta (q,), data d(t) (nd,). Functions are written for one sample, with
torch operations; a batch of problems shares them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pontryagin.control_set import ControlSet
from pontryagin.data import Data
from pontryagin.errors import NotYetSupported, ProblemError, unknown_name
from pontryagin.functions import Functions, UserCallable, UserFunction, user_function
from pontryagin.horizon import time_span
from pontryagin.parameters import Parameter, Parameters
from pontryagin.trial import infer_control_dim, trial
from pontryagin.values import bounds, common_device, vector

__all__ = ["Data", "Parameter", "Problem"]

Bounds = tuple[Tensor, Tensor]


class Problem:
    """An optimal control problem.

    dynamics(t, x, u) -> (n,); running_cost(t, x, u), terminal_cost(t, x) and initial_cost(x) -> scalar;
    terminal_constraint(t, x) -> (k,) = 0, terminal_inequality(t, x) and path_constraint(t, x, u) -> (k,) <= 0;
    integral_constraint = (integrand(t, x, u) -> (k,), low, high). All may take fewer trailing arguments; theta follows
    where `parameters` are declared, then, in functions of u, d where there are `data`. Arguments with a default are
    left alone.

    initial_state, terminal_state: n numbers, None for a free component.
    horizon: (t0, t1). free_final_time: (guess, low, high), then t0 = 0 unless horizon = (t0, None); a low of None, or
        one not after t0, becomes t0 + (guess - t0) / 1000, a high of None infinity.
    control_bounds, state_bounds, initial_bounds: (low, high), each a number for all components, a vector, or None.
    parameters: name to number, array or Parameter(guess, low, high). data: Data or (K, nd) values.
    maximize: the cost is maximised; objectives are reported in that sense, costates are those of the minimised -J.
    control_dim: the number of controls, where bounds or the functions do not tell.

    Raises ProblemError for every mistake, after trial calls of all functions at t0, the initial state and the middle
    of the control bounds; NotYetSupported for data together with a free final time.
    """

    name: str
    state_dim: int
    control_dim: int
    equality_count: int
    inequality_count: int
    path_count: int
    t0: float
    t1_guess: float
    free_final_time: tuple[float, float, float] | None
    initial_state: Tensor  # (n,) float64, NaN where free
    terminal_state: Tensor | None  # (n,) float64, NaN where free
    control_set: ControlSet
    state_bounds: Bounds | None
    initial_bounds: Bounds | None
    integral_bounds: Bounds | None
    data: Data | None
    maximize: bool
    functions: Functions
    theta: Parameters
    dtype: torch.dtype
    device: torch.device

    def __init__(
        self,
        *,
        dynamics: UserCallable | None = None,
        running_cost: UserCallable | None = None,
        terminal_cost: UserCallable | None = None,
        initial_state: Any = None,
        terminal_state: Any = None,
        terminal_constraint: UserCallable | None = None,
        terminal_inequality: UserCallable | None = None,
        horizon: Any = None,
        free_final_time: Any = None,
        control_bounds: Any = None,
        state_bounds: Any = None,
        path_constraint: UserCallable | None = None,
        integral_constraint: Any = None,
        initial_bounds: Any = None,
        initial_cost: UserCallable | None = None,
        parameters: Mapping[str, Any] | None = None,
        data: Any = None,
        maximize: bool = False,
        control_dim: int | None = None,
        name: str | None = None,
        **unknown: Any,
    ) -> None:
        for word in unknown:
            raise unknown_name("Problem argument", word, Problem.__init__.__kwdefaults__ or ())
        if dynamics is None:
            raise ProblemError("a problem needs dynamics: give a function dynamics(t, x, u) that returns x'")
        if initial_state is None:
            raise ProblemError("a problem needs initial_state: one number, or None where free, for each state")
        if running_cost is terminal_cost is initial_cost is None:
            raise ProblemError(
                "nothing is minimised: give running_cost or terminal_cost"
                + ("; for minimum time, terminal_cost=lambda t, x: t" if free_final_time is not None else "")
            )
        given = {"initial_state": initial_state, "terminal_state": terminal_state, "control_bounds": control_bounds,
                 "state_bounds": state_bounds, "initial_bounds": initial_bounds, "parameters": parameters,
                 "data": data}  # fmt: skip
        self._cached: tuple[int, dict[Any, Any]] = (os.getpid(), {})
        self._set(
            device=common_device(given),
            dtype=initial_state.dtype if isinstance(initial_state, Tensor) and initial_state.dtype == torch.float32
            else torch.float64,
            maximize=_flag("maximize", maximize),
            name=_name(name, dynamics),
        )  # fmt: skip
        t0, t1_guess, free = time_span(horizon, free_final_time)
        self._set(t0=t0, t1_guess=t1_guess, free_final_time=free)
        self._set_states(initial_state, terminal_state, state_bounds, initial_bounds)
        self._set(theta=Parameters(parameters, self.device), data=self._data(data))
        self._set_functions(
            dynamics, running_cost, terminal_cost, initial_cost, terminal_constraint, terminal_inequality,
            path_constraint, integral_constraint,
        )  # fmt: skip
        self._set_controls(control_bounds, control_dim)
        self._set_counts(integral_constraint)

    @property
    def parameters(self) -> dict[str, Parameter | Tensor]:
        """The declared parameters, in order."""
        return self.theta.declared

    @property
    def parameter_values(self) -> Tensor:
        """theta (q,) float64: declared values and guesses, flat."""
        return self.theta.values

    @property
    def parameter_dim(self) -> int:
        """q."""
        return self.theta.size

    @property
    def data_dim(self) -> int:
        """nd."""
        return 0 if self.data is None else self.data.size

    @property
    def beyond_first_order(self) -> list[str]:
        """The parts of the problem that the first-order methods do not treat."""
        free = self.initial_state.isnan().nonzero().flatten().tolist()
        optimised = [name for name, value in self.parameters.items() if isinstance(value, Parameter)]
        wishes = {
            "state_bounds": self.state_bounds is not None,
            "path_constraint": self.functions.path_constraint is not None,
            "integral_constraint": self.functions.integrand is not None,
            "initial_cost": self.functions.user_initial_cost is not None,
            f"free components of initial_state ({', '.join(map(str, free))})": bool(free),
            f"optimised parameters ({', '.join(optimised)})": bool(optimised),
        }
        return [wish for wish, is_present in wishes.items() if is_present]

    def require_solvable_by_first_order(self) -> None:
        """Raise NotYetSupported where the problem has a part that the first-order methods do not treat."""
        present = self.beyond_first_order
        if present:
            raise NotYetSupported(
                f"{self.name} has {', '.join(present)}, which the first-order methods cannot treat; "
                'use method="newton". Sweeps of this problem work in any case'
            )

    # -- construction, in the order of __init__ --------------------------------------------------------------------

    def _set_states(self, initial: Any, terminal: Any, state_bounds: Any, initial_bounds: Any) -> None:
        if isinstance(initial, Tensor) and initial.dim() > 1:
            raise ProblemError(
                f"initial_state has shape {tuple(initial.shape)}; a problem has one initial state, "
                "a batch of them goes to solve(problem, initial_state=...)"
            )
        x0 = vector("initial_state", initial, none=math.nan).double().to(self.device)
        n = x0.shape[0]
        self._set(state_dim=n, initial_state=x0, terminal_state=None, state_bounds=None, initial_bounds=None)
        if terminal is not None:
            target = vector("terminal_state", terminal, size=n, of="states", none=math.nan).double().to(self.device)
            self._set(terminal_state=target)
        for name, given in (("state_bounds", state_bounds), ("initial_bounds", initial_bounds)):
            if given is not None:
                low, high = (side.to(self.device) for side in bounds(name, given, n, "states"))
                _require_inside("initial_state", x0, name, low, high)
                if name == "state_bounds" and self.terminal_state is not None:
                    _require_inside("terminal_state", self.terminal_state, name, low, high)
                self._set(**{name: (low, high)})

    def _data(self, given: Any) -> Data | None:
        if given is None:
            return None
        if self.free_final_time is not None:
            raise NotYetSupported("data together with a free final time cannot be treated yet; fix the horizon")
        data = given if isinstance(given, Data) else Data(given)
        return data.over(self.t0, self.t1_guess)

    def _set_functions(
        self, dynamics: Any, running: Any, terminal: Any, initial: Any, equality: Any, inequality: Any, path: Any,
        integral: Any,
    ) -> None:  # fmt: skip
        integrand = None
        if integral is not None:
            if not isinstance(integral, (list, tuple)) or len(integral) != 3:
                raise ProblemError("integral_constraint is no triple; give (integrand, low, high)")
            integrand = integral[0]
        theta = ["theta"] if self.parameter_dim else []
        along = ["t", "x", "u", *theta, *(["d"] if self.data is not None else [])]
        all_along, all_terminal = ["t", "x", "u", "theta", "d"], ["t", "x", "theta"]
        n, cost = (self.state_dim,), self.maximize

        def on_path(name: str, function: Any, shape: tuple[int, ...] | None, negated: bool = False) -> Any:
            return user_function(name, function, along, all_along, shape, negated)

        def at_end(name: str, function: Any, shape: tuple[int, ...] | None, negated: bool = False) -> Any:
            return user_function(name, function, ["t", "x", *theta], all_terminal, shape, negated)

        target = [] if self.terminal_state is None else self.terminal_state.tolist()
        functions = Functions(
            user_dynamics=on_path("dynamics", dynamics, n),
            user_running_cost=on_path("running_cost", running, (), cost),
            user_terminal_cost=at_end("terminal_cost", terminal, (), cost),
            user_initial_cost=user_function("initial_cost", initial, ["x", *theta], ["x", "theta"], (), cost),
            user_terminal_constraint=at_end("terminal_constraint", equality, None),
            user_terminal_inequality=at_end("terminal_inequality", inequality, None),
            path_constraint=on_path("path_constraint", path, None),
            integrand=on_path("integral_constraint", integrand, None),
            targets=tuple((j, value) for j, value in enumerate(target) if not math.isnan(value)),
        )
        self._set(functions=functions)

    def _set_controls(self, control_bounds: Any, control_dim: Any) -> None:
        """Bounds and number of controls: said, told by the length of the bounds, or found by trial calls."""
        if control_dim is not None and (isinstance(control_dim, bool) or not isinstance(control_dim, int)):
            raise ProblemError(f"control_dim is {control_dim!r}; give a whole number from 1")
        if control_dim is not None and control_dim < 1:
            raise ProblemError(f"control_dim is {control_dim}; a problem has at least one control")
        box = (None, None) if control_bounds is None else control_bounds
        low, high = (side.to(self.device) for side in bounds("control_bounds", box, control_dim, "controls"))
        m = control_dim
        if m is None and low.dim():
            m = low.shape[0]
        if m is None:
            middle = float(ControlSet(low.reshape(1), high.reshape(1)).middle())
            m = infer_control_dim(self._functions_of_control, lambda size: self._trial_arguments([middle] * size))
        self._set(control_dim=m, control_set=ControlSet(low.expand(m).clone(), high.expand(m).clone()))

    def _set_counts(self, integral: Any) -> None:
        """Trial calls of all functions; they also tell how many constraints there are."""
        functions, along = self.functions, self._trial_arguments(self.control_set.middle().tolist())
        t, x, _, theta, _ = along
        end = torch.full_like(t, self.t1_guess)
        sizes = {function.name: trial(function, along).numel() for function in self._functions_of_control}
        for terminal in (
            functions.user_terminal_cost, functions.user_terminal_constraint, functions.user_terminal_inequality
        ):  # fmt: skip
            if terminal is not None:
                sizes[terminal.name] = trial(terminal, (end, x, theta)).numel()
        if functions.user_initial_cost is not None:
            trial(functions.user_initial_cost, (x, theta))
        integral_bounds = None
        if integral is not None:
            integral_bounds = bounds(
                "integral_constraint bounds", integral[1:], sizes["integral_constraint"], "integrals"
            )
        self._set(
            equality_count=len(functions.targets) + sizes.get("terminal_constraint", 0),
            inequality_count=sizes.get("terminal_inequality", 0),
            path_count=sizes.get("path_constraint", 0),
            integral_bounds=integral_bounds,
        )

    @property
    def _functions_of_control(self) -> list[UserFunction]:
        functions = self.functions
        candidates = (
            functions.user_dynamics,
            functions.user_running_cost,
            functions.path_constraint,
            functions.integrand,
        )
        return [function for function in candidates if function is not None]

    def _trial_arguments(self, control: list[float]) -> tuple[Tensor, ...]:
        """(t, x, u, theta, d) at the start; a free component of x lies in the middle of its bounds, or at zero."""
        x = self.initial_state
        if bool(x.isnan().any()):
            box = self.initial_bounds or self.state_bounds
            x = torch.where(x.isnan(), ControlSet(*box).middle() if box else 0.0, x)
        u = x.new_tensor(control)
        d = x.new_empty(0) if self.data is None else self.data.at(x.new_tensor([self.t0]))[..., 0, :]
        d = d[0] if d.dim() == 2 else d
        return tuple(a.to(self.device, self.dtype) for a in (x.new_tensor(self.t0), x, u, self.theta.values, d))

    # -- immutable, copied and pickled without what is cached -------------------------------------------------------

    @property
    def _cache(self) -> dict[Any, Any]:
        """What is derived from this problem and kept; a forked process starts with nothing."""
        process, cache = self._cached
        if process != os.getpid():
            cache = {}
            object.__setattr__(self, "_cached", (os.getpid(), cache))
        return cache

    def _set(self, **fields: Any) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_cached":
            object.__setattr__(self, name, value)
            return
        raise AttributeError(f"a Problem cannot be changed ({name}); build another one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Problem cannot be changed ({name}); build another one")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_cached"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._set(**state, _cached=(os.getpid(), {}))

    def __repr__(self) -> str:
        end = f"{self.t1_guess:g}" if self.free_final_time is None else "free"
        counts = (
            (self.state_dim, "state", "states"),
            (self.control_dim, "control", "controls"),
            (self.parameter_dim, "parameter", "parameters"),
            (self.equality_count, "terminal equality", "terminal equalities"),
            (self.inequality_count, "terminal inequality", "terminal inequalities"),
        )
        parts = [f"{count} {one if count == 1 else many}" for count, one, many in counts if count]
        return f"Problem {self.name!r}: {', '.join(parts)}, horizon {self.t0:g} to {end}"


def _flag(what: str, given: Any) -> bool:
    if not isinstance(given, bool):
        raise ProblemError(f"{what} is {given!r}; give True or False")
    return given


def _name(name: Any, dynamics: UserCallable) -> str:
    if name is None:
        name = getattr(dynamics, "__name__", "problem")
        return "problem" if name in ("<lambda>", "dynamics") else str(name)
    if not isinstance(name, str) or not name:
        raise ProblemError(f"name is {name!r}; give a word")
    return name


def _require_inside(what: str, value: Tensor, name: str, low: Tensor, high: Tensor) -> None:
    outside = (value < low) | (value > high)  # NaN, a free component, is never outside
    if bool(outside.any()):
        i = int(outside.nonzero()[0])
        raise ProblemError(
            f"{what}[{i}] = {float(value[i]):g} lies outside its {name}, {float(low[i]):g} to {float(high[i]):g}"
        )
