"""Res-UNet: a U-Net with a residual encoder, on segmentation-models-pytorch.

Zhang et al., 2018, "Road Extraction by Deep Residual U-Net"; Ronneberger et al., 2015.
The encoder stops at stride 16: the receptive field stays near 200 pixels, so a modest halo
makes a tile's core independent of the tile it was read in. `Context` widens it by twice its
dilations' sum times the stride.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detectors.libraries import smp

STRIDE = 16
"""Input height and width must be multiples of the encoder's output stride."""


@dataclass(frozen=True)
class ResUNetSpec:
    """What must be known to build the network that a weights file was saved from.

    `outputs` names the channels in order: the first is the object's own probability, then
    what instances need (`boundary`, `centre`) or what roads need (`centreline`). `context` are
    dilations of convolutions at the deepest level, one after another: what lies farther away
    helps to tell a road under trees from none.
    """

    outputs: tuple[str, ...]
    encoder: str = "resnet18"
    decoder_channels: tuple[int, ...] = (128, 64, 48, 32)
    context: tuple[int, ...] = ()


class ResUNet(nn.Module):
    """Per-pixel logits, one channel for each name in `spec.outputs`."""

    def __init__(self, spec: ResUNetSpec) -> None:
        super().__init__()
        self.spec = spec
        self.net = smp.Unet(
            spec.encoder,
            encoder_depth=len(spec.decoder_channels),
            encoder_weights=None,
            decoder_channels=spec.decoder_channels,
            in_channels=3,
            classes=len(spec.outputs),
        )
        # A shallow U-Net leaves the encoder's last stages unused: ship no dead weights.
        for stage in range(len(spec.decoder_channels), 5):
            setattr(self.net.encoder, f"layer{stage}", nn.Identity())

        width = self.net.encoder.out_channels[-1]
        self.context = Context(width, spec.context) if spec.context else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) float, sides multiples of `STRIDE` -> (n, outputs, h, w) logits."""
        *levels, deepest = self.net.encoder(images)
        seen = self.net.decoder([*levels, self.context(deepest)])
        logits: Tensor = self.net.segmentation_head(seen)
        return logits.float()


class Context(nn.Module):
    """Dilated convolutions one after another, their sum added to what came in.

    Zhou, Zhang and Wu, 2018, "D-LinkNet". `gain` starts at nothing (Bachlechner et al., 2021,
    "ReZero"), so that a network trained without goes on from where it is.
    """

    def __init__(self, width: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(width, width, 3, 1, d, d) for d in dilations)
        self.gain = nn.Parameter(torch.zeros(width, 1, 1))

    def forward(self, deepest: Tensor) -> Tensor:
        """(n, width, h, w) -> the same."""
        seen, total = deepest, torch.zeros_like(deepest)
        for layer in self.layers:
            seen = F.relu(layer(seen))
            total = total + seen
        return deepest + self.gain.to(deepest.dtype) * total
