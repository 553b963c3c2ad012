"""Res-UNet of objects: object, boundary and centre; objects without a mask teach by their box."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from detectors.instances import CHANNELS
from detectors.training.geometry import warp
from detectors.training.metrics import Boxes, PixelMeter
from detectors.training.pictures import IDS_UNKNOWN, Album, Picture
from detectors.training.tasks import Batch
from detectors.training.views import ColourJitter, Pool, Recipe, View

UNKNOWN = 255
"""In object and boundary targets: not judged."""

NEAR = 0.7
JITTER = ColourJitter(1.0, 0.15, 0.1)
Ids = NDArray[np.int32]


class InstanceTask:
    """Single objects of any class.

    Args:
        album: pictures, decoded with ids.
        recipe: what batches look like.
        outputs: the network's channels, in its order.
    """

    terms: ClassVar[Mapping[str, float]] = {
        "object": 1.0,
        "boundary": 1.0,
        "centre": 0.5,
        "projection": 0.3,
    }
    metric: ClassVar[str] = "f1"

    def __init__(self, album: Album, recipe: Recipe, outputs: tuple[str, ...] = CHANNELS) -> None:
        self.album, self.recipe = album, recipe
        self.pool = Pool(album, recipe)
        self._order = [outputs.index(name) for name in CHANNELS]

    def objects(self) -> int:
        """Boxes that count."""
        return sum(int((one.weights > 0).sum()) for one in self.pool.members())

    def batch(self, rng: np.random.Generator) -> Batch:
        """`target` uint8 (n, 3, s, s), `judged` bool (n, s, s), `unknown` a list of (m, 4)."""
        size = self.recipe.size(rng)
        items = [self.item(rng, size) for _ in range(self.recipe.count(size))]
        rgb, there, target, judged, unknown = zip(*items, strict=True)
        return {
            "images": torch.from_numpy(np.ascontiguousarray(np.stack(rgb).transpose(0, 3, 1, 2))),
            "valid": torch.from_numpy(np.stack(there)),
            "target": torch.from_numpy(np.stack(target)),
            "judged": torch.from_numpy(np.stack(judged)),
            "unknown": [torch.from_numpy(one) for one in unknown],
        }

    def item(
        self, rng: np.random.Generator, size: int
    ) -> tuple[Any, NDArray[np.bool_], NDArray[np.uint8], NDArray[np.bool_], NDArray[np.int64]]:
        """Colours float32 (s, s, 3), there, target, judged, boxes whose pixels are unknown."""
        view = self.pool.view(rng, size, NEAR)
        there = view.there()
        ids, boxes = ids_of(view), view.boxes()
        counts = view.picture.weights > 0
        judged = there.copy()
        for x0, y0, x1, y1 in _corners(boxes[~counts]):
            judged[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = False
        rgb = self.pool.colours(rng, view, there, JITTER)
        boxes = boxes[counts]
        return rgb, there, targets(ids, boxes), judged, unknown_boxes(ids, boxes)

    def losses(self, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        """See `instance_loss`."""
        return instance_loss(
            outputs[:, self._order], batch["target"], batch["judged"], batch["unknown"]
        )

    def meter(self) -> _Meter:
        """F1 of object pixels."""
        return _Meter(self._order[0])


def whole_ids(picture: Picture, ids: NDArray[np.uint16] | None) -> Ids:
    """int32 (h, w) of a picture: 0 background, k + 1 inside box k, -1 not known."""
    if ids is not None:
        out: Ids = ids.astype(np.int32)
        out[ids == IDS_UNKNOWN] = -1
        return out
    width, height = picture.size
    out = np.zeros((height, width), np.int32)
    for x0, y0, x1, y1 in _corners(picture.boxes):
        out[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = -1
    return out


def ids_of(view: View) -> Ids:
    """int32 (size, size) of a view, as `whole_ids`."""
    ids = whole_ids(view.picture, view.loaded.ids)
    # OpenCV warps no int32; every number here is exact in float32.
    moved = warp(ids.astype(np.float32), view.matrix, view.size, view.scale, nearest=True)
    return moved.astype(np.int32)


def _corners(boxes: Boxes) -> list[list[int]]:
    """Boxes rounded to whole pixels."""
    return [[int(v) for v in row] for row in np.asarray(boxes).round()]


def targets(ids: Ids, boxes: Boxes) -> NDArray[np.uint8]:
    """What is asked of each pixel.

    Args:
        ids: int32 (s, s), see `whole_ids`.
        boxes: (n, 4) in the view, not clipped.

    Returns:
        uint8 (3, s, s): object and boundary (0, 1, 255 unknown), centre heat 0 .. 254.
    """
    unknown = ids < 0
    kernel = np.ones((3, 3), np.uint8)
    labels = np.maximum(ids, 0).astype(np.float32)
    edge = cv2.dilate(labels, kernel) != cv2.erode(labels, kernel)
    near = cv2.dilate(unknown.astype(np.uint8), kernel) > 0
    solid = np.where(unknown, UNKNOWN, ids > 0)
    boundary = np.where(near, UNKNOWN, edge)
    return np.stack([solid, boundary, heat_of(boxes, ids.shape[0]) * 254]).astype(np.uint8)


def heat_of(boxes: Boxes, size: int) -> NDArray[np.float32]:
    """float32 (size, size): a Gaussian at each box's centre, as wide as 9 % of its longer side."""
    heat = np.zeros((size, size), np.float32)
    for x0, y0, x1, y1 in np.asarray(boxes, float):
        cx, cy, s = (x0 + x1) / 2, (y0 + y1) / 2, max(1.5, 0.09 * max(x1 - x0, y1 - y0))
        r = int(np.ceil(3 * s))
        xa, xb = max(0, int(cx) - r), min(size, int(cx) + r + 1)
        ya, yb = max(0, int(cy) - r), min(size, int(cy) + r + 1)
        if xa >= xb or ya >= yb:
            continue
        gx = np.exp(-((np.arange(xa, xb) + 0.5 - cx) ** 2) / (2 * s * s))
        gy = np.exp(-((np.arange(ya, yb) + 0.5 - cy) ** 2) / (2 * s * s))
        heat[ya:yb, xa:xb] = np.maximum(heat[ya:yb, xa:xb], gy[:, None] * gx)
    return heat


