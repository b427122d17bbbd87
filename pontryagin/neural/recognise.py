"""Which fields the fused kernels know: multilayer perceptrons written as nn.Sequential."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pontryagin.mlp import MLP


class Sine(nn.Module):
    """sin, component by component: torch.nn has none."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x)


@dataclass(frozen=True)
class Perceptron:
    """A recognised field: its layers, and the names of its parameters in the order W_1, b_1, W_2, ..."""

    mlp: MLP
    names: tuple[str, ...]


def perceptron(field: nn.Module) -> Perceptron | str:
    """The field as a multilayer perceptron, or why it is none.

    Known are nn.Sequential (or one nn.Linear) of nn.Linear and Tanh, ReLU, GELU, SiLU, Softplus, Sine, Identity. Where
    the first layer takes one component more than the last one gives, the last column is the time.
    """
    if type(field) not in (nn.Sequential, nn.Linear):
        return f"the field is a {type(field).__name__}, not an nn.Sequential of nn.Linear and activations"
    layers = (
        [("", field)]
        if isinstance(field, nn.Linear)
        else [(name, layer) for name, layer in field._modules.items() if layer is not None]
    )
    widths: list[int] = []
    activations: list[str] = []
    bias: list[bool] = []
    names: list[str] = []
    fresh = False  # whether the last layer read is a Linear, which an activation may follow
    for name, layer in [("", field), *layers]:
        if hooked(layer):
            return f"layer {name} of the field has hooks" if name else "the field has hooks"
    for name, layer in layers:
        if type(layer) is nn.Linear:
            if widths and layer.in_features != widths[-1]:
                return f"layer {name} takes {layer.in_features} components, the one before gives {widths[-1]}"
            widths = [*(widths or [layer.in_features]), layer.out_features]
            prefix = f"{name}." if name else ""
            names += [f"{prefix}weight"] + [f"{prefix}bias"] * (layer.bias is not None)
            bias.append(layer.bias is not None)
            activations.append("identity")
            fresh = True
        elif type(layer) is nn.Identity:
            continue
        elif (activation := _activation(layer)) is None:
            return f"layer {name} of the field is a {type(layer).__name__}{_detail(layer)}, which has no kernel"
        elif not fresh:
            return f"layer {name} of the field, {type(layer).__name__}, does not follow an nn.Linear"
        else:
            activations[-1] = activation
            fresh = False
    if not widths:
        return "the field has no nn.Linear"
    if widths[0] not in (widths[-1], widths[-1] + 1):
        return f"the field takes {widths[0]} components and gives {widths[-1]}"
    distinct = {name for name, _ in field.named_parameters()}
    if set(names) != distinct:
        return "layers of the field share parameters"
    timed = widths[0] == widths[-1] + 1
    widths[0] = widths[-1]  # of the state; the time is an input of its own
    return Perceptron(MLP(tuple(widths), tuple(activations), tuple(bias), timed), tuple(names))


def reads_time(field: nn.Module) -> bool:
    """Whether an nn.Sequential (or nn.Linear) takes one component more than it gives: the time, in the last column."""
    linear = (
        [m for m in field.modules() if isinstance(m, nn.Linear)] if isinstance(field, nn.Sequential | nn.Linear) else []
    )
    return bool(linear) and linear[0].in_features == linear[-1].out_features + 1


def hooked(layer: nn.Module) -> bool:
    """Whether functions are called around the layer, which kernels would not call."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks)


def _activation(layer: nn.Module) -> str | None:
    kind = type(layer)
    if kind is nn.GELU:
        return {"none": "gelu", "tanh": "gelu_tanh"}.get(str(layer.approximate))
    if kind is nn.Softplus:
        return "softplus" if layer.beta == 1 and layer.threshold == 20 else None
    return {nn.Tanh: "tanh", nn.ReLU: "relu", nn.SiLU: "silu", Sine: "sin"}.get(kind)


def _detail(layer: nn.Module) -> str:
    described = layer.extra_repr()
    return f"({described})" if described else ""
