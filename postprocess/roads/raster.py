"""Grid rasters block by block: memory follows the block, never the grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from math import ceil

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.windows import Window

from lanner.core.errors import StepError
from lanner.core.files import replacing
from lanner.core.machine import trim_heap
from postprocess.context import Context
from tiling.grid import Box

BLOCK = 2048
"""Side of a block in grid pixels; results do not depend on it."""

LARGE = 1 << 26
"""Pixels of a raster that fills GDAL's cache of 64 MB; memory of less is not worth giving back."""

PATCH = 1024
"""Side of the blocks in which rasters are looked at along lines."""

TOGETHER = 2
"""Such blocks for which a raster is opened once."""

TILE = 256
"""Side of a stored tile, so that a block of any multiple is written without rereading."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Block:
    """One piece of the grid: `core` belongs to it alone, `window` is what it may look at."""

    index: int
    row: int
    core: Box
    window: Box

    @property
    def inner(self) -> tuple[slice, slice]:
        """Where the core lies in an array of the window."""
        top, left = self.core.y0 - self.window.y0, self.core.x0 - self.window.x0
        return slice(top, top + self.core.height), slice(left, left + self.core.width)


def blocks(width: int, height: int, size: int, halo: int = 0) -> tuple[Block, ...]:
    """Blocks of `size` in row order; windows may hang over the grid's border."""
    cols = ceil(width / size)
    result = []
    for index in range(cols * ceil(height / size)):
        row, col = divmod(index, cols)
        x, y = col * size, row * size
        core = Box(x, y, min(x + size, width), min(y + size, height))
        window = Box(core.x0 - halo, core.y0 - halo, core.x1 + halo, core.y1 + halo)
        result.append(Block(index, row, core, window))
    return tuple(result)


@contextmanager
def reading(context: Context, name: str) -> Iterator[DatasetReader]:
    """Open the grid raster `name`.

    Raises:
        StepError: it is missing, or its size is not the grid's.
    """
    with _opened(context, name) as dataset:
        yield dataset
    _forget(context)


@contextmanager
def _opened(context: Context, name: str) -> Iterator[DatasetReader]:
    with rasterio.open(context.raster(name), driver="GTiff") as dataset:
        size, grid = (dataset.width, dataset.height), (context.grid.width, context.grid.height)
        if size != grid:
            raise StepError(
                "raster",
                name,
                f"is {size[0]} x {size[1]}, the grid {grid[0]} x {grid[1]}",
                "run the detector again for this scene",
            )
        yield dataset


def _forget(context: Context) -> None:
    """Let the system have what GDAL kept of a raster, and steps of lines, where that is much."""
    if context.grid.width * context.grid.height >= LARGE:
        trim_heap()


@contextmanager
def writing(context: Context, name: str, band: str) -> Iterator[DatasetWriter]:
    """Hand on the one-band uint8 grid raster `name`; it appears whole or not at all.

    What is not written is 0.
    """
    grid, place = context.grid, context.place
    path = context.handed_on(name)
    a, (sx, sy) = place.affine, grid.scale
    transform = Affine(a.a * sx, a.b * sy, a.c, a.d * sx, a.e * sy, a.f)
    with (
        replacing(path) as beside,
        rasterio.open(
            beside,
            "w",
            driver="GTiff",
            width=grid.width,
            height=grid.height,
            count=1,
            dtype="uint8",
            tiled=True,
            blockxsize=TILE,
            blockysize=TILE,
            compress="deflate",
            zlevel=1,
            bigtiff="if_safer",
            sparse_ok=True,
            transform=transform,
            crs=None if place.crs is None else place.crs.to_wkt(),
        ) as dataset,
    ):
        dataset.set_band_description(1, band)
        yield dataset


def read(dataset: DatasetReader, box: Box, band: int = 1) -> NDArray[np.uint8]:
    """(box height, box width) uint8; 0 outside the raster."""
    return _padded(dataset, box, lambda window: dataset.read(band, window=window))


def read_valid(dataset: DatasetReader, box: Box) -> Mask:
    """(box height, box width) bool from the dataset's mask; False outside the raster."""
    masks = _padded(dataset, box, lambda window: dataset.read_masks(1, window=window))
    return masks > 0


def write_mask(dataset: DatasetWriter, block: Block, core: Mask) -> None:
    """Write a block's core as 0 and 255; an empty one is left out of the file."""
    if core.any():
        box = block.core
        window = Window(box.x0, box.y0, box.width, box.height)
        dataset.write(core.astype(np.uint8) * np.uint8(255), 1, window=window)


def centreline_band(dataset: DatasetReader) -> int | None:
    """The band described `centreline`, counted from 1, or None."""
    named = [text or "" for text in dataset.descriptions]
    return named.index("centreline") + 1 if "centreline" in named else None


def at_points(
    context: Context, name: str, points: NDArray[np.float64], halo: int
) -> Iterator[tuple[DatasetReader, Block, NDArray[np.int64]]]:
    """Blocks of the grid raster `name` that hold points, in row order, with the points' numbers.

    The raster is opened anew for every few blocks: GDAL would keep as many tiles as its cache
    holds, of which later blocks need no more than those at their border.

    Args:
        context: gives the grid, and is asked for cancellation before each block.
        name: of the raster.
        points: (n, 2) grid pixels; one outside the grid goes to the nearest block.
        halo: of the blocks' windows, pixels.

    Raises:
        StepError: the raster is missing, or its size is not the grid's.
    """
    _forget(context)  # room, before it is needed
    left = _by_block(context, points, halo)
    while some := list(islice(left, TOGETHER)):
        with _opened(context, name) as dataset:
            for block, part in some:
                context.cancel.check()
                yield dataset, block, part
    _forget(context)


def _by_block(
    context: Context, points: NDArray[np.float64], halo: int
) -> Iterator[tuple[Block, NDArray[np.int64]]]:
    """Blocks of `PATCH` that hold points, each with the numbers of its points."""
    grid = context.grid
    cols, rows = ceil(grid.width / PATCH), ceil(grid.height / PATCH)
    col = np.clip(points[:, 0] // PATCH, 0, cols - 1).astype(np.int64)
    row = np.clip(points[:, 1] // PATCH, 0, rows - 1).astype(np.int64)
    key = row * cols + col
    order = np.argsort(key, kind="stable")
    every = blocks(grid.width, grid.height, PATCH, halo)
    for part in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        if len(part):
            yield every[key[part[0]]], part


def _padded(
    dataset: DatasetReader, box: Box, take: Callable[[Window], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    x0, y0 = max(box.x0, 0), max(box.y0, 0)
    x1, y1 = min(box.x1, dataset.width), min(box.y1, dataset.height)
    inside = x1 > x0 and y1 > y0
    part = take(Window(x0, y0, x1 - x0, y1 - y0)) if inside else np.zeros((0, 0), np.uint8)
    if (x0, y0, x1, y1) == (box.x0, box.y0, box.x1, box.y1):
        return part
    whole = np.zeros((box.height, box.width), np.uint8)
    if inside:
        whole[y0 - box.y0 : y1 - box.y0, x0 - box.x0 : x1 - box.x0] = part
    return whole
