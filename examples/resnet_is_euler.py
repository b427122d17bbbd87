"""A residual network is an ODE-Net: Euler steps of length one, with weights per step, give the same numbers.

Its back-propagated errors are the costates p of Pontryagin's principle, its derivatives in the weights of layer k are
what p f_w is there.
"""

import torch
from torch import nn

import pontryagin as pmp

LAYERS, WIDTH, HIDDEN = 8, 4, 16
torch.manual_seed(0)
x, target = torch.randn(2, 32, WIDTH, dtype=torch.float64)


def squared_error(output: torch.Tensor) -> torch.Tensor:
    return (output - target).square().sum(1)


# A plain residual network, x_{k+1} = x_k + f_k(x_k), and its back-propagation
blocks = [nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, WIDTH)).double() for _ in range(LAYERS)]
features = [x.clone().requires_grad_()]
for block in blocks:
    features.append(features[-1] + block(features[-1]))
    features[-1].retain_grad()
squared_error(features[-1]).mean().backward()

# The same as a net in time: layer k is the interval (k, k + 1)
net = pmp.ODENet(blocks[0], horizon=(0, LAYERS), steps=LAYERS, scheme="euler", weights="per_step")
net.field.load_state_dict(
    {name: torch.stack([block.state_dict()[name] for block in blocks]) for name in net.field.state_dict()}
)
output = net(x)
squared_error(output).mean().backward()
extremal = net.trajectory(x, squared_error)

differences = {
    "outputs": (output - features[-1]).abs().max(),
    "gradients": max(
        (w.grad[k] - dict(blocks[k].named_parameters())[name].grad).abs().max()
        for name, w in net.field.named_parameters()
        for k in range(LAYERS)
    ),
    "costates": (extremal.costate - torch.stack([feature.grad for feature in features], 1)).abs().max(),
}
for name, difference in differences.items():
    print(f"{name:9} differ by {difference.item():.1e} at most")
    assert difference < 1e-12
for name, w in net.field.named_parameters():  # every interval has length one, so that H_w(t) is the plain derivative
    torch.testing.assert_close(extremal.weight_gradient[name], w.grad, rtol=0, atol=1e-12)
