"""Grids that are made for chains: many images side by side on one, so that a step runs once for
all of them, and the part of one image that holds something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from detectors.views import Floats, Ints
from postprocess.context import Context, DetectorFacts
from tiling.grid import Box, Grid, Tile, TilePlan, Xy
from tiling.place import Place

STEPS = frozenset({"merge_seams", "outline", "orient", "plausible", "identify", "triage"})
"""Steps that ask their context for nothing but tiles, distances and directions."""

GAP = 64
"""Grid pixels between images: more than any of those steps looks across."""

WORTH = 0.9
"""Share of an image up to which a cut pays."""


@dataclass(frozen=True)
class Picture:
    """One image of the mosaic: its place and its tiles."""

    place: Place
    plan: TilePlan


@dataclass(frozen=True)
class Layout:
    """Cells of one size in rows; each image lies in the upper left of its cell, `GAP` in."""

    pictures: tuple[Picture, ...]
    cell: tuple[int, int]
    across: int

    @classmethod
    def of(cls, pictures: Sequence[Picture]) -> Layout:
        """About as wide as it is high, so that coordinates stay small and exact."""
        width = max((p.plan.grid.width for p in pictures), default=0) + 2 * GAP
        height = max((p.plan.grid.height for p in pictures), default=0) + 2 * GAP
        across = max(1, ceil(sqrt(len(pictures) * height / width)))
        return cls(tuple(pictures), (width, height), across)

    @property
    def origins(self) -> Floats:
        """(images, 2) upper left corner of each image."""
        number = np.arange(len(self.pictures))
        cells = np.stack([number % self.across, number // self.across], axis=1)
        return np.asarray(cells * np.asarray(self.cell) + GAP, np.float64)

    def owner(self, xy: Xy) -> Ints:
        """(n,) image in whose cell each of (n, 2) points lies."""
        col, row = np.floor(xy / np.asarray(self.cell, np.float64)).astype(np.int64).T
        number = np.clip(row * self.across + col, 0, len(self.pictures) - 1)
        return np.asarray(number, np.int64)

    @property
    def first_tiles(self) -> Ints:
        """(images + 1,) number of each image's first tile."""
        return np.asarray(np.cumsum([0, *(len(p.plan) for p in self.pictures)]), np.int64)


@dataclass(frozen=True)
class Tiles(TilePlan):
    """The tiles of all images, shifted to where these lie."""

    listed: tuple[Tile, ...] = ()

    def __len__(self) -> int:
        return len(self.listed)

    def __getitem__(self, index: int) -> Tile:
        return self.listed[index]


@dataclass(frozen=True)
class MosaicContext(Context):
    """Distances and directions by the place of the image that a point lies in."""

    layout: Layout | None = None

    def distance_m(self, start: Xy, end: Xy) -> NDArray[np.float64]:
        """Metres between (n, 2) mosaic points; pairs lie in one image."""
        return self._by_image(start, end, "distance_m")

    def azimuth_deg(self, start: Xy, end: Xy) -> NDArray[np.float64]:
        """Azimuth of each start to its end."""
        return self._by_image(start, end, "azimuth_deg")

    def length_m(self, line: Xy) -> float:
        """Metres along one line of one image."""
        return float(self.distance_m(line[:-1], line[1:]).sum()) if len(line) > 1 else 0.0

    def _by_image(self, start: Xy, end: Xy, question: str) -> Floats:
        assert self.layout is not None  # `context_of` gives it
        one, two = np.asarray(start, np.float64), np.asarray(end, np.float64)
        result = np.empty(len(one))
        if not len(one):
            return result
        owner = self.layout.owner(one)
        origin = self.layout.origins[owner]
        # Images of one place that is no more than a scale are asked together.
        kinds: dict[object, list[int]] = {}
        for number in np.unique(owner).tolist():
            picture = self.layout.pictures[number]
            flat = picture.place.crs is None
            key = (picture.place.gsd, picture.plan.grid.scale) if flat else number
            kinds.setdefault(key, []).append(number)
        for numbers in kinds.values():
            rows = np.isin(owner, numbers)
            picture = self.layout.pictures[numbers[0]]
            grid = picture.plan.grid
            ask = getattr(picture.place, question)
            result[rows] = ask(
                grid.to_scene(one[rows] - origin[rows]), grid.to_scene(two[rows] - origin[rows])
            )
        return result


def context_of(layout: Layout, gsd: float, facts: DetectorFacts) -> MosaicContext:
    """The surroundings of a chain over all images."""
    rows = ceil(len(layout.pictures) / layout.across)
    width, height = layout.cell[0] * layout.across, layout.cell[1] * rows
    grid = Grid(width, height, (1.0, 1.0), gsd, width, height)
    listed = []
    origins, first = layout.origins.astype(int).tolist(), layout.first_tiles.tolist()
    for number, picture in enumerate(layout.pictures):
        x, y = origins[number]
        for tile in picture.plan:
            listed.append(
                Tile(
                    first[number] + tile.index,
                    tile.row,
                    tile.col,
                    _moved(tile.core, x, y),
                    _moved(tile.window, x, y),
                )
            )
    side = max((p.plan.tile for p in layout.pictures), default=64)
    halo = min((p.plan.halo for p in layout.pictures), default=0)
    return MosaicContext(
        scene_id="mosaic",
        acquired=None,
        place=Place(Affine.identity(), None, (gsd, gsd)),
        grid=grid,
        plan=Tiles(grid, side, halo, tuple(listed)),
        detector=facts,
        workdir=Path(),
        layout=layout,
    )


def _moved(box: Box, x: int, y: int) -> Box:
    return Box(box.x0 + x, box.y0 + y, box.x1 + x, box.y1 + y)


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

    from postprocess.files import replacing
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
    with replacing(path) as beside, writing_env(), rasterio.open(beside, "w", **profile) as out:
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
