from dataclasses import dataclass


@dataclass(frozen=True)
class MLP:
    widths: tuple
    activations: tuple
    bias: tuple
    time: bool
