"""The one loop of weighted box fusion that goes box by box."""

from __future__ import annotations

import numpy as np

from detectors.views import Floats, Ints
from tiling.compiled import compiled


def clusters(boxes: Floats, say: Floats, labels: Ints, least: float) -> Ints:
    """Each box joins the cluster whose mean box it overlaps most, or founds one.

    The mean, weighted by `say`, moves with every box that joins, so the order of boxes matters
    (Solovyev et al., 2021, Weighted boxes fusion).

    Args:
        boxes: (n, 4) x0 y0 x1 y1, those that say most first.
        say: (n,) what each box counts, from 0.
        labels: (n,) classes; only boxes of one class join.
        least: overlap (IoU) above which a box joins.

    Returns:
        (n,) number of the cluster of each box, in the order they were founded.
    """
    found: Ints = _clusters(
        np.ascontiguousarray(boxes, np.float64),
        np.ascontiguousarray(say, np.float64),
        np.ascontiguousarray(labels, np.int64),
        float(least),
    )
    return found


@compiled
def _clusters(boxes: Floats, say: Floats, labels: Ints, least: float) -> Ints:
    n = len(boxes)
    cluster = np.empty(n, np.int64)
    mean, weighted = np.empty((n, 4)), np.empty((n, 4))
    total, kind, count = np.empty(n), np.empty(n, np.int64), 0
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
