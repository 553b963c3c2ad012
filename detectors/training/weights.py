"""Weights: averaged, saved, and taken over from other files."""

from __future__ import annotations

import copy
import math
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from detectors.resunet import ResUNet
from lanner.core.errors import OutputError, WeightsError

ENCODER_PREFIXES = ("body.", "net.encoder.")
"""How the residual body is called in a RetinaNet and in a Res-UNet."""


def cosine(step: int, total: int, warmup: int) -> float:
    """Learning-rate factor: linear warm-up, then half a cosine down to 1 %."""
    if step < warmup:
        return (step + 1) / warmup
    t = (step - warmup) / max(1, total - warmup)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, t)))


def adamw(net: nn.Module, lr: float, decay: float, encoder_rate: float = 1.0) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter, 2019) without weight decay on norms and biases.

    Groups of parameters say in `share` which share of the rate is theirs: `encoder_rate` of the
    encoder's, 1 of the others.
    """
    named = list(net.named_parameters())
    groups: list[dict[str, Any]] = []
    for share in sorted({1.0, encoder_rate}, reverse=True):
        mine = [
            p
            for name, p in named
            if (encoder_rate if name.startswith(ENCODER_PREFIXES) else 1.0) == share
        ]
        deep, flat = [p for p in mine if p.ndim > 1], [p for p in mine if p.ndim <= 1]
        groups += [
            {"params": deep, "weight_decay": decay, "share": share},
            {"params": flat, "weight_decay": 0.0, "share": share},
        ]
    # One pass over memory: on a CPU that is a tenth of a whole step.
    return torch.optim.AdamW(groups, lr=lr, fused=True)


class Average:
    """Exponential moving average of a network's weights, the ones that are shipped."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Move towards `net`; young averages move faster."""
        self.updates += 1
        d = min(self.decay, self.updates / (self.updates + 10))
        own, new = self.net.state_dict().values(), net.state_dict().values()
        for a, b in zip(own, new, strict=True):
            if a.dtype.is_floating_point:
                a.lerp_(b, 1 - d)
            else:
                a.copy_(b)


def write(path: Path, data: bytes) -> None:
    """Write beside and rename, so that a reader meets the old file or the new one, whole.

    Raises:
        OutputError: it cannot be written.
    """
    beside = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        if beside.exists():
            beside.unlink()
        raise OutputError(
            "train", path, f"cannot be written ({error.strerror})", "make room, then run again"
        ) from error


def save_weights(net: nn.Module, path: Path) -> None:
    """Weights as safetensors: what has more than one axis in float16, the rest as it is.

    Raises:
        OutputError: it cannot be written.
    """
    state = {
        name: (v.half() if v.dtype == torch.float32 and v.ndim > 1 else v).cpu().contiguous()
        for name, v in net.state_dict().items()
    }
    write(path, save(state))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Weights of a file, floats as float32.

    Raises:
        WeightsError: missing or damaged.
    """
    try:
        found: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            "weights", path, f"cannot be read ({error})", "name an existing safetensors file"
        ) from error
    return {k: v.float() if v.is_floating_point() else v for k, v in found.items()}


def start_from(net: nn.Module, path: Path) -> int:
    """Begin with the weights of a file; heads of another size keep their random start.

    Returns:
        How many of the network's tensors the file had nothing for.

    Raises:
        WeightsError: the file is of another architecture (half of it or more does not fit).
    """
    own: dict[str, Any] = net.state_dict()
    fits = _fitting(own, read_weights(path))
    missing = len(own) - len(fits)
    if missing * 2 >= len(own):
        raise WeightsError(
            "start",
            path,
            f"is of another architecture ({len(fits)} of {len(own)} tensors fit)",
            "name weights of the same kind and arch, or leave start out",
        )
    net.load_state_dict({**own, **fits})
    return missing


def rare_at_first(net: nn.Module) -> None:
    """Let a Res-UNet begin with the belief that objects are rare, or the first steps shake it."""
    if isinstance(net, ResUNet):
        nn.init.constant_(net.net.segmentation_head[0].bias, -3.0)


def encoder_from(net: nn.Module, path: Path) -> None:
    """Begin with the residual body of another network's weights, whatever its kind.

    Raises:
        WeightsError: the file has no such body, or one of another size.
    """
    body = {
        name.removeprefix(prefix): value
        for name, value in read_weights(path).items()
        for prefix in ENCODER_PREFIXES
        if name.startswith(prefix)
    }
    own: dict[str, Any] = net.state_dict()
    fits = {
        prefix + name: value
        for name, value in body.items()
        for prefix in ENCODER_PREFIXES
        if prefix + name in own
    }
    fits = _fitting(own, fits)
    mine = [name for name in own if name.startswith(ENCODER_PREFIXES)]
    if not mine or len(fits) < len(mine):
        raise WeightsError(
            "encoder_from",
            path,
            f"fits {len(fits)} of the encoder's {len(mine)} tensors",
            "name weights with the same backbone, or leave encoder_from out",
        )
    net.load_state_dict({**own, **fits})


def _fitting(own: dict[str, Any], given: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: value
        for name, value in given.items()
        if name in own and own[name].shape == value.shape
    }
