"""What a solution shows of what a search has found: its tensors, each made when somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pontryagin.control import Control, Kind, rows_at_nodes
from pontryagin.found import Found
from pontryagin.instances import Instances
from pontryagin.newton_answer import NewtonAnswer
from pontryagin.refine import Search
from pontryagin.sweep import SweepBackend

#: Fields that a result has under the same name, and the path.
OF_RESULT = ("control", "multipliers", "penalties", "residual", "violation")
OF_PATH = ("state", "costate", "path_multipliers", "state_multipliers")


@dataclass(frozen=True)
class Swept:
    """One last sweep with the multipliers that a first-order method found: what it does not know without one."""

    objective: Tensor  # (B,) minimised
    state: Tensor
    costate: Tensor
    control_derivative: Tensor  # (B, K, m) of the Lagrangian, the plain one
    path_multipliers: Tensor
    state_multipliers: Tensor
    worst: list[str]

    @classmethod
    def of(cls, search: Search, found: Found) -> Swept:
        result = found.result
        control = Control(result.control, search.options.kind, found.grid)
        arguments = search.instances.arguments(control, result.final_time, result.multipliers)
        outputs = {"objective", "state", "costate", "control_derivative"}
        swept = search.backend(found.grid).evaluate(arguments, outputs)
        assert swept.objective is not None and swept.state is not None and swept.costate is not None
        assert swept.control_derivative is not None
        none, batch = torch.zeros_like(swept.state), search.instances.batch
        return cls(
            swept.objective, swept.state, swept.costate, swept.control_derivative, none[..., :0], none, [""] * batch
        )


@dataclass(frozen=True)
class Shown:
    """Fields of an Answer, of B problems."""

    instances: Instances
    found: Found
    path: NewtonAnswer | Swept
    kind: Kind
    backend: Callable[[], SweepBackend]

    @classmethod
    def of(cls, search: Search, found: Found) -> Shown:
        path = found.result if isinstance(found.result, NewtonAnswer) else Swept.of(search, found)
        return cls(search.instances, found, path, search.options.kind, search.backend_on(found.grid))

    def field(self, name: str) -> Any:
        """As the caller is to have it: without the batch axis, where the problem was given without one."""
        if name == "history":
            return list(self.found.history)
        if name == "last_point":
            point = self.path.last_point if isinstance(self.path, NewtonAnswer) else None
            return point and tuple(value[0] if self.instances.single else value for value in point)
        source = self.found.result if name in OF_RESULT else self.path if name in OF_PATH else self
        values: Tensor = getattr(source, name)
        values = values[0] if self.instances.single else values
        return Control(values, self.kind, self.found.grid) if name == "control" else values

    @property
    def iterations(self) -> Tensor:
        return torch.from_numpy(self.found.iterations).to(self.instances.device)

    @cached_property
    def time(self) -> Tensor:
        return self.found.grid.times(self.instances.problem.t0, self.found.result.final_time)

    @property
    def objective(self) -> Tensor:
        return -self.path.objective if self.instances.problem.maximize else self.path.objective

    @property
    def parameters(self) -> Tensor:
        return self.path.parameters if isinstance(self.path, NewtonAnswer) else self.instances.parameters

    @property
    def control_gradient(self) -> Tensor:
        """The derivative for each unit of time."""
        duration = self.found.result.final_time - self.instances.problem.t0
        mass = self.found.grid.basis_mass(self.kind).to(self.path.state)[:, None]
        return self.path.control_derivative / (mass * duration[:, None, None])

    @property
    def hamiltonian(self) -> Tensor:
        """At the nodes."""
        path, result, steps = self.path, self.found.result, self.found.grid.steps
        control = Control(result.control, self.kind, self.found.grid)
        data = self.instances.data_on(self.found.grid)
        hamiltonian, _, _ = self.backend().hamiltonian(
            self.time.to(path.state).flatten(),
            path.state.flatten(0, 1),
            path.costate.flatten(0, 1),
            rows_at_nodes(control.values, steps + 1).flatten(0, 1),
            self.parameters.repeat_interleave(steps + 1, 0),
            None if data is None else rows_at_nodes(data, steps + 1).expand(self.instances.batch, -1, -1).flatten(0, 1),
        )
        return hamiltonian.reshape(self.instances.batch, -1)
