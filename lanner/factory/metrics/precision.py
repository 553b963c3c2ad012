"""Average precision and F1 over many images, as statistics that can be resampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.matching import Bools, Floats, Ints, Matched, average_precision, match
from lanner.factory.metrics.bootstrap import Statistic

COCO_IOU: Floats = np.round(np.arange(0.5, 0.96, 0.05), 2)
AREAS = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, np.inf)}
"""Square pixels, as COCO names them; an area on the border belongs to the larger."""

CHUNK = 64
"""Draws that are worked on at once: some 10 MB for ten thousand detections."""


@dataclass(frozen=True)
class Truth:
    """Objects of one image and one class: (m, 4) boxes and (m,) whether each is not to count."""

    boxes: Floats
    ignored: Bools


@dataclass(frozen=True)
class Pool:
    """All detections of a set that count, best first, against its truth.

    `scores` (n,), `hit` (t, n), `counts` (t, n) False for what is ignored, `image` (n,), and
    `objects` (images,), how many there are to find.
    """

    scores: Floats
    hit: Bools
    counts: Bools
    image: Ints
    objects: Floats

    def sorted(self) -> Pool:
        """The same, best first again; of equals the first stays the first."""
        order = np.argsort(-self.scores, kind="stable")
        return Pool(
            self.scores[order],
            self.hit[:, order],
            self.counts[:, order],
            self.image[order],
            self.objects,
        )

    def statistic(self) -> Statistic:
        """Mean average precision over the t overlaps."""
        levels = range(len(self.hit))

        def mean(weights: Floats) -> Floats:
            values: Floats = np.mean([_average(self, t, weights) for t in levels], axis=0)
            return values

        return mean


def pool(
    found: Sequence[tuple[Floats, Floats]],
    truth: Sequence[Truth],
    thresholds: Floats,
    area: tuple[float, float] | None = None,
) -> Pool:
    """Match every image and put the detections together.

    Unlike COCO all of an image's detections count, not the best hundred: a scene may hold more
    objects. Areas are those of boxes.

    Args:
        found: (boxes, scores) of each image.
        truth: of each image.
        thresholds: (t,) overlaps.
        area: only objects of so many square pixels count (COCO's area ranges): other objects
            are ignored, and so is what is found in another size and is none of these.
    """
    scores, hits, counts, images, objects = [], [], [], [], []
    for i, ((boxes, score), real) in enumerate(zip(found, truth, strict=True)):
        other = np.zeros(len(real.boxes), bool) if area is None else _outside(real.boxes, area)
        matches = match(boxes, score, real.boxes, thresholds, other, real.ignored)
        ignored = matches.ignored
        if area is not None:
            ignored = ignored | ((matches.truth < 0) & _outside(boxes, area)[None])
        scores.append(score)
        hits.append(matches.hit)
        counts.append(~ignored)
        images.append(np.full(len(score), i, np.int64))
        objects.append(np.count_nonzero(~other & ~real.ignored))
    empty = np.empty((len(thresholds), 0), bool)
    return Pool(
        np.concatenate([np.empty(0), *scores]),
        np.concatenate([empty, *hits], axis=1),
        np.concatenate([empty, *counts], axis=1),
        np.concatenate([np.empty(0, np.int64), *images]),
        np.asarray(objects, np.float64),
    ).sorted()


def mean_statistic(pools: Sequence[Pool]) -> Statistic:
    """The mean over classes, of those that have objects."""
    parts = [one.statistic() for one in pools]

    def mean(weights: Floats) -> Floats:
        values = np.stack([part(weights) for part in parts])
        known = np.isfinite(values)
        total = np.where(known, values, 0).sum(axis=0)
        count = known.sum(axis=0)
        result: Floats = np.full(len(total), np.nan)
        np.divide(total, count, out=result, where=count > 0)
        return result

    return mean


def curve(one: Pool, level: int = 0) -> tuple[Floats, Floats, Floats]:
    """(n,) scores, precision and recall along the counted detections at one overlap."""
    keep = one.counts[level]
    hit = np.cumsum(one.hit[level][keep]).astype(np.float64)
    total = max(float(one.objects.sum()), 1e-12)
    return one.scores[keep], hit / np.arange(1, len(hit) + 1), hit / total


def best_f1(one: Pool, level: int = 0) -> tuple[float, float]:
    """The highest F1 of any score threshold, and that threshold; nan without detections."""
    scores, precision, recall = curve(one, level)
    if not len(scores):
        return float("nan"), float("nan")
    value = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    # A threshold takes all of one score or none.
    last = np.append(scores[1:] != scores[:-1], True)
    value = np.where(last, value, -1)
    best = int(value.argmax())
    return float(value[best]), float(scores[best])


def per_image(one: Pool, level: int = 0) -> tuple[Floats, Floats, Floats]:
    """(images,) right, found and true objects at one overlap."""
    size = len(one.objects)
    right = np.bincount(one.image, one.hit[level], size).astype(np.float64)
    found = np.bincount(one.image, one.counts[level], size).astype(np.float64)
    return right, found, one.objects


def _average(one: Pool, level: int, weights: Floats) -> Floats:
    """(k,) average precision at 101 recalls, by (k, images) weights."""
    result = np.full(len(weights), np.nan)
    keep = one.counts[level]
    image, hit = one.image[keep], one.hit[level][keep]
    for low in range(0, len(weights), CHUNK):
        part = weights[low : low + CHUNK]
        result[low : low + CHUNK] = average_precision(hit, part[:, image], part @ one.objects)
    return result


def _outside(boxes: Floats, area: tuple[float, float]) -> NDArray[np.bool_]:
    size = np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None).prod(axis=1)
    outside: NDArray[np.bool_] = (size < area[0]) | (size >= area[1])
    return outside


__all__ = [
    "AREAS",
    "COCO_IOU",
    "Matched",
    "Pool",
    "Truth",
    "best_f1",
    "curve",
    "mean_statistic",
    "per_image",
    "pool",
]
