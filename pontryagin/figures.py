"""What all pictures share: matplotlib, asked for when one is drawn, colours, and the file. Needs the extra `plot`."""

from __future__ import annotations

from os import PathLike
from typing import Any

from pontryagin.errors import BackendError, ProblemError

#: Colours that stay apart in print and for colour-blind readers (Okabe & Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def plotter() -> Any:
    """matplotlib.pyplot. Raises BackendError where matplotlib is not installed."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise BackendError("plots need matplotlib: pip install 'pontryagin[plot]'") from error
    return pyplot


def finished(figure: Any, path: str | PathLike[str] | None) -> Any:
    """The figure; written and closed where a path is given. Raises ProblemError where it cannot be written."""
    if path is not None:
        try:
            figure.savefig(path, dpi=150)
        except (OSError, ValueError) as error:
            raise ProblemError(f"the picture cannot be written to {path}: {error}") from error
        finally:
            plotter().close(figure)
    return figure
