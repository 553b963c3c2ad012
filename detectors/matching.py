"""Detections against the truth, and average precision, as COCO's evaluation does both.

Lin et al., 2014, "Microsoft COCO: Common objects in context". No torch here: training chooses
checkpoints by it, and the factory's figures are made of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

RECALLS: Floats = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Matched:
    """What n detections of one image are at each of t overlaps.

    `truth` (t, n): number of the object that each one is, -1 for none. `ignored` (t, n): counts
    neither for nor against.
    """

    truth: Ints
    ignored: Bools

    @property
    def hit(self) -> Bools:
        """(t, n): right and counted."""
        return (self.truth >= 0) & ~self.ignored


def overlaps(boxes: Floats, truth: Floats, regions: Bools) -> Floats:
    """(n, m) intersection over union; over the detection's own area where `regions` (m,)."""
    low = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], truth[None, :, 2:])
    shared = np.clip(high - low, 0.0, None).prod(axis=-1)
    mine = _area(boxes)[:, None]
    union = np.where(regions[None], mine, mine + _area(truth)[None] - shared)
    result: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result


def match(
    boxes: Floats,
    scores: Floats,
    truth: Floats,
    thresholds: Floats,
    ignore: Bools | None = None,
    regions: Bools | None = None,
) -> Matched:
    """Give each object its best-scored detection, best first.

    A detection takes the free object that it overlaps most. One that fits no counted object but
    an ignored one is ignored itself.

    Args:
        boxes: (n, 4) x0 y0 x1 y1.
        scores: (n,).
        truth: (m, 4).
        thresholds: (t,) least overlaps.
        ignore: (m,) objects that do not count (of another size, say); taken once each.
        regions: (m,) ignored areas, which take any number of detections, by the share of the
            detection that lies in them (COCO's crowds).
    """
    n, m, steps = len(boxes), len(truth), len(thresholds)
    area = np.zeros(m, bool) if regions is None else regions
    skip: Bools = area if ignore is None else np.asarray(ignore | area, np.bool_)
    found = np.full((steps, n), -1, np.int64)
    if not n or not m:
        return Matched(found, np.zeros((steps, n), bool))
    iou = overlaps(boxes, truth, area)
    free = np.ones((steps, m), bool)
    rows = np.arange(steps)
    least = np.minimum(thresholds, 1 - 1e-10)[:, None]
    for i in np.argsort(-scores, kind="stable").tolist():
        fits = (free & (iou[i] >= least)) * iou[i]
        # An ignored object is only second choice.
        counted = np.where(skip, 0.0, fits)
        fits = np.where(counted.any(axis=1, keepdims=True), counted, fits)
        best = fits.argmax(axis=1)
        good = fits[rows, best] > 0
        found[good, i] = best[good]
        taken = good & ~area[best]
        free[rows[taken], best[taken]] = False
    ignored: Bools = np.asarray((found >= 0) & skip[found], np.bool_)
    return Matched(found, ignored)


def average_precision(hit: Bools, counts: Floats, objects: Floats) -> Floats:
    """Mean over 101 recalls of the best precision that reaches them, for k ways to count.

    Args:
        hit: (n,) whether each detection is right, best first; ignored ones are left out.
        counts: (k, n) how often each counts: 1, or what a bootstrap drew its image.
        objects: (k,) how many there are to find.

    Returns:
        (k,); nan where there is nothing to find.
    """
    result = np.full(len(counts), np.nan)
    right = np.cumsum(counts * hit, axis=1)
    precision = right / np.maximum(np.cumsum(counts, axis=1), 1e-12)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    for k in np.flatnonzero(objects > 0).tolist():
        # A hair of slack: 0.3 of 10 objects are 3, whatever the last bit says.
        at = np.searchsorted(right[k] / objects[k], RECALLS - 1e-12)
        inside = at < len(hit)
        result[k] = envelope[k, at[inside]].sum() / len(RECALLS)
    return result


def _area(boxes: Floats) -> Floats:
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None)
    result: Floats = sides.prod(axis=1)
    return result
