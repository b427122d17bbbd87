"""What digits.py and mnist.py share: three kinds of net for images, their training, and what is measured of it.

    ResNet    x_{k+1} = x_k + f_k(x_k)              DEPTH layers, 64 hidden units, weights of their own, plain PyTorch
    RK-Net    x' = f(x, w(t)), DEPTH steps of RK4   64 hidden units, weights of its own for each step
    ODE-Net   x' = f(x, w), DEPTH steps of RK4      128 hidden units, one set of weights

each between the same first and last layer. The two ODE-Nets run their way forward again on the way back.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import pontryagin as pmp

WIDTH, DEPTH, BATCH = 32, 6, 64

Images = tuple[Tensor, Tensor]  # (B, pixels) and their classes (B,)
Run = dict[str, float]  # one training: error, parameters, bytes, seconds


class Residual(nn.Module):
    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        return x + self.f(x)


def field(hidden: int) -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, hidden), nn.ReLU(), nn.Linear(hidden, WIDTH))


KINDS: dict[str, Callable[[], nn.Module]] = {
    "ResNet": lambda: nn.Sequential(*(Residual(field(64)) for _ in range(DEPTH))),
    "RK-Net": lambda: pmp.ODENet(field(64), steps=DEPTH, weights="per_step", gradient="checkpoint"),
    "ODE-Net": lambda: pmp.ODENet(field(128), steps=DEPTH, gradient="checkpoint"),
}
RATES = {"ResNet": 1e-2, "RK-Net": 3e-2, "ODE-Net": 1e-2}  # the best of `python examples/digits.py --tune`


def classifier(kind: str, pixels: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(pixels, WIDTH), KINDS[kind](), nn.Linear(WIDTH, 10))


def train(model: nn.Module, images: Images, epochs: int, rate: float) -> None:
    """Adam with decay, the learning rate up and down once (Smith and Topin 2019); the same for every kind of net."""
    x, y = images
    optimiser = torch.optim.AdamW(model.parameters(), rate, weight_decay=1e-2)
    batches = -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, epochs=epochs, steps_per_epoch=batches)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(BATCH):
            optimiser.zero_grad()
            cross_entropy(model(x[batch]), y[batch]).backward()
            optimiser.step()
            schedule.step()


def held(model: nn.Module, x: Tensor) -> int:
    """Bytes that PyTorch keeps between the way forward and the way back, weights not counted.

    Every tensor that is saved for autograd is seen; what a kernel keeps inside itself, or needs for a moment, is not.
    """
    weights = {w.untyped_storage().data_ptr() for w in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}  # storages are held, lest one's place be taken by another

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(x)
    return sum(storage.nbytes() for place, storage in kept.items() if place not in weights)


def measured(kind: str, images: Images, test: Images, seed: int, epochs: int, rate: float | None = None) -> Run:
    """One training and what it took."""
    x, model = images[0], classifier(kind, images[0].shape[1], seed)
    start = time.perf_counter()
    train(model, images, epochs, RATES[kind] if rate is None else rate)
    seconds = time.perf_counter() - start
    with torch.no_grad():
        wrong = (model(test[0]).argmax(1) != test[1]).double().mean().item()
    parameters = sum(w.numel() for w in model.parameters())
    return {"error": 100 * wrong, "parameters": parameters, "bytes": held(model, x[:BATCH].clone()), "seconds": seconds}


def column(runs: list[Run], name: str) -> Tensor:
    return torch.tensor([run[name] for run in runs], dtype=torch.float64)


def spread(values: Tensor) -> str:
    return f"{values.mean():.2f} ± {values.std(correction=1):.2f}" if len(values) > 1 else f"{values.item():.2f}"


def compared(runs: dict[str, list[Run]]) -> dict[str, float]:
    """A table of means and deviations; answers what each net errs more than the ResNet, training by training."""
    more = {kind: column(rows, "error") - column(runs["ResNet"], "error") for kind, rows in runs.items()}
    print(f"{len(runs['ResNet'])} trainings of each net: mean ± deviation")
    print(f"{'':8}{'test error, %':>16}{'minus ResNet':>16}{'parameters':>12}{'kB held':>9}{'seconds':>15}")
    for kind, rows in runs.items():
        error, seconds = column(rows, "error"), column(rows, "seconds")
        size = f"{rows[0]['parameters']:>12,}{rows[0]['bytes'] / 1e3:>9.0f}"
        print(f"{kind:8}{spread(error):>16}{spread(more[kind]):>16}{size}{spread(seconds):>15}")
    return {kind: differences.mean().item() for kind, differences in more.items()}
