"""Weights in .npz files of plain arrays: no pickle, so that a file cannot run code.

Each tensor of the state_dict is an array "state.NAME"; the rest is one JSON text under "about".
"""

from __future__ import annotations

import json
import os
import zlib
from os import PathLike
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn

from pontryagin.errors import ProblemError

FORMAT = 1
PREFIX = "state."


def with_ending(path: str | PathLike[str]) -> str:
    """The name with .npz, as numpy would write it."""
    name = os.fspath(path)
    return name if name.endswith(".npz") else f"{name}.npz"


def save_weights(state: dict[str, Tensor], path: str | PathLike[str]) -> None:
    """Write the file, whole or not at all. Raises ProblemError for what is no tensor, or cannot be written."""
    arrays: dict[str, Any] = {"about": np.array(json.dumps({"format": FORMAT}))}
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ProblemError(f"{name} of the model is a {type(value).__name__}; only tensors are written to .npz")
        value = value.detach().cpu()
        arrays[PREFIX + name] = (value.float() if value.dtype is torch.bfloat16 else value).numpy()
    final = with_ending(path)
    partial = f"{final}.partial"
    try:
        with open(partial, "wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(partial, final)
    except OSError as error:
        raise ProblemError(f"the weights cannot be written to {final}: {error}") from error


def load_weights(model: nn.Module, path: str | PathLike[str]) -> None:
    """Weights and buffers of a checkpoint of `fit` into a model of the same shape, in its type and on its device.

    Raises ProblemError where the file is missing or none, or holds another model; then the model is as it was.
    """
    found = _read(path)
    wanted = model.state_dict()
    missing, other = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    if missing or other:
        parts = [
            f"it {verb} {', '.join(sorted(names))}" for verb, names in (("lacks", missing), ("has", other)) if names
        ]
        raise ProblemError(f"{path} holds the weights of another model: {', '.join(parts)}")
    for name, value in wanted.items():
        if value.shape != found[name].shape:
            raise ProblemError(
                f"{path} holds the weights of another model: {name} is {tuple(found[name].shape)} there and "
                f"{tuple(value.shape)} here"
            )
    model.load_state_dict(found)


def _read(path: str | PathLike[str]) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            state = {
                name.removeprefix(PREFIX): torch.from_numpy(np.asarray(file[name]))
                for name in file.files
                if name.startswith(PREFIX)
            }
    except FileNotFoundError as error:
        raise ProblemError(f"there is no file {path}; give the checkpoint that fit wrote, with its .npz") from error
    except (OSError, BadZipFile, ValueError, KeyError, EOFError, TypeError, zlib.error) as error:
        raise ProblemError(f"{path} holds no weights ({error}); give a checkpoint that fit wrote") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ProblemError(f"{path} has another format than {FORMAT}, which this version reads; train again")
    return state
