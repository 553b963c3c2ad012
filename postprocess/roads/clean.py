"""The mask made whole: squares and car parks out, cracks closed, holes filled, crumbs swept.

Areas wider than any road are found by a morphological opening with a disc; holes and pieces are
measured over the whole grid, not over a block.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from math import ceil, sqrt

import geopandas as gpd
import numpy as np
import rasterio
from pydantic import Field
from rasterio.io import DatasetReader
from scipy import ndimage
from skimage.morphology import disk

from lanner.core.config import Strict
from postprocess.context import Context
from postprocess.roads.components import Components, components
from postprocess.roads.raster import (
    BLOCK,
    TILE,
    Block,
    Mask,
    blocks,
    read,
    read_valid,
    reading,
    write_mask,
    writing,
)


class Params(Strict):
    """Metres and square metres on the ground, and the block in pixels."""

    close_m: float = Field(1.0, ge=0, le=20, description="radius of the closing disc")
    hole_m2: float = Field(80.0, ge=0, description="smaller holes are filled")
    piece_m2: float = Field(60.0, ge=0, description="smaller pieces are removed")
    max_width_m: float = Field(60.0, gt=0, description="wider areas are no roads")
    block: int = Field(BLOCK, ge=TILE, multiple_of=TILE)


def run(objects: gpd.GeoDataFrame, context: Context, params: Params) -> gpd.GeoDataFrame:
    """Write the raster `clean` (255 road, 0 not) from the raster `threshold`.

    Nothing is added where the probability raster is invalid.
    """
    grid = context.grid
    pixel_m2 = grid.gsd**2
    cores = blocks(grid.width, grid.height, params.block)
    between = context.handed_on(".clean")
    try:
        with ExitStack() as stack:
            source = stack.enter_context(reading(context, "threshold"))
            probability = stack.enter_context(reading(context, "probability"))
            squares = _close_all(source, probability, context, params)
            closed = stack.enter_context(rasterio.open(between, driver="GTiff"))
            ground = components(cores, _ground(closed, context), 4)
            holes = ground.total < params.hole_m2 / pixel_m2
            filled = _filled(closed, probability, ground, holes)
            pieces = components(cores, _counted(filled, context), 8)
            keep = pieces.total >= params.piece_m2 / pixel_m2
            with writing(context, "clean", "road") as out:
                for block in cores:
                    write_mask(out, block, pieces.select(block, filled(block), keep))
    finally:
        between.unlink(missing_ok=True)
    objects = objects.copy()
    objects.attrs["note"] = (
        f"{int(keep.sum())} pieces kept and {int((~keep).sum())} small ones removed, "
        f"{int(holes.sum())} holes filled, {squares} pixels of areas wider than "
        f"{params.max_width_m:g} m removed"
    )
    return objects


def _close_all(
    source: DatasetReader, probability: DatasetReader, context: Context, params: Params
) -> int:
    """Write the opened and closed mask between the passes; pixels removed as too wide."""
    grid = context.grid
    wide, near = params.max_width_m / 2 / grid.gsd, params.close_m / grid.gsd
    halo = ceil(2.2 * wide) + 2 * ceil(near) + 2
    removed = 0
    with writing(context, ".clean", "road") as out:
        for block in blocks(grid.width, grid.height, params.block, halo):
            context.cancel.check()
            mask = read(source, block.window) > 0
            if not mask.any():
                continue
            narrow = without_squares(mask, wide)
            removed += int(np.count_nonzero((mask ^ narrow)[block.inner]))
            core = _closed(narrow, near)[block.inner]
            write_mask(out, block, core & read_valid(probability, block.core))
    return removed


def without_squares(mask: Mask, radius: float) -> Mask:
    """`mask` less every place where a disc of `radius` pixels fits in, corners included.

    Looks 2.2 times the radius far; (h, w) bool in and out.
    """
    # A disc holds a square, and looking for squares is cheap: most blocks are done here.
    side = max(1, int(radius * sqrt(2)) - 1)
    if not mask.any() or not ndimage.minimum_filter(mask, side, mode="constant").any():
        return mask
    inside = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] >= radius
    if not inside.any():
        return mask
    # A little more than the disc, so that the corners of a rectangle go with it.
    narrow: Mask = mask & (ndimage.distance_transform_edt(~inside) > 1.15 * radius)
    return narrow


def _closed(mask: Mask, radius: float) -> Mask:
    if radius < 1:
        return mask
    shape = disk(round(radius))  # type: ignore[no-untyped-call] # skimage has no types
    closed: Mask = ndimage.binary_closing(mask, shape)
    return mask | closed


def _ground(closed: DatasetReader, context: Context) -> Callable[[Block], tuple[Mask, Mask]]:
    def ground(block: Block) -> tuple[Mask, Mask]:
        context.cancel.check()
        mask = read(closed, block.core) == 0
        return mask, mask

    return ground


def _filled(
    closed: DatasetReader, probability: DatasetReader, ground: Components, holes: Mask
) -> Callable[[Block], Mask]:
    def filled(block: Block) -> Mask:
        mask = read(closed, block.core) > 0
        if not mask.any() and not holes.any():
            return mask
        fill = ground.select(block, ~mask, holes)
        return mask | (fill & read_valid(probability, block.core)) if fill.any() else mask

    return filled


def _counted(
    filled: Callable[[Block], Mask], context: Context
) -> Callable[[Block], tuple[Mask, Mask]]:
    def counted(block: Block) -> tuple[Mask, Mask]:
        context.cancel.check()
        mask = filled(block)
        return mask, mask

    return counted
