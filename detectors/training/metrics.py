"""Cheap figures for choosing a checkpoint; the ones that are reported come from `evaluate`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Boxes = NDArray[np.float32]


def box_iou(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """(n, m) intersection over union of boxes (n, 4) and (m, 4), x0 y0 x1 y1."""
    left = np.maximum(a[:, None, :2], b[None, :, :2])
    right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = (right - left).clip(0).prod(2).astype(float)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(1), (b[:, 2:] - b[:, :2]).prod(1)
    union = area_a[:, None] + area_b[None] - inter
    return np.asarray(inter / union.clip(1e-9), np.float64)


def hits(boxes: Boxes, truth: Boxes, ignored: Boxes, iou: float = 0.5) -> NDArray[np.int8]:
    """Which boxes, best first, are right: 1 right, 0 wrong, -1 on ignored ground (not counted).

    Each truth is taken by the first box that overlaps it by `iou`.
    """
    out = np.zeros(len(boxes), np.int8)
    overlap = box_iou(boxes, truth)
    free = np.ones(len(truth), bool)
    for k in range(len(boxes)):
        row = np.where(free, overlap[k], -1.0)
        best = int(row.argmax()) if len(row) else -1
        if best >= 0 and row[best] >= iou:
            out[k], free[best] = 1, False
    if len(ignored):
        out[(out == 0) & (inside_of(boxes, ignored) > 0.5)] = -1
    return out


def inside_of(boxes: Boxes, areas: Boxes) -> NDArray[np.float64]:
    """(n,) largest share of each box that lies inside one of the areas (m, 4), m > 0."""
    left = np.maximum(boxes[:, None, :2], areas[None, :, :2])
    right = np.minimum(boxes[:, None, 2:], areas[None, :, 2:])
    inter = (right - left).clip(0).prod(2).astype(float)
    whole = (boxes[:, 2:] - boxes[:, :2]).prod(1).clip(1e-9)
    return np.asarray((inter / whole[:, None]).max(1), np.float64)


def average_precision(scores: NDArray[np.float64], right: NDArray[np.bool_], total: int) -> float:
    """COCO's 101-point average precision of `total` objects; 0 where there are none."""
    if total == 0 or len(scores) == 0:
        return 0.0
    order = np.argsort(-scores, kind="stable")
    tp = np.cumsum(right[order])
    precision, recall = tp / np.arange(1, len(tp) + 1), tp / total
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, np.linspace(0, 1, 101))
    return float(np.mean([envelope[k] if k < len(envelope) else 0.0 for k in at]))


@dataclass
class BoxMeter:
    """AP50 over batches, the mean of the classes that occur."""

    found: dict[int, list[tuple[float, bool]]] = field(default_factory=dict)
    totals: dict[int, int] = field(default_factory=dict)

    def image(self, views: Any, truth: Boxes, classes: NDArray[np.int64], ignored: Boxes) -> None:
        """Take one image in: `views` has boxes, scores and labels, best first."""
        for label in sorted({*classes.tolist(), *np.asarray(views.labels).tolist()}):
            mine, own = np.asarray(views.labels) == label, classes == label
            self.totals[label] = self.totals.get(label, 0) + int(own.sum())
            marks = hits(views.boxes[mine], truth[own], ignored)
            pairs = zip(views.scores[mine].tolist(), marks.tolist(), strict=True)
            self.found.setdefault(label, []).extend((s, m == 1) for s, m in pairs if m >= 0)

    def value(self) -> float:
        """AP50."""
        each = []
        for label, total in sorted(self.totals.items()):
            if total:
                pairs = self.found.get(label, [])
                scores = np.array([s for s, _ in pairs], float)
                each.append(average_precision(scores, np.array([r for _, r in pairs], bool), total))
        return float(np.mean(each)) if each else 0.0


@dataclass
class PixelMeter:
    """F1 of foreground pixels over batches."""

    both: int = 0
    said: int = 0
    true: int = 0

    def pixels(self, logits: Tensor, truth: Tensor, judged: Tensor) -> None:
        """Take logits, bool truth and bool judged of one shape in."""
        said = (logits > 0) & judged
        true = truth & judged
        self.both += int(torch.count_nonzero(said & true))
        self.said += int(torch.count_nonzero(said))
        self.true += int(torch.count_nonzero(true))

    def value(self) -> float:
        """F1; 0 where there is neither truth nor claim."""
        return 2 * self.both / max(1, self.said + self.true)
