"""Draws the pictures beside this file: `python examples/pictures/draw.py [NAME ...]` runs examples and draws them.

The picture of `digits` shows benchmarks/results/digits.json, which `python examples/digits.py --full --json` writes.
"""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import torch
from matplotlib import pyplot

HERE = Path(__file__).resolve().parent
DIGITS = HERE.parents[1] / "benchmarks" / "results" / "digits.json"
BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"


def panels(count: int, **options: Any) -> tuple[Any, Any]:
    return pyplot.subplots(1, count, figsize=(3.4 * count, 3.8 if count == 1 else 3.2), layout="constrained", **options)


def resnet_is_euler(found: dict[str, Any]) -> Any:
    figure, axes = panels(1)
    costate = found["extremal"].costate.norm(dim=2)
    errors = torch.stack([feature.grad for feature in found["features"]], 1).norm(dim=2)
    for b in range(8):
        axes.plot(costate[b], color=BLUE, linewidth=1, label="costate of the ODE-Net" if b == 0 else None)
        axes.plot(errors[b], ".", color=RED, label="error, back-propagated in the ResNet" if b == 0 else None)
    axes.set(xlabel="layer = time", ylabel="|p|", ylim=0)
    figure.legend(loc="outside upper center", fontsize=8)
    return figure


def augmented(found: dict[str, Any]) -> Any:
    figure = pyplot.figure(figsize=(12, 3.2), layout="constrained")
    for place, (net, title) in enumerate(zip(found["swap"], ("plain", "augmented"), strict=True), 1):
        way = net.trajectory(found["ends"])
        axes = figure.add_subplot(1, 4, place)
        for b, colour in enumerate((BLUE, RED)):
            axes.plot(way.time, way.state[b, :, 0], color=colour)
            axes.plot(1, -found["ends"][b, 0], "o", color=colour, fillstyle="none")
        axes.set(xlabel="t", ylabel="first component", title=f"{title}: -1 to 1, 1 to -1")
    sets = ((found["disc"], BLUE), (found["ring"], RED))
    for place, (model, title) in enumerate(zip(found["rings"], ("plain", "augmented"), strict=True), 3):
        axes = figure.add_subplot(1, 4, place, projection="3d" if place == 4 else None)
        for points, colour in sets:
            axes.plot(*model[0](points).detach().T, ".", color=colour, markersize=2)
        axes.set_title(f"{title}: disc and ring at t1")
    return figure


def spiral(found: dict[str, Any]) -> Any:
    figure, axes = panels(1)
    samples, kept_back = found["samples"], slice(found["HIDDEN_FROM"], found["HIDDEN_TO"] + 1)
    whole = found["walk"](found["net"], samples[0], len(samples) - 1)
    axes.plot(*samples.T, ".", color=GREY, markersize=4, label="samples")
    axes.plot(*samples[kept_back].T, "o", color=RED, fillstyle="none", markersize=4, label="kept back")
    between = found["net"].trajectory(whole[:-1]).state[:, :-1].flatten(0, 1)
    axes.plot(*between.T, color=BLUE, linewidth=1, label="the net, from the first sample on")
    axes.set_aspect("equal")
    figure.legend(loc="outside upper center", fontsize=8)
    return figure


def shaped_path(found: dict[str, Any]) -> Any:
    figure, axes = panels(4)
    titles = ("free", "velocity costs", "free", "the disc costs")
    for axis, name, title in zip(axes, ("free", "straight", "through", "around"), titles, strict=True):
        way = found[name]
        for b in range(0, len(way), 4):
            axis.plot(*way[b].T, color=BLUE, linewidth=0.7)
        axis.plot(*way[:, 0].T, ".", color=GREY, markersize=3)
        axis.plot(*way[:, -1].T, ".", color=RED, markersize=3)
        if name in ("through", "around"):
            axis.add_patch(pyplot.Circle((0, 0), 0.5, color=GREY, alpha=0.4))
            axis.set_ylim(-1.7, 0.9)
        axis.set_title(title)
        axis.set_aspect("equal")
    return figure


def digits() -> Any:
    figure, axes = panels(2)
    runs = json.loads(DIGITS.read_text(encoding="utf-8"))
    for place, (kind, colour) in enumerate(zip(runs, (GREY, GREEN, BLUE), strict=True)):
        errors = torch.tensor([run["error"] for run in runs[kind]])
        axes[0].plot(place + torch.linspace(-0.2, 0.2, len(errors)), errors, ".", color=colour)
        axes[0].hlines(errors.mean(), place - 0.3, place + 0.3, color=colour)
        axes[1].bar(place, runs[kind][0]["parameters"], color=colour)
    for axis, title in zip(axes, ("test error, %", "parameters"), strict=True):
        axis.set_xticks(range(len(runs)), list(runs))
        axis.set_title(title)
        axis.set_ylim(0)
    return figure


DRAWN = {"resnet_is_euler": resnet_is_euler, "augmented": augmented, "spiral": spiral, "shaped_path": shaped_path}

for name in sys.argv[1:] or [*DRAWN, "digits"]:
    figure = digits() if name == "digits" else DRAWN[name](runpy.run_path(str(HERE.parent / f"{name}.py")))
    figure.savefig(HERE / f"{name}.png", dpi=90)
