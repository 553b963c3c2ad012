"""Networks made ready to look: quicker, and the same."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from detectors.device import compute, running
from detectors.ready import SteadyGroupNorm, ready
from detectors.resunet import ENCODERS, ResUNet, ResUNetSpec
from detectors.retinanet import RetinaNet, RetinaNetSpec

NETWORKS = {
    "resunet": lambda: ResUNet(ResUNetSpec(("road", "centreline"))),
    "lite": lambda: ResUNet(
        ResUNetSpec(("road", "centreline"), "lite0", ENCODERS["lite0"].decoder_channels)
    ),
    "retinanet": lambda: RetinaNet(RetinaNetSpec(classes=2)),
}


def with_statistics(net: nn.Module) -> nn.Module:
    """A network whose batch norms have seen something."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return net.eval().requires_grad_(False)


def first(output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_ready_network_says_what_it_said(name):
    torch.manual_seed(0)
    net = with_statistics(NETWORKS[name]())
    pictures = torch.rand(1, 3, 96, 128)
    before = first(net(pictures))
    where = replace(compute("cpu"), autocast=None)
    ready(net, where)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    with running(where):
        after = first(net(pictures.contiguous(memory_format=torch.channels_last)))
    scale = float(before.abs().max())
    assert scale > 0.05
    assert float((before - after).abs().max()) < 1e-4 * scale


def test_what_is_no_pair_stays():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)
            self.conv = nn.Conv2d(3, 4, 1)
            self.act = nn.ReLU()
            self.last = nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.act(self.conv(self.norm(x))))

    torch.manual_seed(1)
    net = with_statistics(Odd())
    pictures = torch.rand(2, 3, 8, 8)
    before = net(pictures)
    ready(net, replace(compute("cpu"), autocast=None))
    assert torch.allclose(net(pictures), before, atol=1e-6)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in net.modules()) == 2


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_group_norms_do_not_hang_on_threads(layout, dtype):
    torch.manual_seed(2)
    norm = SteadyGroupNorm(16, 128).eval().requires_grad_(False)
    nn.init.normal_(norm.weight)
    usual = copy.deepcopy(norm)
    usual.__class__ = nn.GroupNorm
    x = torch.randn(1, 128, 96, 96).to(dtype).contiguous(memory_format=layout)
    before = torch.get_num_threads()
    try:
        outputs = []
        for threads in (1, 2, 3, 4):
            torch.set_num_threads(threads)
            outputs.append(norm(x))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(outputs[0], other) for other in outputs[1:])
    assert outputs[0].is_contiguous(memory_format=layout)
    near = 1e-5 if dtype is torch.float32 else 0.05
    assert float((outputs[0].float() - usual(x).float()).abs().max()) < near


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_in_float32_do_not_hang_on_threads(name):
    """By the numbers of threads that `compute` takes, which are powers of two."""
    torch.manual_seed(3)
    where = replace(compute("cpu"), autocast=None)
    net = with_statistics(NETWORKS[name]()).eval().requires_grad_(False)
    ready(net, where)
    pictures = torch.rand(1, 3, 384, 384).contiguous(memory_format=torch.channels_last)
    outputs = []
    for threads in (1, 2, 4, 8):
        with running(where, threads):
            given = net(pictures)
        given = [given] if isinstance(given, torch.Tensor) else [*given[0], *given[1]]
        outputs.append(torch.cat([one.flatten() for one in given]))
    assert all(torch.equal(outputs[0], other) for other in outputs[1:])


@pytest.mark.parametrize(("threads", "taken"), [(1, 1), (2, 2), (3, 2), (6, 4), (12, 8), (16, 16)])
def test_float32_computes_with_a_power_of_two_threads(monkeypatch, threads, taken):
    monkeypatch.setattr("detectors.device.THREADS", threads)
    monkeypatch.setattr("detectors.device._fast_bfloat16", lambda: False)
    assert compute("cpu").threads == taken
