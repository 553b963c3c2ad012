"""The part of an image that holds something, as a grid of its own for steps on pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np
from affine import Affine

from lanner.factory.steps.evaluate.mosaic import GAP
from postprocess.context import Context
from tiling.grid import Box, Grid
from tiling.place import Place

WORTH = 0.9
"""Share of an image up to which a cut pays."""


@dataclass(frozen=True)
class Cut:
    """A rectangle of one image's grid, `origin` (x, y) grid pixels in, and its probability."""

    origin: tuple[int, int]
    grid: Grid
    place: Place
    probability: Path

    def context(self, whole: Context) -> Context:
        """The surroundings of a chain over the rectangle alone."""
        rasters = {**whole.rasters, "probability": self.probability}
        return replace(whole, place=self.place, grid=self.grid, plan=None, rasters=rasters)

    def paste(self, whole: Context, name: str) -> None:
        """Put a raster that was handed on for the rectangle into the grid of the whole image."""
        import rasterio

        from postprocess.roads.raster import Block, write_mask, writing

        with rasterio.open(whole.handed_on(name), driver="GTiff") as source:
            mask, band = source.read(1) > 0, source.descriptions[0]
        x, y = self.origin
        core = Box(x, y, x + self.grid.width, y + self.grid.height)
        with writing(whole, name, band or name) as out:
            write_mask(out, Block(0, 0, core, core), mask)


def cut_of(context: Context, path: Path) -> Cut | None:
    """What is valid of an image's probability raster, with `GAP` pixels around it.

    Half of many a scene is empty, and steps on pixels take their time for empty ones too.

    Args:
        context: of the whole image.
        path: where the smaller raster goes.

    Returns:
        None where little would be saved.
    """
    import rasterio
    from rasterio.windows import Window

    from lanner.core.files import replacing
    from tiling.access import writing_env

    grid = context.grid
    with rasterio.open(context.raster("probability"), driver="GTiff") as source:
        valid = source.read_masks(1) > 0
        rows, cols = np.flatnonzero(valid.any(axis=1)), np.flatnonzero(valid.any(axis=0))
        if not len(rows):
            return None
        x0, y0 = max(int(cols[0]) - GAP, 0), max(int(rows[0]) - GAP, 0)
        width = min(int(cols[-1]) + 1 + GAP, grid.width) - x0
        height = min(int(rows[-1]) + 1 + GAP, grid.height) - y0
        if width * height > WORTH * grid.width * grid.height:
            return None
        profile = {**source.profile, "driver": "GTiff", "width": width, "height": height}
        window = Window(x0, y0, width, height)  # type: ignore[no-untyped-call,unused-ignore]
        values, names = source.read(window=window), source.descriptions
    with (
        replacing(path, "TMPDIR") as beside,
        writing_env(),
        rasterio.open(beside, "w", **profile) as out,
    ):
        out.write(values)
        out.descriptions = names
        out.write_mask(valid[y0 : y0 + height, x0 : x0 + width])
    (sx, sy), place = grid.scale, context.place
    a, ((east, north),) = place.affine, place.to_crs([[x0 * sx, y0 * sy]]).tolist()
    shifted = Affine(a.a, a.b, east, a.d, a.e, north)
    scene = ceil(width * sx), ceil(height * sy)
    return Cut(
        (x0, y0),
        Grid(width, height, grid.scale, grid.gsd, *scene),
        replace(place, affine=shifted),
        path,
    )
