"""Pairs of lines that plainly meet nowhere but at end points they share.

Nearly all neighbours in a network are such pairs. To know that takes a few products a pair of
segments; where lines do meet is then asked of the few that are left.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiling.compiled import compiled

Index = NDArray[np.int64]
Xy = NDArray[np.float64]

CLEAR = 1e-6
"""Pixels by which one segment must pass another's ends: far above any rounding."""

BEND = 1e-6
"""Radians by which two segments that share an end must part."""


def plainly_apart(points: Xy, start: Index, one: Index, other: Index) -> NDArray[np.bool_]:
    """(m,) pairs of lines without a common point but for ends of both.

    False says nothing: such a pair has to be looked at closely.

    Args:
        points: (p, 2) coordinates of all lines end to end, grid pixels.
        start: (n + 1,) first point of each line in `points`.
        one: (m,) lines.
        other: (m,) lines.
    """
    apart = np.empty(len(one), np.bool_)
    _compare(points, start, one.astype(np.int64), other.astype(np.int64), apart)
    return apart


@compiled
def _left(points: Xy, a: int, b: int, p: int) -> float:
    """How far point p lies to the left of the line from a to b, pixels; 0 for no direction."""
    x, y = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1]
    length = np.sqrt(x * x + y * y)
    if length == 0:
        return 0.0
    cross = x * (points[p, 1] - points[a, 1]) - y * (points[p, 0] - points[a, 0])
    far: float = cross / length
    return far


@compiled
def _clear_of(points: Xy, a: int, b: int) -> bool:
    """Whether segments a, a + 1 and b, b + 1 have no common point."""
    for axis in range(2):
        low = min(points[b, axis], points[b + 1, axis]) - CLEAR
        high = max(points[b, axis], points[b + 1, axis]) + CLEAR
        if max(points[a, axis], points[a + 1, axis]) < low:
            return True
        if min(points[a, axis], points[a + 1, axis]) > high:
            return True
    for first, second in ((a, b), (b, a)):
        near = _left(points, first, first + 1, second)
        far = _left(points, first, first + 1, second + 1)
        if (near > CLEAR and far > CLEAR) or (near < -CLEAR and far < -CLEAR):
            return True
    return False


@compiled
def _fork(points: Xy, node: int, a: int, b: int) -> bool:
    """Whether segments from one point to points a and b have only that point in common."""
    ax, ay = points[a, 0] - points[node, 0], points[a, 1] - points[node, 1]
    bx, by = points[b, 0] - points[node, 0], points[b, 1] - points[node, 1]
    size = np.sqrt((ax * ax + ay * ay) * (bx * bx + by * by))
    turned: bool = abs(ax * by - ay * bx) > BEND * size
    return size > 0 and (turned or ax * bx + ay * by < 0)


@compiled
def _shared(points: Xy, a: int, b: int, ends: tuple[int, int, int, int]) -> tuple[int, int]:
    """The ends of both lines that segments a and b have in common, or -1, -1."""
    low, high, begin, end = ends
    for i in (a, a + 1):
        for k in (b, b + 1):
            both_end = i in (low, high) and k in (begin, end)
            if both_end and points[i, 0] == points[k, 0] and points[i, 1] == points[k, 1]:
                return i, k
    return -1, -1


@compiled
def _pair(points: Xy, ends: tuple[int, int, int, int]) -> bool:
    """Whether lines are plainly apart, given the first and last point of one and the other."""
    low, high, begin, end = ends
    for a in range(low, high):
        for b in range(begin, end):
            i, k = _shared(points, a, b, ends)
            if i < 0:
                if not _clear_of(points, a, b):
                    return False
            elif not _fork(points, i, 2 * a + 1 - i, 2 * b + 1 - k):
                return False
    return True


@compiled
def _compare(points: Xy, start: Index, one: Index, other: Index, apart: NDArray[np.bool_]) -> None:
    for i in range(len(one)):
        a, b = one[i], other[i]
        apart[i] = _pair(points, (start[a], start[a + 1] - 1, start[b], start[b + 1] - 1))
