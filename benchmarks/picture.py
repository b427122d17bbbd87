"""Pictures of results: who takes how long, and how the cost grows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.odenet.measure import MS
from benchmarks.odenet.ours import AUTOGRAD, OBJECTIVE
from benchmarks.ours import BACKEND, SWEEP, VERB
from benchmarks.report import PER_STEP, RESULTS, Report, Row

# Okabe and Ito's colours, told apart by people with any kind of colour vision.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#999999", "#000000",
)  # fmt: skip


def draw_native(report: Report) -> Path:
    """Bars of every contender for one problem and for many; the cost against B and against N."""
    figure: Any = Figure(figsize=(12.5, 9.5), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.25, 1.0))
    for axes, batch in zip(upper.subplots(1, 2), (1, 1024), strict=True):
        _bars(axes, [r for r in report.rows if r.unit == PER_STEP and r.batch == batch], batch)
    left, right = lower.subplots(1, 2)
    _growth(left, report, "cost against the batch", "batch", "problems in the batch, of 100 steps")
    _growth(right, report, "cost against the steps", "steps", "steps, of 64 problems")
    return _saved(figure, report)


def _bars(axes: Any, rows: Sequence[Row], batch: int) -> None:
    """A block for each group, fastest first."""
    place, ticks, names = 0.0, [], []
    for group in dict.fromkeys(r.group for r in rows):
        axes.text(
            1.0,
            place,
            group.partition(", ")[2],
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            style="italic",
        )
        place += 0.9
        for row in sorted((r for r in rows if r.group == group), key=lambda r: r.value):
            axes.barh(place, row.value, color=_colour(row.what), height=0.75)
            text = f"{row.value:,.3g}" if row.value < 1000 else f"{row.value:,.0f}"
            axes.text(row.value * 1.15, place, text, va="center", fontsize=9)
            ticks.append(place)
            names.append(row.what)
            place += 1.0
        place += 0.3
    axes.set_yticks(ticks, names, fontsize=9)
    axes.set_ylim(place - 0.3, -0.6)
    axes.set_xscale("log")
    axes.set_xlim(min(r.value for r in rows) / 3, max(r.value for r in rows) * 12)
    axes.set_xlabel("nanoseconds per problem and step")
    axes.set_title(f"J and dJ/du of {'one cart-pole' if batch == 1 else f'{batch} cart-poles'}")
    _clean(axes)


def _growth(axes: Any, report: Report, start: str, key: str, label: str) -> None:
    rows = [r for r in report.rows if r.group.startswith(start)]
    points = [r for r in rows if r.batch]
    slope = next(r.value for r in rows if not r.batch)
    x, y = [getattr(r, key) for r in points], [r.value / 1000 for r in points]
    axes.loglog(x, y, "o-", color=BLUE, label=f"{VERB}; slope {slope:.2f} from 64 problems on")
    first = next(i for i, r in enumerate(points) if (r.batch or 0) >= 64)
    line = [(a, y[first] * a / x[first]) for a in x[first:]]
    axes.loglog(*zip(*line, strict=True), "--", color=BLACK, lw=1, label="slope 1")
    axes.set_xticks(x[::2] if len(x) > 8 else x, x[::2] if len(x) > 8 else x, minor=False)
    axes.minorticks_off()
    axes.set_xlabel(label)
    axes.set_ylabel("milliseconds a call")
    axes.set_title(start)
    axes.legend(frameon=False, loc="upper left")
    _clean(axes)


def _colour(name: str) -> str:
    if name in (VERB, SWEEP, BACKEND):
        return BLUE
    return ORANGE if name.startswith("hand-written") else GREY


#: Contenders in the picture of the peers: start of the name, colour, marker.
LINES = (
    (VERB, BLUE, "o"),
    (SWEEP, BLUE, "s"),
    ("hand-written", ORANGE, "D"),
    ("CasADi, generated C, looped", GREEN, "^"),
    ("CasADi, virtual machine", GREEN, "v"),
    ("JAX", RED, "o"),
    ("diffrax", RED, "s"),
    ("torch.compile", PURPLE, "o"),
    ("eager", BLACK, "o"),
    ("torchdiffeq, rk4", SKY, "^"),
    ("torchdiffeq, odeint_adjoint", SKY, "v"),
)


def draw_peers(report: Report) -> Path:
    """A panel for each problem: every contender against the size of the batch, float64 on one thread."""
    groups = [g for g in dict.fromkeys(r.group for r in report.rows) if g.endswith("float64, 1 thread")]
    figure: Any = Figure(figsize=(13.5, 8.0), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True, sharey=True).flat
    for axes, group in zip(panels, groups, strict=False):
        for start, colour, marker in LINES:
            points = [r for r in report.rows if r.group == group and r.what.startswith(start) and r.batch]
            if points:
                axes.loglog(
                    [p.batch for p in points],
                    [p.value for p in points],
                    marker=marker,
                    markersize=5,
                    color=colour,
                    ls="--" if marker in "sv" else "-",
                    label=points[0].what,
                )
        sizes = sorted({r.batch for r in report.rows if r.batch})
        axes.set_xticks(sizes, sizes)
        axes.minorticks_off()
        axes.set_title(group.split(",")[0])
        axes.tick_params(labelbottom=True)
        _clean(axes)
    figure.supxlabel("problems in the batch")
    figure.supylabel("nanoseconds per problem and step, float64, 1 thread")
    handles = {text: line for axes in figure.axes for line, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    last = figure.axes[-1]
    last.axis("off")
    last.legend(handles.values(), handles.keys(), frameon=False, loc="center", fontsize=9)
    return _saved(figure, report)


#: The same for ODE-Nets.
NET_LINES = (
    (OBJECTIVE, BLUE, "o"),
    (AUTOGRAD, BLUE, "s"),
    ("torch.compile", PURPLE, "o"),
    ("eager", BLACK, "o"),
    ("JAX", RED, "o"),
)


def draw_odenet(report: Report) -> Path:
    """Time of a gradient against the width of state and hidden layer, and how many times faster ours is."""
    rows = [r for r in report.rows if r.width]
    figure: Any = Figure(figsize=(10.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for start, colour, marker in NET_LINES:
        points = [r for r in rows if r.unit == MS and r.what.startswith(start)]
        x, y = [r.width for r in points], [r.value for r in points]
        left.loglog(x, y, marker=marker, ls="--" if marker == "s" else "-", color=colour, label=points[0].what)
    left.set_ylabel("milliseconds a gradient")
    left.set_title(rows[0].group.partition(", ")[2])
    left.legend(frameon=False, loc="upper left", fontsize=9)
    lead = [r for r in rows if r.unit == "times"]
    right.semilogx([r.width for r in lead], [r.value for r in lead], "o-", color=BLUE)
    right.axhline(1.0, color=BLACK, lw=1, ls="--")
    right.set_ylim(bottom=0)
    right.set_ylabel("times")
    right.set_title(lead[0].what)
    for axes in (left, right):
        axes.set_xticks([r.width for r in lead], [r.width for r in lead])
        axes.minorticks_off()
        axes.set_xlabel("width D = H of state and hidden layer")
        _clean(axes)
    return _saved(figure, report)


def _clean(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(which="major", color="0.92")
    axes.set_axisbelow(True)


def _saved(figure: Any, report: Report) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{report.name}.png"
    figure.savefig(path, dpi=120)
    return path
