"""What members and the ensemble saw on one tile, as plain arrays. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Outline = NDArray[np.float64]
"""(k, 2) ring of x, y pixels, closed (first vertex again at the end)."""
Look = Callable[[NDArray[np.float32], NDArray[np.bool_], Floats, float], Outline | None]
"""(pixels (bands, h, w) 0..1, valid (h, w), box (4,), threshold) of the picture of one object to
its ring, in pixels of the picture; several threads may ask at once."""


@dataclass(frozen=True)
class Views:
    """What one member saw on one tile, in pixels from the tile's upper left corner.

    `boxes` (n, 4) x0 y0 x1 y1; `scores` (n,) 0..1; `labels` (n,) index into the detector's
    classes; `outlines` n rings or None; `capped` whether a safety cap threw boxes away.
    """

    boxes: Floats
    scores: Floats
    labels: Ints
    outlines: tuple[Outline | None, ...]
    capped: bool = False

    def __post_init__(self) -> None:
        n = len(self.scores)
        sizes = (self.boxes.shape, self.labels.shape, len(self.outlines))
        if sizes != ((n, 4), (n,), n):
            raise ValueError(f"views of {n} scores have sizes {sizes}")

    def __len__(self) -> int:
        return len(self.scores)

    def rescored(self, scores: Floats) -> Views:
        """The same views with other scores, (n,)."""
        return replace(self, scores=scores)

    @classmethod
    def of(
        cls,
        boxes: NDArray[np.floating],
        scores: NDArray[np.floating],
        labels: NDArray[np.integer] | None = None,
        outlines: Sequence[Outline | None] | None = None,
        capped: bool = False,
    ) -> Views:
        """Views from arrays of any number type; without labels all are class 0."""
        n = len(scores)
        return cls(
            np.asarray(boxes, np.float64).reshape(-1, 4),
            np.asarray(scores, np.float64),
            np.zeros(n, np.int64) if labels is None else np.asarray(labels, np.int64),
            (None,) * n if outlines is None else tuple(outlines),
            capped,
        )


def no_views() -> Views:
    """Views of nothing."""
    return Views.of(np.empty((0, 4)), np.empty(0))


def iou_rows(one: Floats, two: Floats) -> Floats:
    """Intersection over union of boxes (..., 4), row against row; 0 where both are empty."""
    low = np.maximum(one[..., :2], two[..., :2])
    high = np.minimum(one[..., 2:], two[..., 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=-1)
    area_one = np.prod(one[..., 2:] - one[..., :2], axis=-1)
    area_two = np.prod(two[..., 2:] - two[..., :2], axis=-1)
    union = area_one + area_two - shared
    result: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result


def iou_matrix(one: Floats, two: Floats) -> Floats:
    """Intersection over union of every one of (n, 4) with every one of (m, 4) boxes, (n, m)."""
    return iou_rows(one[:, None], two[None])
