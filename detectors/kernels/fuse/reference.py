"""Clusters of boxes by comparing each box with every cluster."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.views import Ints
from tiling.compiled import compiled

Sides = NDArray[np.floating[Any]]


def clusters(boxes: Sides, say: Sides, labels: Ints, least: float) -> Ints:
    """See `detectors.kernels.fuse.grid.clusters`."""
    kind = np.float32 if boxes.dtype == np.float32 else np.float64
    found: Ints = _clusters(
        np.ascontiguousarray(boxes, kind),
        np.ascontiguousarray(say, kind),
        np.ascontiguousarray(labels, np.int64),
        kind(least),
    )
    return found


@compiled
def _clusters(boxes: Sides, say: Sides, labels: Ints, least: Any) -> Ints:
    n = len(boxes)
    cluster = np.empty(n, np.int64)
    mean, weighted, total = np.empty_like(boxes), np.empty_like(boxes), np.empty_like(say)
    kind, count = np.empty(n, np.int64), 0
    for i in range(n):
        x0, y0, x1, y1 = boxes[i]
        area = (x1 - x0) * (y1 - y0)
        best, most = -1, least
        for k in range(count):
            if kind[k] != labels[i]:
                continue
            wide = min(x1, mean[k, 2]) - max(x0, mean[k, 0])
            high = min(y1, mean[k, 3]) - max(y0, mean[k, 1])
            if wide <= 0.0 or high <= 0.0:
                continue
            shared = wide * high
            other = (mean[k, 2] - mean[k, 0]) * (mean[k, 3] - mean[k, 1])
            overlap = shared / (area + other - shared)
            # Of equal overlaps the first counts.
            if overlap > most:
                best, most = k, overlap
        if best < 0:
            best, count = count, count + 1
            total[best], kind[best] = say[i], labels[i]
            mean[best] = boxes[i]
            weighted[best] = say[i] * boxes[i]
        else:
            total[best] += say[i]
            for c in range(4):
                weighted[best, c] += say[i] * boxes[i, c]
                # What counts for nothing moves nothing.
                if total[best] > 0.0:
                    mean[best, c] = weighted[best, c] / total[best]
        cluster[i] = best
    return cluster