def unknown_boxes(ids: Ids, boxes: Boxes) -> NDArray[np.int64]:
    """int64 (m, 4): whole boxes inside the view whose pixels are mostly unknown."""
    size = ids.shape[0]
    out = [
        [x0, y0, x1, y1]
        for x0, y0, x1, y1 in _corners(boxes)
        if min(x0, y0) >= 0
        and max(x1, y1) <= size
        and min(x1 - x0, y1 - y0) >= 6
        and (ids[y0:y1, x0:x1] < 0).mean() > 0.7
    ]
    return np.array(out, np.int64).reshape(-1, 4)


def instance_loss(
    logits: Tensor, target: Tensor, judged: Tensor, unknown: list[Tensor]
) -> dict[str, Tensor]:
    """Loss terms of object, boundary and centre, and of boxes whose pixels are unknown.

    Args:
        logits: (n, 3, s, s) as `CHANNELS`.
        target: uint8 (n, 3, s, s), see `targets`.
        judged: bool (n, s, s).
        unknown: n of int64 (m, 4), see `unknown_boxes`.

    Returns:
        `object`: BCE and soft Dice; `boundary`: BCE; `centre`: CenterNet's penalty-reduced focal
        loss (Zhou et al., 2019); `projection`: BoxInst's (Tian et al., 2021), a mask reaches all
        four sides of its box and fills it neither fully nor hardly.
    """
    logits = logits.float()
    v = judged.float()
    t, known = (target[:, 0] == 1).float(), v * (target[:, 0] != UNKNOWN)
    p = torch.sigmoid(logits[:, 0])
    n = known.sum().clamp(min=1)
    bce = F.binary_cross_entropy_with_logits(logits[:, 0], t, reduction="none")
    dice = 1 - (2 * (p * t * known).sum() + 1) / ((p * known).sum() + (t * known).sum() + 1)
    edge, sure = (target[:, 1] == 1).float(), v * (target[:, 1] != UNKNOWN)
    line = F.binary_cross_entropy_with_logits(logits[:, 1], edge, reduction="none")
    return {
        "object": (bce * (1 + 0.5 * t) * known).sum() / n + dice,
        "boundary": (line * (1 + 3 * edge) * sure).sum() / n,
        "centre": centre_loss(logits[:, 2], target[:, 2].float() / 254, v),
        "projection": projection_loss(p, unknown),
    }


def centre_loss(logits: Tensor, heat: Tensor, judged: Tensor) -> Tensor:
    """Penalty-reduced focal loss of (n, s, s) logits against heat 0..1, where `judged` is 1."""
    c = torch.sigmoid(logits).clamp(1e-4, 1 - 1e-4)
    peak = (heat > 0.9).float()
    hot = peak * (1 - c) ** 2 * torch.log(c)
    cold = (1 - peak) * (1 - heat) ** 4 * c**2 * torch.log(1 - c)
    return -((hot + cold) * judged).sum() / peak.sum().clamp(min=10)


def projection_loss(probability: Tensor, boxes: list[Tensor]) -> Tensor:
    """Mean over boxes of what is missing to their sides; `probability` (n, s, s), n of (m, 4)."""
    terms = []
    for k, found in enumerate(boxes):
        for x0, y0, x1, y1 in found.tolist():
            part = probability[k, y0:y1, x0:x1]
            reach = 2 - part.amax(0).mean() - part.amax(1).mean()
            mean = part.mean()
            terms.append(reach + F.relu(mean - 0.55) * 3 + F.relu(0.2 - mean) * 3)
    return torch.stack(terms).mean() if terms else probability.sum() * 0


class _Meter(PixelMeter):
    """F1 of object pixels."""

    def __init__(self, channel: int) -> None:
        super().__init__()
        self._channel = channel

    def add(self, outputs: Any, batch: Batch) -> None:
        truth = batch["target"][:, 0]
        judged = batch["judged"] & (truth != UNKNOWN)
        self.pixels(outputs[:, self._channel], truth == 1, judged)
