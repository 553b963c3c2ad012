"""What training looks at: pictures with boxes and masks, decoded once where memory allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.morphology import skeletonize

IDS_UNKNOWN = 65535
"""In a picture's `ids`: it is not known which object, if any, the pixel belongs to."""

MASK_UNKNOWN = 255
"""In a picture's `mask`: the class is not known."""

WHITE, BLACK = 250, 8
"""Unknown pixels above the first in every channel, or below the second, are no image at all."""

Array = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """One labelled picture; nothing is decoded before it is asked for.

    Args:
        name: unique; named in errors.
        source: what it is drawn with (see `views.Pool`).
        size: width, height in pixels.
        rgb: gives uint8 (h, w, 3).
        boxes: float32 (n, 4) x0, y0, x1, y1 pixels, on pixel corners.
        classes: int64 (n,) index of each box's class.
        weights: float32 (n,) what each box counts; 0: what is there is ignored.
        ids: gives uint16 (h, w): 0 background, k + 1 inside box k, 65535 unknown; None: not known
            inside boxes, background elsewhere.
        mask: gives uint8 (h, w): 0 background, 1 the first class ..., 255 unknown; None: nothing
            there.
        odds: how often it is drawn, relative to others of its source.
    """

    name: str
    source: str
    size: tuple[int, int]
    rgb: Callable[[], Array] = field(repr=False)
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    weights: NDArray[np.float32]
    ids: Callable[[], NDArray[np.uint16]] | None = field(default=None, repr=False)
    mask: Callable[[], Array] | None = field(default=None, repr=False)
    odds: float = 1.0


@dataclass(frozen=True)
class Loaded:
    """A decoded picture.

    `rgb` uint8 (h, w, 3); `ids` uint16 (h, w) or None; `road`, `line`, `known` and `missing` bool
    (h, w) or None: foreground, its centreline one pixel wide, where the mask says anything, and
    where there is no image.
    """

    rgb: Array
    ids: NDArray[np.uint16] | None = None
    road: NDArray[np.bool_] | None = None
    line: NDArray[np.bool_] | None = None
    known: NDArray[np.bool_] | None = None
    missing: NDArray[np.bool_] | None = None

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        parts = (self.rgb, self.ids, self.road, self.line, self.known, self.missing)
        return sum(part.nbytes for part in parts if part is not None)


def decode(picture: Picture, masks: bool) -> Loaded:
    """Decode a picture: with its class mask, or (`masks` False) with its objects' ids."""
    rgb = picture.rgb()
    if not masks:
        return Loaded(rgb, None if picture.ids is None else picture.ids())
    shape = rgb.shape[:2]
    mask = np.zeros(shape, np.uint8) if picture.mask is None else picture.mask()
    known = mask != MASK_UNKNOWN
    road = known & (mask > 0)
    line = skeletonize(road) if road.any() else road  # type: ignore[no-untyped-call]
    missing = None
    if not known.all():
        white = (~known & (rgb > WHITE).all(2)).astype(np.uint8)
        # A shadow is black too, but no square of 9 pixels of an unknown rim.
        black = (~known & (rgb < BLACK).all(2)).astype(np.uint8)
        black = cv2.morphologyEx(black, cv2.MORPH_OPEN, np.ones((9, 9), np.uint8))
        # Lossy coding greys the rim of what is missing.
        missing = (cv2.dilate(white | black, np.ones((9, 9), np.uint8)) > 0) & ~known
        missing = missing if missing.any() else None
    return Loaded(rgb, None, road, line, known, missing)


class Album:
    """Decoded pictures, kept in memory in order until a budget is used, else decoded each time.

    Processes forked after `fill` share its memory. What comes out does not depend on the budget.

    Args:
        pictures: in order.
        masks: decode class masks and centrelines rather than ids.
    """

    def __init__(self, pictures: Sequence[Picture], masks: bool) -> None:
        self.pictures = tuple(pictures)
        self._masks = masks
        self._kept: dict[int, Loaded] = {}

    def fill(self, budget: int, each: Callable[[int, int], None] = lambda a, b: None) -> int:
        """Decode and keep until `budget` bytes are used; returns the bytes left.

        `each` is told of pictures done and their number.
        """
        for k in range(len(self.pictures)):
            if k in self._kept:
                continue
            loaded = decode(self.pictures[k], self._masks)
            if loaded.nbytes > budget:
                break
            self._kept[k] = loaded
            budget -= loaded.nbytes
            each(k + 1, len(self.pictures))
        return budget

    def __getitem__(self, k: int) -> Loaded:
        """The k-th picture, decoded."""
        kept = self._kept.get(k)
        return decode(self.pictures[k], self._masks) if kept is None else kept

    def __len__(self) -> int:
        return len(self.pictures)
