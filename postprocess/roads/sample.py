"""Values of the rasters at points of lines: probability, ridge signal, half width."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import ceil

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from scipy import ndimage

from postprocess.context import Context
from postprocess.roads.raster import (
    TILE,
    Block,
    at_points,
    centreline_band,
    read,
    read_valid,
)
from tiling.compiled import compiled
from tiling.grid import Box

Xy = NDArray[np.float64]
Values = NDArray[np.float64]

FEW = 2000
"""Points whose profiles are worked on at once: a profile has some thirty values."""


def along(lines: NDArray[np.object_], spacing: float) -> tuple[Xy, NDArray[np.int64]]:
    """Points at most `spacing` apart along lines, ends included: (n, 2) and each one's line."""
    dense = shapely.segmentize(lines, spacing)
    points, owner = shapely.get_coordinates(dense, return_index=True)
    return np.asarray(points, np.float64), np.asarray(owner, np.int64)


def batches(lines: NDArray[np.object_], spacing: float, most: int = 250_000) -> Iterator[slice]:
    """Runs of lines that hold about `most` points at that spacing: memory follows the run."""
    if len(lines):
        points = np.cumsum(shapely.length(lines) / spacing + shapely.get_num_coordinates(lines))
        cuts = np.flatnonzero(np.diff(points // most)) + 1
        for low, high in pairwise([0, *cuts.tolist(), len(lines)]):
            yield slice(low, high)


def astray(context: Context, lines: NDArray[np.object_], spacing: float) -> NDArray[np.bool_]:
    """(n,) whether a line leaves the valid pixels, looked at every `spacing` pixels."""
    out = np.zeros(len(lines), np.bool_)
    for some in batches(lines, spacing):
        points, owner = along(lines[some], spacing)
        off = owner[~on_valid(context, points)]
        out[some] = np.bincount(off, minlength=some.stop - some.start) > 0
    return out


def probability(context: Context, points: Xy, raster: str = "probability") -> Values:
    """(n,) probability 0..1 at (n, 2) grid pixels, bilinear; an invalid pixel counts as 0."""
    out = np.zeros(len(points))
    for dataset, block, part in at_points(context, raster, points, 2):
        out[part] = bilinear(valid_probability(dataset, block.window), block.window, points[part])
    return out


def on_valid(context: Context, points: Xy) -> NDArray[np.bool_]:
    """(n,) whether (n, 2) grid pixels lie on valid pixels of the grid."""
    out = np.zeros(len(points), np.bool_)
    for dataset, block, part in at_points(context, "probability", points, 0):
        inside = _within(block.window, points[part])
        out[part] = inside & _at(read_valid(dataset, block.window), block, points[part])
    return out


def profiles(
    context: Context, points: Xy, across: Xy, reach: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Ridge signal on the normals through points, of a few of them at a time.

    The signal is the probability, brought to a point by the `centreline` band where the detector
    gave one: probability * (1 + 3 * centreline) / 4.

    Args:
        context: of the run.
        points: (n, 2) grid pixels.
        across: (n, 2) unit normals.
        reach: pixels on either side.

    Yields:
        (k,) numbers of points, and (k, 2 * reach + 1) float32 values at offsets -reach .. reach.
    """
    offsets = np.arange(-reach, reach + 1)
    for dataset, block, part in at_points(context, "probability", points, reach + 2):
        image = valid_probability(dataset, block.window)
        band = centreline_band(dataset)
        if band is not None:
            _sharpen(image, read(dataset, block.window, band))
        for some in np.split(part, range(FEW, len(part), FEW)):
            places = points[some, None] + offsets[:, None] * across[some, None]
            values = bilinear(image, block.window, places.reshape(-1, 2))
            yield some, values.reshape(len(some), -1).astype(np.float32)
        del image  # before the next one is read


def _sharpen(image: NDArray[np.float32], raw: NDArray[np.uint8]) -> None:
    """Times (1 + 3 * centreline) / 4, in place; a few rows at a time, the image is large enough."""
    for low in range(0, len(image), TILE):
        centre = raw[low : low + TILE].astype(np.float32)
        centre /= np.float32(255)
        centre *= 3
        centre += 1
        centre /= 4
        image[low : low + TILE] *= centre


def half_widths(context: Context, points: Xy, reach: float) -> Values:
    """(n,) grid pixels from points to the border of the raster `clean`, at most `reach`.

    The Euclidean distance transform (Danielsson, 1980) at sub-pixel points: the distance to the
    nearest background pixel's centre, less half a pixel. 0 outside the mask. The grid's own border
    is no border of a road.
    """
    out = np.zeros(len(points))
    for dataset, block, part in at_points(context, "clean", points, ceil(reach) + 2):
        mask = read(dataset, block.window) > 0
        far = np.empty(len(part))
        corner = np.array([block.window.x0, block.window.y0], np.float64)
        size = np.array([dataset.width, dataset.height], np.float64)
        _to_background(mask, corner, size, points[part], reach + 0.5, far)
        out[part] = np.clip(far - 0.5, 0, None) * _at(mask, block, points[part])
    return out


@compiled
def _nearer(
    row: NDArray[np.bool_], left: int, right: int, x0: float, x: float, dy2: float, best: float
) -> float:
    """The lesser of `best` and the squared distance to what is off the mask in one row."""
    after = int(np.ceil(x - 0.5 - x0))
    for col in range(max(after, left), right):
        dx = x - (col + x0 + 0.5)
        if dx * dx + dy2 >= best:
            break
        if not row[col]:
            best = dx * dx + dy2
    for col in range(min(after, right) - 1, left - 1, -1):
        dx = x - (col + x0 + 0.5)
        if dx * dx + dy2 >= best:
            break
        if not row[col]:
            best = dx * dx + dy2
    return best


@compiled
def _to_background(
    mask: NDArray[np.bool_], corner: Values, size: Values, points: Xy, most: float, far: Values
) -> None:
    """Distance of each point from the nearest pixel centre off the mask, at most `most`.

    What of the window, whose first pixel is the grid's `corner`, hangs over the grid's border is
    not looked at. Rows are tried away from the point, as far as something nearer can still come.
    """
    rows, cols = mask.shape
    top, bottom = int(max(-corner[1], 0)), int(min(size[1] - corner[1], rows))
    left, right = int(max(-corner[0], 0)), int(min(size[0] - corner[0], cols))
    for i in range(len(points)):
        x, y = points[i]
        best = most * most
        below = int(np.ceil(y - 0.5 - corner[1]))
        for row in range(max(below, top), bottom):
            dy = y - (row + corner[1] + 0.5)
            if dy * dy >= best:
                break
            best = _nearer(mask[row], left, right, corner[0], x, dy * dy, best)
        for row in range(min(below, bottom) - 1, top - 1, -1):
            dy = y - (row + corner[1] + 0.5)
            if dy * dy >= best:
                break
            best = _nearer(mask[row], left, right, corner[0], x, dy * dy, best)
        far[i] = np.sqrt(best)


def valid_probability(dataset: DatasetReader, box: Box) -> NDArray[np.float32]:
    """(box height, box width) probability 0..1 of band 1, 0 where invalid."""
    raw = read(dataset, box)
    if raw.any():
        raw[~read_valid(dataset, box)] = 0
    image = raw.astype(np.float32)
    image /= np.float32(255)
    return image


def bilinear(image: NDArray[np.float32], box: Box, points: Xy) -> Values:
    """(n,) values of an image that covers `box`, at (n, 2) grid pixels; 0 outside."""
    places = np.stack([points[:, 1] - box.y0 - 0.5, points[:, 0] - box.x0 - 0.5])
    return np.asarray(ndimage.map_coordinates(image, places, order=1, mode="constant"), np.float64)


def _within(box: Box, points: Xy) -> NDArray[np.bool_]:
    low, high = (box.x0, box.y0), (box.x1, box.y1)
    return np.asarray(((points >= low) & (points < high)).all(axis=1))


def _at(mask: NDArray[np.bool_], block: Block, points: Xy) -> NDArray[np.bool_]:
    """(n,) the mask's pixels at points; the nearest one for a point outside the window."""
    col = np.clip(points[:, 0].astype(np.int64) - block.window.x0, 0, mask.shape[1] - 1)
    row = np.clip(points[:, 1].astype(np.int64) - block.window.y0, 0, mask.shape[0] - 1)
    return np.asarray(mask[row, col], np.bool_)
