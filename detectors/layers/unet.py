"""U-Net over a residual body (Ronneberger et al., 2015), as segmentation-models-pytorch has it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detectors.layers.resnet import ResNet


class UNet(nn.Module):
    """Encoder, decoder and head, to be called one after another.

    Args:
        encoder: name of the body, one of `detectors.layers.resnet.STAGES`.
        decoder_channels: of each step of the decoder, the deepest first; as many as levels.
        classes: channels of the head.

    Raises:
        ValueError: no such body, or no step or too many.
    """

    def __init__(self, encoder: str, decoder_channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.encoder = ResNet(encoder, len(decoder_channels))
        self.decoder = Decoder(self.encoder.out_channels, decoder_channels)
        head = nn.Conv2d(decoder_channels[-1], classes, 3, 1, 1)
        self.segmentation_head = nn.Sequential(head)
        for module in self.decoder.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, mode="fan_in", nonlinearity="relu")
        nn.init.xavier_uniform_(head.weight)
        nn.init.zeros_(head.get_parameter("bias"))


class Decoder(nn.Module):
    """From the deepest level up to the size of the images."""

    def __init__(self, levels: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        # The images themselves are not looked at again.
        *skips, deepest = levels[1:]
        below, beside = [deepest, *channels[:-1]], [*reversed(skips), 0]
        self.blocks = nn.ModuleList(
            Step(low + skip, out) for low, skip, out in zip(below, beside, channels, strict=True)
        )

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Images and levels, the deepest last -> (n, last of `channels`, h, w)."""
        *above, seen = levels
        for step, skip in zip(self.blocks, reversed(above), strict=True):
            seen = step(seen, skip.shape[-2:], None if skip is levels[0] else skip)
        return seen


class Step(nn.Module):
    """One level up: enlarge, put what the encoder saw there beside it, convolve twice."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels, out)
        self.conv2 = _conv(out, out)

    def forward(self, below: Tensor, size: tuple[int, int], beside: Tensor | None) -> Tensor:
        """(n, c, h / 2, w / 2) and, of the size (h, w), what lies beside -> (n, out, h, w)."""
        seen = F.interpolate(below, size=size, mode="nearest")
        if beside is not None:
            seen = torch.cat([seen, beside], dim=1)
        out: Tensor = self.conv2(self.conv1(seen))
        return out


def _conv(channels: int, out: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, out, 3, 1, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU(inplace=True))
