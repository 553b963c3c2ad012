"""Heads and anchors of a RetinaNet (Lin et al., 2017, "Focal Loss"), as torchvision has them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

CONVS = 4
"""Convolutions of a head before its last."""

GROUPS = 16
"""Groups of channels that are normalised together."""

PRIOR = 0.01
"""What an anchor is thought to be worth before anything was learned."""

SPREAD = 0.01
"""Standard deviation of the random start."""


class Heads(nn.Module):
    """What the classes of anchors are and how their boxes lie, the same heads at every level.

    Args:
        channels: of each level, a multiple of `GROUPS`.
        anchors: at each place of a level.
        classes: how many.
    """

    def __init__(self, channels: int, anchors: int, classes: int) -> None:
        super().__init__()
        self.classification_head = ClassHead(channels, anchors, classes)
        self.regression_head = BoxHead(channels, anchors)

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """(n, channels, h, w) of each level -> logits (n, a, classes) and offsets (n, a, 4)."""
        return self.classification_head(levels), self.regression_head(levels)


class ClassHead(nn.Module):
    """Logits of every anchor."""

    def __init__(self, channels: int, anchors: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.conv = _convs(channels)
        _small(self.conv)
        self.cls_logits = nn.Conv2d(channels, anchors * classes, 3, 1, 1)
        _small(self.cls_logits)
        nn.init.constant_(self.cls_logits.get_parameter("bias"), -math.log((1 - PRIOR) / PRIOR))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """(n, channels, h, w) of each level -> (n, a, classes)."""
        return _by_anchor([self.cls_logits(self.conv(one)) for one in levels], self.classes)


class BoxHead(nn.Module):
    """Offsets of every anchor's box."""

    def __init__(self, channels: int, anchors: int) -> None:
        super().__init__()
        self.conv = _convs(channels)
        self.bbox_reg = nn.Conv2d(channels, anchors * 4, 3, 1, 1)
        _small(self.bbox_reg)
        nn.init.zeros_(self.bbox_reg.get_parameter("bias"))
        _small(self.conv)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """(n, channels, h, w) of each level -> (n, a, 4)."""
        return _by_anchor([self.bbox_reg(self.conv(one)) for one in levels], 4)


def anchor_boxes(
    images: Tensor,
    levels: Sequence[Tensor],
    sizes: Sequence[Sequence[int]],
    ratios: Sequence[float],
) -> Tensor:
    """Every anchor, in the order of the heads' rows.

    Args:
        images: (n, 3, h, w).
        levels: (n, channels, h, w) of each level.
        sizes: sides in pixels of the anchors of each level, of one ratio after the other.
        ratios: height over width.

    Returns:
        (a, 4) x0 y0 x1 y1 pixels, of the type and on the device of the levels.
    """
    high, wide = images.shape[-2:]
    return torch.cat(
        [
            _laid(level, (high // level.shape[-2], wide // level.shape[-1]), row, ratios)
            for level, row in zip(levels, sizes, strict=True)
        ]
    )


def _laid(
    level: Tensor, stride: tuple[int, int], sizes: Sequence[int], ratios: Sequence[float]
) -> Tensor:
    """(h * w * anchors, 4): anchors at every place of one level."""
    around = _around(sizes, ratios).to(dtype=level.dtype, device=level.device)
    rows, columns = level.shape[-2:]
    down = torch.arange(rows, dtype=torch.int32, device=level.device) * stride[0]
    across = torch.arange(columns, dtype=torch.int32, device=level.device) * stride[1]
    y, x = (one.reshape(-1) for one in torch.meshgrid(down, across, indexing="ij"))
    places = torch.stack((x, y, x, y), dim=1)
    return (places[:, None] + around[None]).reshape(-1, 4)


def _around(sizes: Sequence[int], ratios: Sequence[float]) -> Tensor:
    """(anchors, 4) float32 boxes around nothing, to whole pixels."""
    side = torch.tensor(sizes, dtype=torch.float32)
    high = torch.sqrt(torch.tensor(ratios, dtype=torch.float32))
    wide = 1 / high
    w = (wide[:, None] * side[None, :]).view(-1)
    h = (high[:, None] * side[None, :]).view(-1)
    return (torch.stack([-w, -h, w, h], dim=1) / 2).round()


def _by_anchor(levels: Sequence[Tensor], values: int) -> Tensor:
    """(n, anchors * values, h, w) of each level -> (n, all anchors, values)."""
    laid = []
    for one in levels:
        n, _, rows, columns = one.shape
        apart = one.view(n, -1, values, rows, columns).permute(0, 3, 4, 1, 2)
        laid.append(apart.reshape(n, -1, values))
    return torch.cat(laid, dim=1)


def _convs(channels: int) -> nn.Sequential:
    return nn.Sequential(
        *(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
                nn.GroupNorm(GROUPS, channels),
                nn.ReLU(inplace=True),
            )
            for _ in range(CONVS)
        )
    )


def _small(module: nn.Module) -> None:
    """Small random weights for every convolution."""
    for one in module.modules():
        if isinstance(one, nn.Conv2d):
            nn.init.normal_(one.weight, std=SPREAD)
