"""RetinaNet training set and loss."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import IterableDataset
from torchvision.ops import box_iou, generalized_box_iou_loss

from detectors.retinanet import decode_boxes
from training.augment import recolour, view_matrix, warp, warp_boxes
from training.sources import Compositor, Picture

SIZES = (256, 288, 320, 384, 512, 640)
SIZE_ODDS = (0.2, 0.2, 0.25, 0.15, 0.12, 0.08)
"""Several sizes, some well past the receptive field, so that the border is not learned."""


class BoxBatches(IterableDataset):
    """Endless batches of one size each; pixels a batch stay about constant."""

    def __init__(self, groups, odds, compositor: Compositor, seed: int, pixels=1_300_000):
        self.groups, self.odds, self.compositor = groups, np.cumsum(odds), compositor
        self.seed, self.pixels = seed, pixels

    def __iter__(self):
        info = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, info.id if info else 0])
        while True:
            size = int(rng.choice(SIZES, p=SIZE_ODDS))
            yield self.batch(rng, size, max(2, round(self.pixels / size**2)))

    def batch(self, rng, size, n):
        """(images float32 (n, 3, s, s), valid (n, s, s), boxes list, ignored list)."""
        items = [
            self.view(rng, size) if size <= 320 or rng.random() < 0.3 else self.mosaic(rng, size)
            for _ in range(n)
        ]
        images = torch.from_numpy(np.stack([i[0] for i in items])).permute(0, 3, 1, 2)
        valid = torch.from_numpy(np.stack([i[1] for i in items]))
        return (
            images,
            valid,
            [torch.from_numpy(i[2]) for i in items],
            [torch.from_numpy(i[3]) for i in items],
        )

    def view(self, rng, size):
        """One picture, warped and recoloured."""
        k = int(np.searchsorted(self.odds, rng.random()))
        if k >= len(self.groups):
            pic = self.compositor.chip(rng, size)
            return (
                recolour(rng, pic.rgb),
                np.ones((size, size), bool),
                pic.boxes,
                np.zeros((0, 4), np.float32),
            )
        group, low, high = self.groups[k]
        pic: Picture = group[rng.integers(len(group))]
        scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        centre = None
        if len(pic.boxes) and rng.random() < 0.5:
            b = pic.boxes[rng.integers(len(pic.boxes))]
            half = size / (2 * scale)
            limit = np.array(pic.rgb.shape[1::-1], float)
            near = np.minimum(0.85 * half, limit / 2)
            centre = ((b[:2] + b[2:]) / 2 + rng.uniform(-half, half, 2) * 0.9).clip(
                near, limit - near
            )
        m = view_matrix(rng, pic.rgb.shape, size, scale, centre)
        rgb = warp(pic.rgb, m, size, scale)
        valid = warp(np.full(pic.rgb.shape[:2], 255, np.uint8), m, size, scale, nearest=True) > 0
        moved = warp_boxes(pic.boxes, m)
        clipped = moved.clip(0, size)
        area = (moved[:, 2] - moved[:, 0]) * (moved[:, 3] - moved[:, 1])
        seen = (clipped[:, 2] - clipped[:, 0]) * (clipped[:, 3] - clipped[:, 1]) / area.clip(1e-6)
        side = np.sqrt(area)
        good = (seen >= 0.45) & (side >= 7)
        some = (seen > 0.02) & ~good
        return (
            recolour(rng, rgb),
            valid,
            clipped[good].astype(np.float32),
            clipped[some].astype(np.float32),
        )

    def mosaic(self, rng, size):
        """Four views around a random cross: large inputs from small pictures."""
        cx, cy = (int(rng.integers(size // 4, 3 * size // 4)) for _ in range(2))
        rgb = np.zeros((size, size, 3), np.float32)
        valid = np.zeros((size, size), bool)
        boxes, ignored = [], []
        for x0, y0, x1, y1 in (
            (0, 0, cx, cy),
            (cx, 0, size, cy),
            (0, cy, cx, size),
            (cx, cy, size, size),
        ):
            w, h = x1 - x0, y1 - y0
            part, ok, b, i = self.view(rng, max(w, h))
            rgb[y0:y1, x0:x1], valid[y0:y1, x0:x1] = part[:h, :w], ok[:h, :w]
            for have, good in ((b, True), (i, False)):
                cut = have.clip(0, [w, h, w, h])
                full = (have[:, 2:] - have[:, :2]).prod(1).clip(1e-6)
                seen = (cut[:, 2:] - cut[:, :2]).prod(1) / full
                moved = (cut + np.array([x0, y0, x0, y0])).astype(np.float32)
                if good:
                    boxes.append(moved[seen >= 0.45])
                    ignored.append(moved[(seen > 0.02) & (seen < 0.45)])
                else:
                    ignored.append(moved[seen > 0.02])
        return rgb, valid, np.concatenate(boxes), np.concatenate(ignored)


def box_loss(logits, offsets, anchors, boxes, ignored):
    """Focal loss over matched and background anchors, GIoU loss over matched ones."""
    cls = logits.new_zeros(())
    reg = logits.new_zeros(())
    matched = 0
    for logit, offset, truth, skip in zip(
        logits[..., 0].float(), offsets.float(), boxes, ignored, strict=True
    ):
        target = torch.zeros_like(logit)
        weight = torch.ones_like(logit)
        if len(skip):
            inter = _inside(anchors, skip)
            weight[inter > 0.4] = 0
        if len(truth):
            iou = box_iou(truth, anchors)
            best, who = iou.max(0)
            positive = best >= 0.5
            weight[(best >= 0.4) & ~positive] = 0
            # Every object keeps its best anchors, however small it is.
            top = iou.max(1, keepdim=True).values
            for g, a in (iou >= top.clamp(min=0.1) - 1e-6).nonzero().tolist():
                positive[a], who[a] = True, g
            target[positive], weight[positive] = 1, 1
            reg = reg + generalized_box_iou_loss(
                decode_boxes(offset[positive], anchors[positive]),
                truth[who[positive]],
                reduction="sum",
            )
            matched += int(positive.sum())
        p = torch.sigmoid(logit)
        bce = F.binary_cross_entropy_with_logits(logit, target, reduction="none")
        pt = p * target + (1 - p) * (1 - target)
        alpha = 0.25 * target + 0.75 * (1 - target)
        cls = cls + (weight * alpha * (1 - pt) ** 2 * bce).sum()
    return cls / max(1, matched), reg / max(1, matched)


def _inside(anchors, boxes):
    """Largest share of each anchor inside any of the boxes."""
    lt = torch.maximum(anchors[:, None, :2], boxes[None, :, :2])
    rb = torch.minimum(anchors[:, None, 2:], boxes[None, :, 2:])
    inter = (rb - lt).clamp(min=0).prod(-1)
    return (inter / (anchors[:, 2:] - anchors[:, :2]).prod(-1)[:, None]).max(1).values
