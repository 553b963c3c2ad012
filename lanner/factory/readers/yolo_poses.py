"""Lines of keypoints among YOLO's: a box, and points of two or three numbers after it.

Their number of numbers may be that of an outline. The data file says which it is (`kpt_shape`);
where there is none, all long lines of a source must agree that they can be nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

_BOX = 4
_LEAST = 6
"""Numbers of the shortest outline."""
_FAR, _NEAR = (0.25, 0.02), (0.05, 0.0)
"""How far points may lie beyond their box, in its sides and in those of the image: where no outline
has so many numbers, and where one might."""
_ENOUGH = 3
"""Lines that must agree where nothing but their points' places tells them from outlines."""


class Poses:
    """Tells lines of keypoints from outlines.

    Args:
        shape: points and numbers a point, where the data file says so.
        lines: all numbers after the class, of each line of the source; looked at where they are
            needed.
    """

    def __init__(
        self, shape: tuple[int, int] | None, lines: Callable[[], Iterable[Sequence[float]]]
    ) -> None:
        self._known = None if shape is None else _BOX + shape[0] * shape[1]
        self._lines = lines
        self._even: int | None = None
        self._ready = False

    def is_pose(self, values: Sequence[float]) -> bool:
        """Whether a line is a box with keypoints, from its numbers after the class."""
        count = len(values)
        if self._known is not None:
            return count == self._known
        if count < _LEAST:
            return False
        if count % 2:
            # No outline has so many numbers.
            return (count - _BOX) % 3 == 0 and _inside(values, 3, _FAR)
        if not self._ready:
            self._even, self._ready = _agreed(self._lines()), True
        return count == self._even


def _agreed(lines: Iterable[Sequence[float]]) -> int | None:
    """How many numbers lines of keypoints have, where all that could be outlines are such lines.

    Points with a third number show themselves; of points of two numbers a few lines must agree.
    """
    found: int | None = None
    marked, count = True, 0
    for values in lines:
        if len(values) < _LEAST:
            continue
        if len(values) % 2 or found not in (None, len(values)) or not _spiked(values):
            return None
        marks = (len(values) - _BOX) % 3 == 0 and all(one in (0, 1, 2) for one in values[6::3])
        marked = marked and marks and _inside(values, 3, _NEAR)
        if not marked and not _inside(values, 2, _NEAR):
            return None
        found, count = len(values), count + 1
    sure = marked or (count >= _ENOUGH and found is not None and found > _LEAST)
    return found if sure else None


def _spiked(values: Sequence[float]) -> bool:
    """Whether an outline of these numbers would be odd, its second point away from the others.

    Of a box with keypoints the first pair is its centre and the second its size, which as a point
    lies where the object is not.
    """
    x, y, w, h = values[:_BOX]
    return w > 0 and h > 0 and (abs(w - x) > w / 2 or abs(h - y) > h / 2)


def _inside(values: Sequence[float], each: int, room: tuple[float, float]) -> bool:
    """Whether the points that are seen lie in their box, or nearly.

    Args:
        values: box, and points.
        each: numbers of a point.
        room: how far they may lie beyond, in sides of the box and of the image.
    """
    x, y, w, h = values[:_BOX]
    if w <= 0 or h <= 0:
        return False
    across, down = w * (0.5 + room[0]) + room[1], h * (0.5 + room[0]) + room[1]
    for k in range(_BOX, len(values), each):
        px, py = values[k], values[k + 1]
        if each == 3 and not 0 <= values[k + 2] <= 2:
            return False
        # Points that are not labelled are zeros.
        unseen = (px, py) == (0, 0) or (each == 3 and values[k + 2] == 0)
        if not unseen and (abs(px - x) > across or abs(py - y) > down):
            return False
    return True


__all__ = ["Poses"]
