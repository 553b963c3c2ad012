"""Many images side by side on one grid, so that a step of the chain runs once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from detectors.views import Floats, Ints
from postprocess.context import Context, DetectorFacts
from tiling.grid import Box, Grid, Tile, TilePlan, Xy
from tiling.place import Place

STEPS = frozenset(
    {"merge_seams", "suppress", "outline", "orient", "plausible", "identify", "triage"}
)
"""Steps that ask their context for nothing but tiles, distances and directions."""

GAP = 64
"""Grid pixels between images: more than any of those steps looks across."""


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
