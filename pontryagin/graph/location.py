"""Which line of the user's own code is at work: for messages."""

from __future__ import annotations

import linecache
import os
import sys
import traceback
from types import TracebackType

import torch

_NOT_THE_USERS = (os.path.dirname(torch.__file__) + os.sep, os.path.dirname(__file__) + os.sep, "<")


def of_running_code() -> str:
    """', in file.py:12 `source`' of the innermost running line that is neither torch's nor ours, or ''."""
    frame = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith(_NOT_THE_USERS):
            return _sentence(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def of_exception(trace: TracebackType | None) -> str:
    """The same for an exception: the innermost line of the user's code that it passed through."""
    for frame, line in reversed(list(traceback.walk_tb(trace))):
        if not frame.f_code.co_filename.startswith(_NOT_THE_USERS):
            return _sentence(frame.f_code.co_filename, line)
    return ""


def _sentence(filename: str, line: int) -> str:
    source = linecache.getline(filename, line).strip()
    return f", in {filename}:{line}" + (f" `{source}`" if source else "")
