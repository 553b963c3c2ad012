"""RetinaNet, sized for objects of 8 to 180 pixels.

Focal-loss single-stage detector (Lin et al., 2017, "Focal Loss for Dense Object Detection").
Only pyramid levels P3 to P5 are kept: coarser levels see more zero padding than image on
small tiles, learn the tile's border instead of the object, and then fail on larger tiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from detectors.layers.heads import Heads, anchor_boxes
from detectors.layers.pyramid import FeaturePyramid
from detectors.layers.resnet import STAGES, ResNet

STRIDE = 32
"""Input height and width must be multiples of the coarsest level's stride."""

LEVELS = 3
"""Pyramid levels, P3 to P5."""

BOX_CLAMP = 4.135166556742356  # log(1000/16), the bound torchvision's own coder uses


@dataclass(frozen=True)
class RetinaNetSpec:
    """What must be known to build the network that a weights file was saved from.

    `backbone` is one of `detectors.layers.resnet.STAGES`, or another of torchvision's with as many
    stages of the same names.
    """

    classes: int
    backbone: str = "resnet18"
    channels: int = 128
    anchor_sizes: tuple[tuple[int, ...], ...] = ((12, 17, 24), (34, 48, 68), (92, 120, 156))
    aspect_ratios: tuple[float, ...] = (1.0,)


class RetinaNet(nn.Module):
    """Dense class logits and box offsets over P3..P5.

    Args:
        spec: architecture; the same value that the weights were trained with.
    """

    def __init__(self, spec: RetinaNetSpec) -> None:
        super().__init__()
        self.spec = spec
        _check_anchors(spec.anchor_sizes)
        self.body, channels = _body(spec.backbone)
        self.fpn = FeaturePyramid(channels, spec.channels)
        anchors = len(spec.anchor_sizes[0]) * len(spec.aspect_ratios)
        self.head = Heads(spec.channels, anchors, spec.classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score every anchor.

        Args:
            images: (n, 3, h, w) float, h and w multiples of `STRIDE`.

        Returns:
            logits (n, a, classes), offsets (n, a, 4), anchors (a, 4) as x0, y0, x1, y1 pixels.
        """
        seen = self.body(images)
        levels = self.fpn(seen[-LEVELS:] if isinstance(seen, list) else list(seen.values()))
        logits, offsets = self.head(levels)
        spec = self.spec
        anchors = anchor_boxes(images, levels, spec.anchor_sizes, spec.aspect_ratios)
        return logits, offsets, anchors


def decode_boxes(offsets: Tensor, anchors: Tensor) -> Tensor:
    """Boxes from anchor offsets, the inverse of Faster R-CNN's coding with unit weights.

    Args:
        offsets: (..., 4) as dx, dy, dw, dh.
        anchors: (..., 4) as x0, y0, x1, y1.

    Returns:
        (..., 4) float32 boxes x0, y0, x1, y1.
    """
    offsets, anchors = offsets.float(), anchors.float()
    size = anchors[..., 2:] - anchors[..., :2]
    centre = anchors[..., :2] + 0.5 * size + offsets[..., :2] * size
    half = 0.5 * size * torch.exp(offsets[..., 2:].clamp(max=BOX_CLAMP))
    return torch.cat([centre - half, centre + half], dim=-1)


def _check_anchors(sizes: tuple[tuple[int, ...], ...]) -> None:
    """Each level has its row, and one head serves them all.

    Raises:
        ValueError: not three rows, or rows of different lengths.
    """
    if len(sizes) != LEVELS or len({len(row) for row in sizes}) != 1 or not sizes[0]:
        raise ValueError(f"anchor_sizes takes {LEVELS} rows of as many sizes each")


def _body(backbone: str) -> tuple[nn.Module, tuple[int, ...]]:
    """The residual body, and the channels of its last `LEVELS` levels."""
    if backbone in STAGES:
        body = ResNet(backbone)
        return body, body.out_channels[-LEVELS:]
    # Seconds to import: only for bodies that are not ours.
    from torchvision.models import get_model
    from torchvision.models._utils import IntermediateLayerGetter

    whole = get_model(backbone, weights=None)
    stages = (whole.layer2, whole.layer3, whole.layer4)
    names = {"layer2": "p3", "layer3": "p4", "layer4": "p5"}
    return IntermediateLayerGetter(whole, names), tuple(map(_out_channels, stages))


def _out_channels(layer: nn.Module) -> int:
    """Channels that a residual stage hands on."""
    norms = [m for m in list(layer.children())[-1].children() if isinstance(m, nn.BatchNorm2d)]
    return int(norms[-1].num_features)
