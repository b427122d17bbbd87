"""The same nets as in digits.py on MNIST, 70000 images of 28 x 28 pixels, which torchvision downloads to `--data`."""

import argparse

import torch
from image_nets import KINDS, Images, compared, measured

try:
    from torchvision.datasets import MNIST
except ImportError as error:
    raise SystemExit("mnist.py needs torchvision, which loads the images: pip install torchvision") from error

arguments = argparse.ArgumentParser()
arguments.add_argument("--data", default="data", help="folder of the images")
arguments.add_argument("--epochs", type=int, default=10)
arguments.add_argument("--seeds", type=int, default=3)
chosen = arguments.parse_args()


def images(train: bool) -> Images:
    """Pixels (B, 784) from 0 to 1, classes (B,)."""
    loaded = MNIST(chosen.data, train=train, download=True)
    return loaded.data.flatten(1).to(torch.float32) / 255, loaded.targets


train, test = images(True), images(False)
runs = {kind: [measured(kind, train, test, seed, chosen.epochs) for seed in range(chosen.seeds)] for kind in KINDS}
more = compared(runs)
assert more["ODE-Net"] <= 0.5
