"""Frozen geometry of a detector's ground grid and the tiles that cover it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from lanner.core.errors import ConfigError

Xy = NDArray[np.float64]
"""(..., 2) coordinates, x before y, with integers on pixel corners."""


@dataclass(frozen=True)
class Box:
    """Half-open pixel rectangle: x0 <= x < x1, y0 <= y < y1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """Rows."""
        return self.y1 - self.y0


SNAP = 2e-3
"""A scale this near to 1 is 1: map projections stretch a nominal pixel by as much (UTM 0.9996 to
1.001), and reading pixels as they are beats blurring them for a thousandth of a pixel."""


@dataclass(frozen=True)
class Grid:
    """Square ground pixels laid over a scene, axis-aligned with the scene's own pixels.

    `scale` is scene pixels per grid pixel along x and y (they differ where the scene's pixels
    are not square on the ground); `gsd` metres per grid pixel; `width` and `height` in grid
    pixels cover the scene, the last row and column possibly in part.
    """

    width: int
    height: int
    scale: tuple[float, float]
    gsd: float
    scene_width: int
    scene_height: int

    @classmethod
    def over(cls, scene_size: tuple[int, int], scene_gsd: tuple[float, float], gsd: float) -> Grid:
        """The grid of `gsd` metres over a scene of (width, height) with (x, y) metre pixels.

        Where both scales are within `SNAP` of 1 the grid is the scene's own pixels.
        """
        (w, h), (gx, gy) = scene_size, scene_gsd
        sx, sy = gsd / gx, gsd / gy
        if abs(sx - 1) <= SNAP and abs(sy - 1) <= SNAP:
            sx = sy = 1.0
        # A hair of tolerance keeps an exact fit from growing an empty last column.
        return cls(max(1, ceil(w / sx - 1e-6)), max(1, ceil(h / sy - 1e-6)), (sx, sy), gsd, w, h)

    def to_scene(self, xy: Xy) -> Xy:
        """Grid pixel coordinates to scene pixel coordinates."""
        return np.multiply(xy, self.scale, dtype=np.float64)

    def from_scene(self, xy: Xy) -> Xy:
        """Scene pixel coordinates to grid pixel coordinates."""
        return np.divide(xy, self.scale, dtype=np.float64)


@dataclass(frozen=True)
class Tile:
    """One tile: `core` belongs to it alone, `window` is what the network sees.

    The window is always `tile` x `tile` and may hang over the grid's border; what hangs over
    is filled and invalid.
    """

    index: int
    row: int
    col: int
    core: Box
    window: Box


@dataclass(frozen=True)
class TilePlan:
    """Cores that cover the grid exactly once, each inside a window with `halo` on every side.

    Raises:
        ConfigError: no core is left between the halos.
    """

    grid: Grid
    tile: int
    halo: int

    def __post_init__(self) -> None:
        if self.halo < 0 or self.step < 1:
            raise ConfigError(
                "tile",
                self.tile,
                f"leaves no core inside two halos of {self.halo}",
                f"give at least {2 * max(self.halo, 0) + 32}",
            )

    @property
    def step(self) -> int:
        """Side of a full core."""
        return self.tile - 2 * self.halo

    @property
    def cols(self) -> int:
        """Tiles across."""
        return ceil(self.grid.width / self.step)

    @property
    def rows(self) -> int:
        """Tiles down."""
        return ceil(self.grid.height / self.step)

    def __len__(self) -> int:
        return self.rows * self.cols

    def __iter__(self) -> Iterator[Tile]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> Tile:
        if not 0 <= index < len(self):
            raise IndexError(index)
        row, col = divmod(index, self.cols)
        x, y, s = col * self.step, row * self.step, self.step
        core = Box(x, y, min(x + s, self.grid.width), min(y + s, self.grid.height))
        window = Box(
            x - self.halo, y - self.halo, x - self.halo + self.tile, y - self.halo + self.tile
        )
        return Tile(index, row, col, core, window)
