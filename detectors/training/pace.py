"""How long a step will take, from one small view: said before hours are spent."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from detectors.inputs import prepare
from detectors.training.settings import Settings, hardware

SIDE = 256
"""Pixels of a side of the view that is timed."""


def seconds_a_step(net: nn.Module, pixels: int, settings: Settings) -> float | None:
    """About what a step costs on this CPU: the network forward and back, without its data.

    A copy of the network is timed, twice, of which the second counts; neither the network nor the
    random numbers that follow change.

    Args:
        net: the network that is to be trained.
        pixels: of a batch.
        settings: how it is trained.

    Returns:
        Seconds; None where it is trained on a GPU, whose first steps say more.
    """
    found = hardware(settings.devices, settings.precision)
    if found.accelerator != "cpu":
        return None
    copied = copy.deepcopy(net).to(memory_format=torch.channels_last).train()
    images, valid = torch.full((1, 3, SIDE, SIDE), 0.5), torch.ones(1, SIDE, SIDE, dtype=torch.bool)
    inputs = prepare(images, valid).contiguous(memory_format=torch.channels_last)
    seconds = 0.0
    with torch.random.fork_rng(devices=[]):
        for _ in range(2):
            started = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=found.precision == "bf16-mixed"):
                outputs = copied(inputs)
            whole = torch.stack([one.float().mean() for one in _tensors(outputs)]).sum()
            whole.backward()  # type: ignore[no-untyped-call]
            seconds = time.perf_counter() - started
    return seconds * pixels / SIDE**2


def _tensors(outputs: Any) -> Iterator[Tensor]:
    """Every tensor of a network's answers that gradients flow through."""
    if isinstance(outputs, Tensor):
        if outputs.requires_grad:
            yield outputs
    elif isinstance(outputs, dict):
        for one in outputs.values():
            yield from _tensors(one)
    elif isinstance(outputs, list | tuple):
        for one in outputs:
            yield from _tensors(one)
