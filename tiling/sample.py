"""Grid pixels of a scene: native reading, reduction and resampling put together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanner.core.errors import SceneError
from tiling.access import gdal_env, open_handle
from tiling.grid import Box, Grid
from tiling.names import display_name, is_remote
from tiling.overviews import DEEP, fitting, is_true
from tiling.raw import Source
from tiling.resample import decimate, resample, taps
from tiling.scene import Scene
from tiling.unread import in_scene, read_through

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

_CHUNK_BYTES = 64 << 20


@dataclass(frozen=True)
class Level:
    """The copy of the scene that a grid is sampled from: one for all tiles.

    Attributes:
        overview: index of the file's overview, or None for the full raster.
        factor: blocks of this side are averaged after reading; 1 for none.
    """

    overview: int | None
    factor: int

    @classmethod
    def of(cls, scene: Scene, grid: Grid) -> Level:
        """The coarsest copy that still leaves two pixels a grid pixel to filter."""
        reduction = min(grid.scale)
        overview = fitting(scene.overviews, reduction)
        if overview is not None:
            reduction /= scene.overviews[overview]
        return cls(overview, floor(reduction / 2) if reduction > DEEP else 1)

    @classmethod
    def checked(cls, scene: Scene, grid: Grid) -> Level:
        """The same, with the full raster in place of an overview that shows something else.

        Raises:
            SceneError: the scene cannot be read.
        """
        level = cls.of(scene, grid)
        if level.overview is None or is_true(scene, level.overview):
            return level
        return cls.of(replace(scene, overviews=()), grid)


class GridSampler:
    """Reads boxes of grid pixels through one file handle, which threads may share.

    Args:
        scene: scene to read.
        grid: its grid.
        bands: band names, in the order wanted.
        decoders: threads that GDAL may decode a box of a local scene with.
        fill: value of an undeclared border, as the scene's stretch has it.

    Raises:
        BandError: a band is missing.
        SceneError: the scene cannot be opened any more, or has changed size.
    """

    def __init__(
        self,
        scene: Scene,
        grid: Grid,
        bands: tuple[str, ...],
        decoders: int = 1,
        fill: float | None = None,
    ) -> None:
        self._scene, self._grid = scene, grid
        # By several threads GDAL misses that a server broke off (its issue 11552).
        self._decoders = 1 if is_remote(scene.uri) else decoders
        self._level = Level.checked(scene, grid)
        self._bands = len(bands)
        self._indices, self._fill = scene.band_indices(bands), fill
        self._open()
        self._turn = self._handle.turn
        width, height = self._dataset.width, self._dataset.height
        if self._level.overview is None and (width, height) != (scene.width, scene.height):
            self._handle.close()
            raise SceneError(
                "scene", display_name(scene.uri), "changed while it was being read", "run it again"
            )
        factor = self._level.factor
        # Of what is resampled: the file, its overview or the block means.
        self._size = (-(-width // factor), -(-height // factor))
        self._scale = (
            grid.scale[0] * (width / scene.width) / factor,
            grid.scale[1] * (height / scene.height) / factor,
        )
        self._aligned = self._scale == (1.0, 1.0) and factor == 1

    def read(self, box: Box, unread: set[Box] | None = None) -> tuple[Floats, Mask]:
        """Grid pixels of a box, which may hang over the grid.

        Args:
            box: in grid pixels.
            unread: where it is given, blocks of a local file that cannot be read are no data, and
                are added to it, in pixels of the scene.

        Returns:
            (bands, h, w) float32 in the file's units, 0 where invalid, and (h, w) validity.

        Raises:
            SceneError: the file cannot be read there.
        """
        pixels = np.zeros((self._bands, box.height, box.width), np.float32)
        valid = np.zeros((box.height, box.width), np.bool_)
        x0, y0 = max(box.x0, 0), max(box.y0, 0)
        x1, y1 = min(box.x1, self._grid.width), min(box.y1, self._grid.height)
        if x0 < x1 and y0 < y1:
            rows, cols = slice(y0 - box.y0, y1 - box.y0), slice(x0 - box.x0, x1 - box.x0)
            with gdal_env(self._scene.uri, self._decoders):
                inside = self._inside(Box(x0, y0, x1, y1), unread)
                pixels[:, rows, cols], valid[rows, cols] = inside
        return pixels, valid

    def close(self) -> None:
        """Close the file handle."""
        self._handle.close()

    def __enter__(self) -> GridSampler:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> None:
        scene = self._scene
        with gdal_env(scene.uri, self._decoders):
            self._handle = open_handle(scene.uri, self._level.overview)
        self._dataset = self._handle.dataset
        self._source = Source(
            self._dataset, scene.uri, self._indices, scene.found.alpha, self._fill
        )

    def _inside(self, box: Box, unread: set[Box] | None) -> tuple[Floats, Mask]:
        if self._aligned:
            raw, valid = self._native(box, unread)
            return raw.astype(np.float32), valid
        (sx, sy), (width, height) = self._scale, self._size
        x, y = taps(box.x0, box.width, sx, width), taps(box.y0, box.height, sy, height)
        need = Box(x.span[0], y.span[0], x.span[1], y.span[1])
        origin = (need.x0, need.y0)
        if self._level.factor > 1:
            means, share = self._means(need, unread)
            return resample(means, share, origin, x, y)
        raw, valid = self._native(need, unread)
        if not valid.any():
            return (
                np.zeros((self._bands, box.height, box.width), np.float32),
                np.zeros((box.height, box.width), np.bool_),
            )
        return resample(raw, valid, origin, x, y)

    def _native(self, box: Box, unread: set[Box] | None) -> tuple[NDArray[Any], Mask]:
        """Pixels of the file; a dataset is for one thread at a time."""
        with self._turn:
            try:
                return self._source.read(box)
            except SceneError:
                if self._decoders > 1:
                    # By several threads GDAL keeps a block that failed, and gives zeros for it the
                    # next time, as if all were well.
                    self._handle.close()
                    self._decoders = 1
                    self._open()
                if unread is None:
                    raise
            pixels, valid, bad = read_through(self._source, box)
        across = self._scene.width / self._dataset.width
        down = self._scene.height / self._dataset.height
        unread.update(in_scene(one, across, down) for one in bad)
        return pixels, valid

    def _means(self, box: Box, unread: set[Box] | None) -> tuple[Floats, Floats]:
        """Block means of a box in blocks, times their valid share, read a few rows at a time."""
        factor = self._level.factor
        means = np.zeros((self._bands, box.height, box.width), np.float32)
        share = np.zeros((box.height, box.width), np.float32)
        row_bytes = box.width * factor * factor * self._bands * 8
        step = max(1, _CHUNK_BYTES // row_bytes)
        for top in range(box.y0, box.y1, step):
            bottom = min(top + step, box.y1)
            raw, valid = self._native(
                Box(
                    box.x0 * factor,
                    top * factor,
                    min(box.x1 * factor, self._dataset.width),
                    min(bottom * factor, self._dataset.height),
                ),
                unread,
            )
            rows = slice(top - box.y0, bottom - box.y0)
            means[:, rows], share[rows] = decimate(raw, valid, factor)
        means *= share
        return means, share
