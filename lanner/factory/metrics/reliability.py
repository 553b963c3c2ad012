"""Whether scores mean what they say (Guo et al., 2017, "On Calibration of Modern Networks")."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.matching import Floats, Ints
from lanner.factory.metrics.bootstrap import Statistic

BINS = 10


@dataclass(frozen=True)
class Reliability:
    """(images, bins) sums over candidates: of scores, of right ones, and their weight."""

    score: Floats
    right: Floats
    weight: Floats

    def error(self) -> Statistic:
        """Expected calibration error: |right - said| by bin, weighted by how many are in it."""

        def statistic(weights: Floats) -> Floats:
            gap = np.abs(weights @ self.right - weights @ self.score).sum(axis=1)
            total = (weights @ self.weight).sum(axis=1)
            error: Floats = np.full(len(gap), np.nan)
            np.divide(gap, total, out=error, where=total > 0)
            return error

        return statistic

    def diagram(self) -> list[dict[str, float]]:
        """Bins that hold something: `said` and `right` (means), `share` of all."""
        score, right, weight = (x.sum(axis=0) for x in (self.score, self.right, self.weight))
        total = max(float(weight.sum()), 1e-12)
        return [
            {
                "said": round(float(score[b] / weight[b]), 6),
                "right": round(float(right[b] / weight[b]), 6),
                "share": round(float(weight[b] / total), 6),
            }
            for b in range(len(weight))
            if weight[b] > 0
        ]


def reliability(
    scores: Floats,
    right: Floats,
    image: Ints,
    images: int,
    weight: Floats | None = None,
    bins: int = BINS,
) -> Reliability:
    """Sums by image and bin of equal width.

    Args:
        scores: (n,) 0..1.
        right: (n,) 0..1, 1 for a right candidate (a share where it can be right in part).
        image: (n,) number of its image.
        images: how many there are.
        weight: (n,) what each counts; None for 1.
        bins: number of bins.
    """
    heavy = np.ones(len(scores)) if weight is None else weight
    bin_of = np.clip((scores * bins).astype(np.int64), 0, bins - 1)
    cell = image * bins + bin_of
    sums = [
        np.bincount(cell, heavy * part, images * bins).reshape(images, bins)
        for part in (scores, right, np.ones(len(scores)))
    ]
    return Reliability(*(np.asarray(part, np.float64) for part in sums))
