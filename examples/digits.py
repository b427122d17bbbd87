"""Handwritten digits by three kinds of net: real data, 1797 images of 8 x 8 pixels from scikit-learn.

Five folds and three seeds, the same for every net, so that their errors are compared training by training. Without
arguments one fold and few epochs; `--full` runs all (minutes), `--json PATH` writes the figures, and `--tune` compares
learning rates on images held out of the training sets, with seeds that `--full` does not use.
"""

import argparse
import json
from pathlib import Path

import torch
from image_nets import KINDS, Run, compared, measured
from numpy import ndarray
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, train_test_split

digits = load_digits()
x, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)


def folds(seed: int) -> list[tuple[ndarray, ndarray]]:
    """Five times the images to train with and those to test with."""
    return list(StratifiedKFold(5, shuffle=True, random_state=seed).split(x, y))


def run(kind: str, train: ndarray, test: ndarray, seed: int, epochs: int, rate: float | None = None) -> Run:
    return measured(kind, (x[train], y[train]), (x[test], y[test]), seed, epochs, rate)


def study(seeds: int, count: int, epochs: int) -> dict[str, list[Run]]:
    cases = [(5 * seed + k, *fold) for seed in range(seeds) for k, fold in enumerate(folds(seed)[:count])]
    return {kind: [run(kind, train, test, seed, epochs) for seed, train, test in cases] for kind in KINDS}


def tune(epochs: int) -> None:
    for kind in KINDS:
        for rate in (1e-3, 3e-3, 1e-2, 3e-2):
            errors = []
            for seed in range(100, 106):
                train, held_out = train_test_split(folds(seed)[0][0], test_size=0.2, random_state=seed)
                errors.append(run(kind, train, held_out, seed, epochs, rate)["error"])
            print(f"{kind:8} learning rate {rate:5g}: {sum(errors) / len(errors):.2f} % wrong of images held out")


arguments = argparse.ArgumentParser()
arguments.add_argument("--full", action="store_true")
arguments.add_argument("--tune", action="store_true")
arguments.add_argument("--json", type=Path)
chosen = arguments.parse_args()
if chosen.tune:
    tune(epochs=30)
else:
    runs = study(3, 5, epochs=30) if chosen.full else study(1, 1, epochs=6)
    more = compared(runs)
    if chosen.json:
        chosen.json.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    assert more["ODE-Net"] <= (0.5 if chosen.full else 3.0)
    assert runs["ODE-Net"][0]["parameters"] <= 0.5 * runs["ResNet"][0]["parameters"]
