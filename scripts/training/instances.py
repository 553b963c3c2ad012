"""Aircraft Res-UNet training set: object, boundary and centre, with unknown masks left out."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import IterableDataset

from training.augment import recolour, view_matrix, warp, warp_boxes

UNKNOWN = 255


class InstanceBatches(IterableDataset):
    """Endless batches: weakly masked pictures, composites, rendered chips and negatives.

    `makers` is a list of (odds, function (rng, size) -> (rgb uint8, ids int32, boxes (n, 4))):
    ids number the objects from 1 in the order of boxes, -1 marks pixels whose object is unknown.
    """

    def __init__(self, makers, seed, pixels=1_000_000):
        self.odds = np.cumsum([odds for odds, _ in makers])
        self.makers = [make for _, make in makers]
        self.seed, self.pixels = seed, pixels

    def __iter__(self):
        info = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, info.id if info else 0])
        while True:
            size = int(rng.choice([256, 320, 384, 512], p=[0.4, 0.3, 0.2, 0.1]))
            items = [self.item(rng, size) for _ in range(max(2, round(self.pixels / size**2)))]
            rgb, target, valid, boxes = zip(*items, strict=True)
            yield (
                torch.from_numpy(np.stack(rgb)).permute(0, 3, 1, 2),
                torch.from_numpy(np.stack(target)),
                torch.from_numpy(np.stack(valid)),
                [torch.from_numpy(b) for b in boxes],
            )

    def item(self, rng, size):
        """(rgb float32, target uint8 (3, s, s), valid bool, unknown boxes (n, 4) int64)."""
        k = int(np.searchsorted(self.odds / self.odds[-1], rng.random()))
        rgb, ids, boxes, valid = self.makers[k](rng, size)
        return recolour(rng, rgb), targets(ids, boxes), valid, unknown_boxes(ids, boxes)


def from_pictures(group, masks, low, high):
    """A maker of random views of weakly masked pictures."""

    def make(rng, size):
        pic = group[rng.integers(len(group))]
        scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        centre = None
        if len(pic.boxes) and rng.random() < 0.7:
            b = pic.boxes[rng.integers(len(pic.boxes))]
            half = size / (2 * scale)
            limit = np.array(pic.rgb.shape[1::-1], float)
            near = np.minimum(0.85 * half, limit / 2)
            centre = ((b[:2] + b[2:]) / 2 + rng.uniform(-half, half, 2) * 0.9).clip(
                near, limit - near
            )
        m = view_matrix(rng, pic.rgb.shape, size, scale, centre)
        h, w = pic.rgb.shape[:2]
        ids = masks.get(pic.name)
        if ids is None:
            ids = np.zeros((h, w), np.int16)
            for x0, y0, x1, y1 in pic.boxes.round().astype(int):
                ids[max(0, y0) : y1, max(0, x0) : x1] = -1
        ids = warp(ids.astype(np.float32), m, size, scale, nearest=True).astype(np.int32)
        valid = warp(np.full((h, w), 255, np.uint8), m, size, scale, nearest=True) > 0
        return warp(pic.rgb, m, size, scale), ids, warp_boxes(pic.boxes, m), valid

    return make


def from_composites(compositor):
    """A maker of cut-outs pasted on real ground."""

    def make(rng, size):
        pic = compositor.chip(rng, size)
        return pic.rgb, pic.mask, pic.boxes, np.ones((size, size), bool)

    return make


def targets(ids, boxes):
    """uint8 (3, s, s): object and boundary (0, 1, 255 unknown), centre heat 0..254."""
    size = ids.shape[0]
    solid = (ids > 0).astype(np.uint8)
    unknown = ids < 0
    kernel = np.ones((3, 3), np.uint8)
    labels = np.maximum(ids, 0).astype(np.float32)
    edge = cv2.dilate(labels, kernel) != cv2.erode(labels, kernel)
    near = cv2.dilate(unknown.astype(np.uint8), kernel) > 0
    obj = np.where(unknown, UNKNOWN, solid)
    boundary = np.where(near, UNKNOWN, edge)
    heat = np.zeros((size, size), np.float32)
    for x0, y0, x1, y1 in boxes:
        cx, cy, s = (x0 + x1) / 2, (y0 + y1) / 2, max(1.5, 0.09 * max(x1 - x0, y1 - y0))
        if not (-3 * s < cx < size + 3 * s and -3 * s < cy < size + 3 * s):
            continue
        r = int(np.ceil(3 * s))
        xa, xb = max(0, int(cx) - r), min(size, int(cx) + r + 1)
        ya, yb = max(0, int(cy) - r), min(size, int(cy) + r + 1)
        if xa >= xb or ya >= yb:
            continue
        gx = np.exp(-((np.arange(xa, xb) + 0.5 - cx) ** 2) / (2 * s * s))
        gy = np.exp(-((np.arange(ya, yb) + 0.5 - cy) ** 2) / (2 * s * s))
        heat[ya:yb, xa:xb] = np.maximum(heat[ya:yb, xa:xb], gy[:, None] * gx)
    return np.stack([obj, boundary, heat * 254]).astype(np.uint8)


def unknown_boxes(ids, boxes):
    """Whole boxes inside the view whose pixels are mostly unknown."""
    out = []
    size = ids.shape[0]
    for x0, y0, x1, y1 in boxes.round().astype(int):
        if (
            x0 >= 0
            and y0 >= 0
            and x1 <= size
            and y1 <= size
            and min(x1 - x0, y1 - y0) >= 6
            and (ids[y0:y1, x0:x1] < 0).mean() > 0.7
        ):
            out.append([x0, y0, x1, y1])
    return np.array(out, np.int64).reshape(-1, 4)


def instance_loss(logits, target, valid, boxes):
    """(object BCE + Dice, boundary BCE, centre focal, projection of unknown boxes)."""
    obj, edge = target[:, 0], target[:, 1]
    heat = target[:, 2].float() / 254
    v = valid.float()
    known = v * (obj != UNKNOWN)
    t = (obj == 1).float()
    bce = F.binary_cross_entropy_with_logits(logits[:, 0], t, reduction="none")
    p = torch.sigmoid(logits[:, 0])
    dice = 1 - (2 * (p * t * known).sum() + 1) / ((p * known).sum() + (t * known).sum() + 1)
    n = known.sum().clamp(min=1)
    rare = 1 + 0.5 * t
    seg = (bce * rare * known).sum() / n + dice
    sure = v * (edge != UNKNOWN)
    te = (edge == 1).float()
    line = (
        F.binary_cross_entropy_with_logits(logits[:, 1], te, reduction="none") * (1 + 3 * te) * sure
    ).sum() / n
    # CenterNet's penalty-reduced focal loss (Zhou et al., 2019).
    c = torch.sigmoid(logits[:, 2]).clamp(1e-4, 1 - 1e-4)
    peak = (heat > 0.9).float()
    hot = -(
        peak * (1 - c) ** 2 * torch.log(c) + (1 - peak) * (1 - heat) ** 4 * c**2 * torch.log(1 - c)
    )
    centre = (hot * v).sum() / peak.sum().clamp(min=10)
    # BoxInst's projection (Tian et al., 2021): a mask reaches all four sides of its box.
    terms = []
    for k, found in enumerate(boxes):
        for x0, y0, x1, y1 in found.tolist():
            part = p[k, y0:y1, x0:x1]
            reach = 2 - part.amax(0).mean() - part.amax(1).mean()
            terms.append(reach + F.relu(part.mean() - 0.55) * 3 + F.relu(0.2 - part.mean()) * 3)
    projection = torch.stack(terms).mean() if terms else logits.new_zeros(())
    return seg, line, centre, projection
