"""RetinaNet on torchvision's parts, sized for objects of 8 to 180 pixels.

Focal-loss single-stage detector (Lin et al., 2017, "Focal Loss for Dense Object Detection").
Only pyramid levels P3 to P5 are kept: coarser levels see more zero padding than image on
small tiles, learn the tile's border instead of the object, and then fail on larger tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from detectors.libraries import torchvision

_detection = torchvision.models.detection

STRIDE = 32
"""Input height and width must be multiples of the coarsest level's stride."""

LEVELS = 3
"""Pyramid levels, P3 to P5."""

BOX_CLAMP = 4.135166556742356  # log(1000/16), the bound torchvision's own coder uses


@dataclass(frozen=True)
class RetinaNetSpec:
    """What must be known to build the network that a weights file was saved from."""

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
        body = torchvision.models.get_model(spec.backbone, weights=None)
        in_channels = [_out_channels(stage) for stage in (body.layer2, body.layer3, body.layer4)]
        self.body = torchvision.models._utils.IntermediateLayerGetter(
            body, {"layer2": "p3", "layer3": "p4", "layer4": "p5"}
        )
        self.fpn = torchvision.ops.FeaturePyramidNetwork(in_channels, spec.channels)
        ratios = (spec.aspect_ratios,) * len(spec.anchor_sizes)
        self.anchors = _detection.anchor_utils.AnchorGenerator(spec.anchor_sizes, ratios)
        self.head = _detection.retinanet.RetinaNetHead(
            spec.channels,
            self.anchors.num_anchors_per_location()[0],
            spec.classes,
            norm_layer=partial(nn.GroupNorm, 16),
        )
        self.head.regression_head._loss_type = "giou"

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score every anchor.

        Args:
            images: (n, 3, h, w) float, h and w multiples of `STRIDE`.

        Returns:
            logits (n, a, classes), offsets (n, a, 4), anchors (a, 4) as x0, y0, x1, y1 pixels.
        """
        levels = list(self.fpn(self.body(images)).values())
        out = self.head(levels)
        size = (images.shape[-2], images.shape[-1])
        anchors = self.anchors(
            _detection.image_list.ImageList(images[:1], [size]), [f[:1] for f in levels]
        )[0]
        return out["cls_logits"], out["bbox_regression"], anchors


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


def _out_channels(layer: nn.Module) -> int:
    """Channels that a residual stage hands on."""
    norms = [m for m in list(layer.children())[-1].children() if isinstance(m, nn.BatchNorm2d)]
    return int(norms[-1].num_features)
