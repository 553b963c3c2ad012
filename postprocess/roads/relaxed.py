"""Relaxed precision and recall of roads: right within a buffer is right.

Wiedemann et al. (1998) match lines within a buffer; Mnih & Hinton (2010) do so with pixels:
precision is the part of what was found within the buffer of the truth, recall the part of the
truth within the buffer of what was found.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Relaxed:
    """Counts (pixels, or points along lines) that add up over images, and the measures.

    `found_right` of `found` lie near the truth, `truth_right` of `truth` near what was found.
    """

    found_right: int
    found: int
    truth_right: int
    truth: int

    def __add__(self, other: Relaxed) -> Relaxed:
        return Relaxed(
            self.found_right + other.found_right,
            self.found + other.found,
            self.truth_right + other.truth_right,
            self.truth + other.truth,
        )

    @property
    def precision(self) -> float:
        """0..1; nan when nothing was found."""
        return self.found_right / self.found if self.found else nan

    @property
    def recall(self) -> float:
        """0..1; nan when there is nothing to find."""
        return self.truth_right / self.truth if self.truth else nan

    @property
    def f1(self) -> float:
        """Harmonic mean; 0 where nothing matches, nan where there is nothing to match."""
        if not self.found and not self.truth:
            return nan
        if not self.found_right or not self.truth_right:
            return 0.0
        return 2 * self.precision * self.recall / (self.precision + self.recall)


def relaxed_masks(found: Mask, truth: Mask, buffer: float, valid: Mask | None = None) -> Relaxed:
    """Compare two masks.

    Args:
        found: (h, w) bool.
        truth: (h, w) bool.
        buffer: pixels between pixel centres, inclusive.
        valid: (h, w) bool; elsewhere nothing counts, as a find or as truth.
    """
    if valid is not None:
        found, truth = found & valid, truth & valid
    return Relaxed(
        int(np.count_nonzero(found & _near(truth, buffer))),
        int(np.count_nonzero(found)),
        int(np.count_nonzero(truth & _near(found, buffer))),
        int(np.count_nonzero(truth)),
    )


def relaxed_lines(
    found: NDArray[np.object_],
    truth: NDArray[np.object_],
    buffer: float,
    valid: Mask | None = None,
    spacing: float = 0.5,
) -> Relaxed:
    """Compare two sets of lines by points `spacing` apart along them, each weighing the same.

    Args:
        found: (n,) LineStrings in pixels, integers on pixel corners.
        truth: (m,) LineStrings likewise.
        buffer: pixels, inclusive; distances are exact, no raster is involved.
        valid: (h, w) bool; points elsewhere, or outside it, do not count.
        spacing: pixels; each stretch of a line that long is one count.
    """
    a, b = _points(found, spacing, valid), _points(truth, spacing, valid)
    return Relaxed(_within(a, truth, buffer), len(a), _within(b, found, buffer), len(b))


def _near(mask: Mask, buffer: float) -> Mask:
    if not mask.any():
        return mask
    return np.asarray(ndimage.distance_transform_edt(~mask) <= buffer, np.bool_)


def _points(lines: NDArray[np.object_], spacing: float, valid: Mask | None) -> NDArray[np.object_]:
    """Middles of equal stretches of each line, those on valid pixels."""
    length = shapely.length(lines)
    count = np.maximum(np.round(length / spacing).astype(np.int64), 1)
    count[length <= 0] = 0
    line = np.repeat(np.arange(len(count)), count)
    place = (np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count) + 0.5) / count[line]
    points = shapely.line_interpolate_point(lines[line], place, normalized=True)
    if valid is None or not len(points):
        return np.asarray(points, dtype=object)
    col, row = np.floor(shapely.get_coordinates(points)).astype(np.int64).T
    height, width = valid.shape
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    inside[inside] = valid[row[inside], col[inside]]
    return np.asarray(points[inside], dtype=object)


def _within(points: NDArray[np.object_], lines: NDArray[np.object_], buffer: float) -> int:
    if not len(points) or not len(lines):
        return 0
    near = shapely.STRtree(lines).query(points, predicate="dwithin", distance=buffer)[0]
    return len(np.unique(near))
