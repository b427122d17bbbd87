"""Solutions in .npz files of plain arrays: no pickle, so that a file cannot run code and outlives the classes.

Tensors are arrays under their own names; the rest is one JSON text under "about". Functions of the problem are not
stored; slopes at the nodes are, so that functions of time work without them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from os import PathLike
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from pontryagin.answer import TENSORS, Answer
from pontryagin.control import Control
from pontryagin.control_set import ControlSet
from pontryagin.data import Data
from pontryagin.errors import ProblemError
from pontryagin.optim.newton.result import NewtonInfo
from pontryagin.optim.result import IterationInfo
from pontryagin.problem import Problem
from pontryagin.records import Level
from pontryagin.status import Status
from pontryagin.time_grid import TimeGrid

FORMAT = 2

PLAIN = (
    "name",
    "maximize",
    "method",
    "scheme",
    "backend",
    "backend_reason",
    "accuracy",
    "timings",
    "worst",
    "reference",
)


def save(solution: Answer, path: str | PathLike[str]) -> None:
    """Write the file; numpy adds .npz where the name has no such ending."""
    tensors = {name: getattr(solution, name) for name in TENSORS}
    tensors |= {
        "control": solution.control.values,
        "nodes": solution.control.grid.nodes,
        "control_low": solution.control_set.low,
        "control_high": solution.control_set.high,
        "state_slope": solution.slopes[0],
        "costate_slope": solution.slopes[1],
    }
    about: dict[str, Any] = {name: getattr(solution, name) for name in PLAIN}
    status = solution.status
    about |= {
        "format": FORMAT,
        "control_kind": solution.control.kind,
        "status": status.name if isinstance(status, Status) else [one.name for one in status],
        "history": [asdict(row) for row in solution.history],
        "levels": [asdict(level) for level in solution.levels],
    }
    if solution.data is not None:
        tensors |= {"data": solution.data.values, "data_time": solution.data.time}
        about["data_kind"] = solution.data.kind
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    np.savez_compressed(path, about=np.array(json.dumps(about)), **arrays)


def load(path: str | PathLike[str], problem: Problem | None) -> dict[str, Any]:
    """The fields of the Solution in the file. ProblemError where it is none, or where the problem is another one."""
    arrays, about = _read(path)
    status = about["status"]
    values: dict[str, Any] = {name: arrays[name] for name in TENSORS}
    values |= {name: about[name] for name in PLAIN}
    values |= {
        "problem": problem,
        "control_set": ControlSet(arrays["control_low"], arrays["control_high"]),
        "control": Control(arrays["control"], about["control_kind"], TimeGrid(arrays["nodes"])),
        "data": Data(arrays["data"], arrays["data_time"], about["data_kind"]) if "data" in arrays else None,
        "status": Status[status] if isinstance(status, str) else [Status[one] for one in status],
        "history": [_record(NewtonInfo if "barrier" in row else IterationInfo, row) for row in about["history"]],
        "last_point": None,
        "levels": [_record(Level, level) for level in about["levels"]],
        "stored_slopes": (arrays["state_slope"], arrays["costate_slope"]),
    }
    if problem is not None:
        found = (values["state"].shape[-1], values["control"].shape[-1], values["parameters"].shape[-1])
        wanted = (problem.state_dim, problem.control_dim, problem.parameter_dim)
        if found != wanted:
            raise ProblemError(
                f"{path} holds a solution with {found[0]} states, {found[1]} controls and {found[2]} parameters; "
                f"{problem.name} has {wanted[0]}, {wanted[1]} and {wanted[2]}: give the problem that was solved"
            )
    return values


def _read(path: str | PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            arrays = {name: torch.from_numpy(file[name]) for name in file.files if name != "about"}
    except FileNotFoundError as error:
        raise ProblemError(f"there is no file {path}; give the path that save() wrote, with its .npz") from error
    except (BadZipFile, ValueError, KeyError, EOFError) as error:
        raise ProblemError(f"{path} is no solution ({error}); give a file written by Solution.save") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ProblemError(f"{path} has format {about.get('format')!r}, this version reads {FORMAT}; solve again")
    return arrays, about


def _record(kind: Any, row: dict[str, Any]) -> Any:
    """A record from a file: fields that this version does not know are left out."""
    known = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in row.items() if name in known})
