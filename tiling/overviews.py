"""Whether a raster's overviews show what the raster shows, before they are read in its place.

Software leaves overviews blank, or as they were before the pixels changed, and nothing in the
file says so. A few windows of an overview are held against the pixels they stand for: whatever
way it was resampled, it lies between the smallest and the largest of those.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiling.access import opened
from tiling.grid import Box
from tiling.names import is_remote
from tiling.raw import Source
from tiling.sidecars import Stamp
from tiling.unread import read_through

if TYPE_CHECKING:
    from tiling.scene import Scene

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

DEEP = 4.0
"""Reductions beyond this first take an overview of the file or means of whole blocks."""

_LOCAL = tuple(((x + 0.5) / 4, (y + 0.5) / 4) for y in range(4) for x in range(4))
_REMOTE = ((0.5, 0.5), (0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))
"""Where windows lie, as shares of width and height; over a network each is a request."""
_WINDOW = 256
"""Side of a window in scene pixels, about."""
_FEW, _MANY, _TWICE = 0.05, 0.5, 2
"""Too much: shares of pixels that disagree in all windows together or in one alone, and windows
whose means do. Of airborne and satellite images, whatever the resampling and JPEG's quality, no
overview had more than 0.002, 0.03 and none."""
_LOSS = 0.05
"""What lossy compression may change, as a share of the window's range (of 8 bits: of theirs)."""
_SHIFT, _CHANCE = 0.15, 5.0
"""What resampling may shift a window's mean by, in its standard deviations: always, and for a
window of one pixel; one that takes single pixels errs by chance, the less the more there are."""


def fitting(factors: tuple[int, ...], reduction: float) -> int | None:
    """Index of the coarsest overview that leaves two pixels a grid pixel; None where none is read.

    Args:
        factors: how much each overview reduces.
        reduction: scene pixels a grid pixel, the smaller of both axes.
    """
    if reduction <= DEEP:
        return None
    fit = [(f, i) for i, f in enumerate(factors) if 2 <= f <= reduction / 2]
    return max(fit)[1] if fit else None


def is_true(scene: Scene, overview: int) -> bool:
    """Whether an overview of a scene agrees with its pixels where they were compared.

    Reads a few windows of both, once for each state of the files.

    Raises:
        SceneError: the scene cannot be read.
    """
    if is_remote(scene.uri):
        return _agrees(scene, overview, ())
    with opened(scene.uri) as dataset:
        return _agrees(scene, overview, tuple(Stamp.of(name) for name in dataset.files))


@lru_cache(maxsize=128)
def _agrees(scene: Scene, overview: int, _: tuple[Stamp, ...]) -> bool:
    odd = compared = shifted = 0
    for pixels, valid, small, held in _windows(scene, overview):
        wrong, count, moved = _compare(pixels, valid, small, held, scene.dtype == "uint8")
        odd, compared, shifted = odd + wrong, compared + count, shifted + moved
        if wrong > _MANY * count:
            return False
    return odd <= _FEW * compared and shifted < _TWICE


def _windows(
    scene: Scene, overview: int
) -> Iterator[tuple[NDArray[Any], Mask, NDArray[Any], Mask]]:
    """Windows of the scene, and of the overview: pixels and validity of both.

    The first are a whole number of times as large as the second.
    """
    indices = scene.found.indices[:3]
    with opened(scene.uri) as whole, opened(scene.uri, overview) as small:
        base = Source(whole, scene.uri, indices, scene.found.alpha)
        reduced = Source(small, scene.uri, indices, scene.found.alpha)
        fx, fy = whole.width / small.width, whole.height / small.height
        across, down = max(1, round(fx)), max(1, round(fy))
        rows, cols = whole.block_shapes[0]
        for x, y in _REMOTE if is_remote(scene.uri) else _LOCAL:
            # From a block's corner, so that few of them are decoded.
            x0 = _start(x * whole.width, cols, across) / fx
            y0 = _start(y * whole.height, rows, down) / fy
            left, top = int(x0), int(y0)
            n = max(4, _WINDOW // max(across, down))
            width = min(n, small.width - left, int((whole.width - left * fx) / across))
            height = min(n, small.height - top, int((whole.height - top * fy) / down))
            if width < 2 or height < 2:
                continue
            x1, y1 = int(left * fx), int(top * fy)
            box = Box(x1, y1, x1 + width * across, y1 + height * down)
            pixels, valid, _ = read_through(base, box)
            box = Box(left, top, left + width, top + height)
            yield pixels, valid, *read_through(reduced, box)[:2]


def _start(middle: float, block: int, factor: int) -> float:
    """The corner of the block that holds a pixel; the pixel itself where blocks are long."""
    return middle // block * block if factor <= block <= 2 * _WINDOW * factor else middle


def _compare(
    pixels: NDArray[Any], valid: Mask, small: NDArray[Any], held: Mask, byte: bool
) -> tuple[int, int, int]:
    """How many pixels of an overview's window disagree, of how many, and whether its mean does."""
    height, width = held.shape
    blocks = (height, valid.shape[0] // height, width, valid.shape[1] // width)
    if not valid.any():
        return 0, 0, 0
    values = pixels.astype(np.float32)
    low = np.where(valid, values, np.inf).reshape(-1, *blocks).min(axis=(2, 4))
    high = np.where(valid, values, -np.inf).reshape(-1, *blocks).max(axis=(2, 4))
    share = valid.reshape(blocks).mean(axis=(1, 3))
    low, high = _around(low, np.minimum), _around(high, np.maximum)
    whole = _around(share[None], np.minimum)[0] == 1
    spread = 255.0 if byte else float(np.ptp(values[:, valid]))
    room = _LOSS * spread + 0.02 * np.abs(np.where(np.isfinite(high), high, 0)) + 1e-6
    room += 0.1 * np.where(np.isfinite(high - low), high - low, 0)
    if pixels.dtype.kind in "ui":
        room += 1
    outside = ((small < low - room) | (small > high + room)).any(axis=0) & held
    missing = ~held & whole
    comparable = (held & np.isfinite(low).all(axis=0)) | whole
    wrong = int(((outside | missing) & comparable).sum())
    moved = 0
    if held.all() and valid.all():
        off = np.abs(small.mean(axis=(1, 2)) - values.mean(axis=(1, 2)))
        allowed = _SHIFT + _CHANCE / np.sqrt(held.size)
        moved = int((off > allowed * values.std(axis=(1, 2)) + 0.01 * spread + 1e-6).any())
    return wrong, int(comparable.sum()), moved


def _around(values: NDArray[Any], take: np.ufunc) -> NDArray[Any]:
    """Each pixel's smallest or largest neighbour or itself, (bands, h, w)."""
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = values.shape[1:]
    out = values
    for dy in range(3):
        for dx in range(3):
            out = take(out, padded[:, dy : dy + height, dx : dx + width])
    return out
