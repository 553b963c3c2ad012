"""The mask's skeleton, block by block yet equal to the skeleton of the whole.

Each pass thins every block by a fixed number of iterations inside a halo as wide as those
iterations look; passes are repeated until no block changes, so even a square a kilometre wide
comes out as it would untiled.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from pydantic import Field

from lanner.core.config import Strict
from postprocess.context import Context
from postprocess.roads.raster import BLOCK, TILE, blocks, read, reading, write_mask, writing
from postprocess.roads.thinning import thin


class Params(Strict):
    """Sizes in pixels; they change the speed and not the result."""

    block: int = Field(BLOCK, ge=TILE, multiple_of=TILE)
    iterations: int = Field(24, ge=1, le=256, description="thinning iterations of one pass")


def run(objects: gpd.GeoDataFrame, context: Context, params: Params) -> gpd.GeoDataFrame:
    """Write the raster `skeletonise` (255 on lines one pixel wide) from the raster `clean`."""
    with reading(context, "clean"):
        source = context.raster("clean")
    passes, settled, length = 0, False, 0
    while not settled:
        settled, length = _one_pass(source, context, params)
        source, passes = context.handed_on("skeletonise"), passes + 1
    objects = objects.copy()
    objects.attrs["note"] = f"{length} pixels of centre line after {passes} passes"
    return objects


def _one_pass(source: Path, context: Context, params: Params) -> tuple[bool, int]:
    """Thin all blocks once, from `source` to the result; whether nothing is left, and the size."""
    grid, settled, length = context.grid, True, 0
    # Every core is exact, so when no core changed in the last iteration nothing ever will.
    halo = 2 * params.iterations
    with ExitStack() as stack:
        out = stack.enter_context(writing(context, "skeletonise", "skeleton"))
        dataset = stack.enter_context(rasterio.open(source, driver="GTiff"))
        for block in blocks(grid.width, grid.height, params.block, halo):
            context.cancel.check()
            mask = read(dataset, block.window) > 0
            if not mask.any():
                continue
            thinned, still = thin(mask, params.iterations, block.inner)
            settled &= still
            core = thinned[block.inner]
            length += int(np.count_nonzero(core))
            write_mask(out, block, core)
    return settled, length
