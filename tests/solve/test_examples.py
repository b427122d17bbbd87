"""Every example runs, and asserts its own result."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "examples"
SHARED = {"image_nets"}  # imported by others
EXAMPLES = [path for path in sorted(FOLDER.glob("*.py")) if path.stem not in SHARED]


@pytest.fixture(autouse=True)
def _as_a_script(monkeypatch):
    """Without arguments, next to the files that examples share."""
    monkeypatch.setattr(sys, "argv", ["example"])
    monkeypatch.syspath_prepend(FOLDER)


def run(path):
    return runpy.run_path(str(path), run_name="__main__")


def test_there_are_examples():
    assert len(EXAMPLES) >= 10


@pytest.mark.parametrize("path", [p for p in EXAMPLES if p.stem != "mnist"], ids=lambda path: path.stem)
def test_example_runs(path, capsys):
    run(path)
    assert capsys.readouterr().out


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60 and "assert " in text


def test_mnist_without_torchvision_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(SystemExit, match="pip install torchvision"):
        run(FOLDER / "mnist.py")


def test_mnist_runs_on_images_of_its_kind(monkeypatch, capsys):
    """torchvision is no dependency: here it is a stand-in that answers images of ten patterns with noise."""
    patterns = torch.randint(0, 256, (10, 28, 28), generator=torch.Generator().manual_seed(0))

    def load(root, train, download):
        random = torch.Generator().manual_seed(int(train))
        targets = torch.arange(640) % 10
        noise = torch.randint(0, 256, (640, 28, 28), generator=random)
        return SimpleNamespace(data=((patterns[targets] + noise) // 2).to(torch.uint8), targets=targets)

    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torchvision.datasets", SimpleNamespace(MNIST=load))
    monkeypatch.setattr(sys, "argv", ["mnist", "--seeds", "1", "--epochs", "4"])
    run(FOLDER / "mnist.py")
    assert "ODE-Net" in capsys.readouterr().out
