"""Res-UNet: a U-Net with a residual encoder, on segmentation-models-pytorch.

Zhang et al., 2018, "Road Extraction by Deep Residual U-Net"; Ronneberger et al., 2015.
A ResNet-18 stops at stride 16: the receptive field stays near 200 pixels, so a modest halo
makes a tile's core independent of the tile it was read in. `Context` widens it by twice its
dilations' sum times the stride. The EfficientNet-Lite encoders (Tan and Le, 2019; residual
blocks with inverted bottlenecks, Sandler et al., 2018) go to stride 32, where they were trained
on ImageNet: most of their weights, and little of their time, are in the last stage.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detectors.inputs import MEAN, STD
from detectors.libraries import smp

STRIDE = 32
"""Input height and width must be multiples of the largest output stride of an encoder."""


@dataclass(frozen=True)
class Encoder:
    """One of the encoders that `arch` may name.

    Args:
        smp: its name in segmentation-models-pytorch.
        decoder_channels: usual widths of the decoder's blocks, the deepest first.
        whole: whether it is built with all of its stages, so that the decoder has as many blocks.
        mean: of pixels of 0..1 that it takes as 0; None: it takes what networks are given.
        std: of pixels of 0..1 that it takes as 1.
    """

    smp: str
    decoder_channels: tuple[int, ...]
    whole: bool = False
    mean: float | None = None
    std: float = 1.0


_LITE_DECODER = (128, 64, 48, 32, 16)

ENCODERS = {
    "resnet18": Encoder("resnet18", (128, 64, 48, 32)),
    "lite0": Encoder("tu-tf_efficientnet_lite0", _LITE_DECODER, True, 0.5, 0.5),
    "lite1": Encoder("tu-tf_efficientnet_lite1", _LITE_DECODER, True, 0.5, 0.5),
    "lite2": Encoder("tu-tf_efficientnet_lite2", _LITE_DECODER, True, 0.5, 0.5),
}
"""By their names in `arch`, which are those of `lanner.core.config.ENCODERS`."""


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
        encoder = ENCODERS[spec.encoder]
        if encoder.whole and len(spec.decoder_channels) != len(encoder.decoder_channels):
            raise ValueError(
                f"{spec.encoder} takes {len(encoder.decoder_channels)} decoder_channels, "
                f"not {len(spec.decoder_channels)}"
            )
        self.spec, self._encoder = spec, encoder
        self.net = smp.Unet(
            encoder.smp,
            encoder_depth=len(spec.decoder_channels),
            encoder_weights=None,
            decoder_channels=spec.decoder_channels,
            in_channels=3,
            classes=len(spec.outputs),
        )
        # A shallow U-Net leaves a ResNet's last stages unused: ship no dead weights.
        for stage in range(len(spec.decoder_channels), 5):
            setattr(self.net.encoder, f"layer{stage}", nn.Identity())

        width = self.net.encoder.out_channels[-1]
        self.context = Context(width, spec.context) if spec.context else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) float, sides multiples of `STRIDE` -> (n, outputs, h, w) logits."""
        *levels, deepest = self.net.encoder(self.normalised(images))
        features = self.net.decoder([*levels, self.context(deepest)])
        logits: Tensor = self.net.segmentation_head(features)
        return logits.float()

    def normalised(self, images: Tensor) -> Tensor:
        """What networks are given (`detectors.inputs.prepare`), as the encoder was pretrained."""
        encoder = self._encoder
        if encoder.mean is None:
            return images
        return images * (STD / encoder.std) + (MEAN - encoder.mean) / encoder.std


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
        features, total = deepest, torch.zeros_like(deepest)
        for layer in self.layers:
            features = F.relu(layer(features))
            total = total + features
        return deepest + self.gain.to(deepest.dtype) * total
