"""RetinaNet: batches of boxes, and focal plus GIoU loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_iou, generalized_box_iou_loss

from detectors.boxes import boxes_of
from detectors.retinanet import decode_boxes
from detectors.training.colour import Float
from detectors.training.geometry import cut_boxes
from detectors.training.metrics import Boxes, BoxMeter
from detectors.training.pictures import Album
from detectors.training.tasks import Batch
from detectors.training.views import ColourJitter, Pool, Recipe

NEAR = 0.5
"""Share of views laid over an object."""

LEAST_SHARE = 0.45
"""Share of a box that must be in the view for the object to be asked for."""

LEAST_SIDE = 7.0
"""Objects smaller than this (root of the area, pixels) are not asked for."""

MOSAIC = 0.7
"""Share of large views that are put together from four."""

JITTER = ColourJitter(1.0, 0.15, 0.1)


@dataclass(frozen=True)
class Piece:
    """One view: `rgb` float32 (s, s, 3), `there` bool (s, s), objects and ignored ground."""

    rgb: Float
    there: NDArray[np.bool_]
    boxes: Boxes
    classes: NDArray[np.int64]
    weights: NDArray[np.float32]
    ignored: Boxes


class BoxTask:
    """Boxes of several classes.

    Args:
        album: pictures, decoded without class masks.
        recipe: what batches look like.
        threshold: least score of a box in the meter.
    """

    terms: ClassVar[Mapping[str, float]] = {"cls": 1.0, "box": 1.0}
    metric: ClassVar[str] = "ap50"

    def __init__(self, album: Album, recipe: Recipe, threshold: float = 0.05) -> None:
        self.album, self.recipe, self._threshold = album, recipe, threshold
        self.pool = Pool(album, recipe)
        sides = [min(one.size) for one in self.pool.members()]
        # Small pictures cannot fill a large view: four of them do.
        self._alone = 0.85 * float(np.median(sides)) if sides else 0.0

    def objects(self) -> int:
        """Boxes that count."""
        return sum(int((one.weights > 0).sum()) for one in self.pool.members())

    def batch(self, rng: np.random.Generator) -> Batch:
        """Lists, one a view: `boxes` (m, 4), `classes`, `weights` (m,) and `ignored` (k, 4)."""
        size = self.recipe.size(rng)
        pieces = [
            self.mosaic(rng, size)
            if size > self._alone and rng.random() < MOSAIC
            else self.piece(rng, size)
            for _ in range(self.recipe.count(size))
        ]
        images = np.stack([one.rgb for one in pieces]).transpose(0, 3, 1, 2)
        return {
            "images": torch.from_numpy(np.ascontiguousarray(images)),
            "valid": torch.from_numpy(np.stack([one.there for one in pieces])),
            "boxes": [torch.from_numpy(one.boxes) for one in pieces],
            "classes": [torch.from_numpy(one.classes) for one in pieces],
            "weights": [torch.from_numpy(one.weights) for one in pieces],
            "ignored": [torch.from_numpy(one.ignored) for one in pieces],
        }

    def piece(self, rng: np.random.Generator, size: int) -> Piece:
        """One picture, warped and recoloured."""
        view = self.pool.view(rng, size, NEAR)
        there = view.there()
        boxes = view.boxes()
        cut, share = cut_boxes(boxes, size, size)
        side = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))
        counts = view.picture.weights > 0
        good = (share >= LEAST_SHARE) & (side >= LEAST_SIDE) & counts
        some = (share > 0.02) & ~good
        return Piece(
            self.pool.colours(rng, view, there, JITTER),
            there,
            cut[good],
            view.picture.classes[good],
            view.picture.weights[good],
            cut[some],
        )

    def mosaic(self, rng: np.random.Generator, size: int) -> Piece:
        """Four views around a random cross."""
        cx, cy = (int(rng.integers(size // 4, 3 * size // 4)) for _ in range(2))
        rgb, there = np.zeros((size, size, 3), np.float32), np.zeros((size, size), bool)
        parts: list[Piece] = []
        for x0, y0, x1, y1 in (
            (0, 0, cx, cy),
            (cx, 0, size, cy),
            (0, cy, cx, size),
            (cx, cy, size, size),
        ):
            w, h = x1 - x0, y1 - y0
            part = self.piece(rng, max(w, h))
            rgb[y0:y1, x0:x1], there[y0:y1, x0:x1] = part.rgb[:h, :w], part.there[:h, :w]
            parts.append(_placed(part, w, h, x0, y0))
        return Piece(
            rgb,
            there,
            np.concatenate([one.boxes for one in parts]),
            np.concatenate([one.classes for one in parts]),
            np.concatenate([one.weights for one in parts]),
            np.concatenate([one.ignored for one in parts]),
        )

    def losses(self, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        """See `box_loss`."""
        logits, offsets, anchors = outputs
        cls, box = box_loss(
            logits,
            offsets,
            anchors,
            [
                Truth(*one)
                for one in zip(
                    batch["boxes"],
                    batch["classes"],
                    batch["weights"],
                    batch["ignored"],
                    strict=True,
                )
            ],
        )
        return {"cls": cls, "box": box}

    def meter(self) -> _Meter:
        """AP50."""
        return _Meter(self._threshold)


def _placed(part: Piece, w: int, h: int, x: int, y: int) -> Piece:
    """A piece cut to w x h pixels and moved to x, y; boxes cut too short are ignored ground."""
    move = np.array([x, y, x, y], np.float32)
    cut, share = cut_boxes(part.boxes, w, h)
    blank, blank_share = cut_boxes(part.ignored, w, h)
    good, some = share >= LEAST_SHARE, (share > 0.02) & (share < LEAST_SHARE)
    return Piece(
        part.rgb,
        part.there,
        cut[good] + move,
        part.classes[good],
        part.weights[good],
        np.concatenate([cut[some] + move, blank[blank_share > 0.02] + move]),
    )


@dataclass(frozen=True)
class Truth:
    """One view: `boxes` (m, 4), `classes` int64 (m,), `weights` (m,), `ignored` (k, 4)."""

    boxes: Tensor
    classes: Tensor
    weights: Tensor
    ignored: Tensor


def box_loss(
    logits: Tensor, offsets: Tensor, anchors: Tensor, truths: list[Truth]
) -> tuple[Tensor, Tensor]:
    """Focal loss over matched and background anchors, GIoU loss over matched ones.

    Lin et al., 2017 (alpha 0.25, gamma 2); Rezatofighi et al., 2019. Both are divided by the
    number of matched anchors.

    Args:
        logits: (n, a, classes).
        offsets: (n, a, 4).
        anchors: (a, 4) x0 y0 x1 y1 pixels.
        truths: n of them.

    Returns:
        Two scalars, float32.
    """
    logits, offsets = logits.float(), offsets.float()
    # Every output takes part, even where nothing is matched: several processes wait for it.
    cls, reg = logits.sum() * 0, offsets.sum() * 0
    matched = 0
    for logit, offset, truth in zip(logits, offsets, truths, strict=True):
        target, weight, positive, who = match(anchors, truth, logit.shape[-1])
        cls = cls + (weight[:, None] * focal(logit, target)).sum()
        if len(who):
            giou = generalized_box_iou_loss(
                decode_boxes(offset[positive], anchors[positive]), truth.boxes[who]
            )
            reg = reg + (giou * truth.weights[who]).sum()
            matched += len(who)
    return cls / max(1, matched), reg / max(1, matched)


def focal(logit: Tensor, target: Tensor) -> Tensor:
    """Focal loss of each logit against 0 or 1, alpha 0.25 and gamma 2."""
    p = torch.sigmoid(logit)
    bce = F.binary_cross_entropy_with_logits(logit, target, reduction="none")
    pt = p * target + (1 - p) * (1 - target)
    alpha = 0.25 * target + 0.75 * (1 - target)
    return alpha * (1 - pt) ** 2 * bce


def match(anchors: Tensor, truth: Truth, classes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What is asked of each anchor.

    An anchor is an object's from IoU 0.5 on, background below 0.4, and not judged between.
    Every object keeps its best anchors, however small it is.

    Returns:
        Target (a, classes) 0 or 1, weight (a,), indices of matched anchors (m,) and of their
        objects (m,).
    """
    target = anchors.new_zeros((len(anchors), classes))
    weight = anchors.new_ones(len(anchors))
    none = torch.zeros(0, dtype=torch.int64, device=anchors.device)
    if len(truth.ignored):
        weight[_inside(anchors, truth.ignored) > 0.4] = 0
    if not len(truth.boxes):
        return target, weight, none, none
    iou = box_iou(truth.boxes, anchors)
    best, who = iou.max(0)
    top = iou.max(1, keepdim=True).values.clamp(min=0.1) - 1e-6
    forced, whose = torch.where(iou >= top, iou, -1.0).max(0)
    who = torch.where(forced > 0, whose, who)
    yes = (best >= 0.5) | (forced > 0)
    weight[(best >= 0.4) & ~yes] = 0
    positive = yes.nonzero()[:, 0]
    who = who[positive]
    target[positive, truth.classes[who]] = 1
    weight[positive] = truth.weights[who].to(weight.dtype)
    return target, weight, positive, who


def _inside(anchors: Tensor, boxes: Tensor) -> Tensor:
    """(a,) largest share of each anchor inside any of the boxes."""
    left = torch.maximum(anchors[:, None, :2], boxes[None, :, :2])
    right = torch.minimum(anchors[:, None, 2:], boxes[None, :, 2:])
    inter = (right - left).clamp(min=0).prod(-1)
    whole = (anchors[:, 2:] - anchors[:, :2]).prod(-1)
    return (inter / whole[:, None]).max(1).values


class _Meter(BoxMeter):
    """AP50 of dense outputs."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self._threshold = threshold

    def add(self, outputs: Any, batch: Batch) -> None:
        logits, offsets, anchors = outputs
        size = batch["images"].shape[-1]
        for k, (one, two) in enumerate(zip(logits.float(), offsets.float(), strict=True)):
            views = boxes_of(one, two, anchors.float(), size, self._threshold, 0.5)
            self.image(
                views,
                batch["boxes"][k].cpu().numpy(),
                batch["classes"][k].cpu().numpy(),
                batch["ignored"][k].cpu().numpy(),
            )
