"""ODE-Nets take the kernels for GPUs, here on the host; and PyTorch, with a sentence, where there are none."""

from __future__ import annotations

import copy
import sys
import warnings
from pathlib import Path

import pytest
import torch
from mlp_on_host import emulate_nets
from torch import nn

import pontryagin as pmp
from pontryagin.backend import cuda_mlp
from pontryagin.backend.cuda_mlp import CudaMLP
from pontryagin.errors import BackendError
from pontryagin.neural import fused

sys.path.append(str(Path(__file__).parents[1] / "neural"))
from nets import COSTS, SPLINES, gradients, perceptron, states, varied


@pytest.fixture
def emulated(monkeypatch):
    return emulate_nets(monkeypatch)


def twins(**keywords):
    """A net on the kernels, and the same on PyTorch."""
    net = varied(pmp.ODENet(perceptron(), steps=5, backend="fused", **keywords))
    other = pmp.ODENet(perceptron(), steps=5, backend="torch", **keywords)
    other.load_state_dict(net.state_dict())
    return net, other


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("weights", ["constant", "per step", "cubic"])
def test_gradients_are_those_of_pytorch(weights, cost):
    net, other = twins(weights=SPLINES[weights], running_cost=COSTS[cost])
    x = states(11)
    (at_x, at_w), (expected_x, expected_w) = gradients(net, x), gradients(other, x)
    torch.testing.assert_close(at_x, expected_x, rtol=1e-11, atol=1e-12)
    for name, slope in at_w.items():
        torch.testing.assert_close(slope, expected_w[name], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("cost", ["no cost", "all"])
def test_objective_is_that_of_pytorch_in_one_pass(cost, emulated):
    net, other = twins(weights="per_step", running_cost=COSTS[cost])
    found = []
    for one in (net, other):
        x, y = states(11).requires_grad_(), states(11, seed=1).requires_grad_()
        value = 3.0 * one.objective(x, y)
        found.append([value.detach(), *torch.autograd.grad(value, [x, y, *one.parameters()])])
    for one, expected in zip(*found, strict=True):
        assert one.dtype == expected.dtype
        torch.testing.assert_close(one, expected, rtol=1e-11, atol=1e-12)
    (kernels,) = emulated.values()
    assert [launch[3].backward for launch in kernels._on.launches] == [1]


@pytest.mark.usefixtures("emulated")
def test_state_that_is_not_finite_is_told_with_its_sample():
    net, _ = twins()
    x = states(11)
    x[3, 0] = torch.inf
    with pytest.raises(pmp.NonFiniteError, match="sample 3 "):
        net(x)
    with pytest.raises(pmp.NonFiniteError, match="sample 3 "):
        net.objective(x, states(11))


def net_of(width, backend="auto"):
    return pmp.ODENet(nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 2)), backend=backend)


@pytest.fixture
def _no_gpu(monkeypatch):
    def missing(device):
        raise BackendError("NVRTC is missing")

    fused._obstacle.cache_clear()
    monkeypatch.setattr(cuda_mlp, "CudaDevice", missing)
    monkeypatch.setattr(fused, "_kernels", lambda *key: CudaMLP(*key[:3], device=key[3]))
    yield
    fused._obstacle.cache_clear()


@pytest.mark.usefixtures("_no_gpu")
def test_net_takes_pytorch_where_kernels_cannot_be_made_and_says_why_once():
    net = net_of(8)
    with pytest.warns(UserWarning, match="ODENet runs on PyTorch on cpu, because NVRTC is missing"):
        assert not net._fuses_on_gpu(states())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not net._fuses_on_gpu(states())


@pytest.mark.usefixtures("_no_gpu")
def test_kernels_that_are_asked_for_and_missing_are_an_error():
    with pytest.raises(BackendError, match=r"backend='fused' does not run this net on cpu: NVRTC is missing"):
        net_of(8, "fused")._fuses_on_gpu(states())


def test_wide_nets_take_pytorch_on_a_gpu_unless_kernels_are_asked_for(monkeypatch):
    monkeypatch.setattr(fused.FusedFlow, "obstacle", lambda self, x: None)
    assert net_of(128)._fuses_on_gpu(states())
    assert net_of(129, "fused")._fuses_on_gpu(states())
    with pytest.warns(UserWarning, match="a layer of 129 units is wider than 128"):
        assert not net_of(129)._fuses_on_gpu(states())


@pytest.mark.usefixtures("emulated")
def test_net_that_has_run_is_copied():
    net, _ = twins()
    x = states()
    torch.testing.assert_close(copy.deepcopy(net)(x), net(x), rtol=0, atol=0)
