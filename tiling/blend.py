"""Overlapping tiles of probability merged into one raster, a band of rows at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lanner.core.errors import OutputError
from tiling.grid import Tile, TilePlan
from tiling.place import Place
from tiling.rows import RowsFile, Whole

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

_FLOOR = 1e-3
"""Weight at a tile's border, of 1 in its middle: little, and never nothing."""


def window_weights(tile: int) -> Floats:
    """Weights of a tile's pixels, (tile, tile) float32: a raised cosine that stays above 0."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(tile) + 0.5) / tile)
    side = _FLOOR + (1 - _FLOOR) * hann
    return np.outer(side, side).astype(np.float32)


def _bytes(mean: Floats, known: Mask) -> NDArray[np.uint8]:
    """Probability 0..1 as 0..255, rounded; 0 where nothing is known."""
    scaled = np.clip(mean, 0, 1)
    scaled *= np.float32(255)
    np.rint(scaled, out=scaled)
    scaled *= known
    return scaled.astype(np.uint8)


class Blender(Whole):
    """Merges tiles, added in index order, into a tiled, compressed uint8 GeoTIFF.

    Holds `tile` rows of the grid in memory. A pixel is the weighted mean of the tiles that see
    it valid, kept as a running mean, so that where they agree the value passes unchanged. The
    same tiles give the same bytes. The raster appears under its name only when it is whole; it
    has overviews, one band a channel (255 is probability 1) and a validity mask.

    Args:
        path: the GeoTIFF; its folder must exist.
        plan: the tiles.
        channels: number of channels.
        names: their names, which become band descriptions.
        place: place of the scene, so that the raster opens in a GIS; None for pixels only.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(
        self,
        path: Path | str,
        plan: TilePlan,
        channels: int,
        names: tuple[str, ...],
        place: Place | None = None,
    ) -> None:
        if channels != len(names) or channels < 1:
            raise OutputError(
                "names",
                ",".join(names),
                f"are not {channels} channel names",
                "give one name a channel",
            )
        self._plan, self._names = plan, tuple(names)
        self._weights = window_weights(plan.tile)
        self._next = 0
        width = plan.grid.width
        self._top = -plan.halo
        self._mean = np.zeros((channels, plan.tile, width), np.float32)
        self._total = np.zeros((plan.tile, width), np.float32)
        self._file = RowsFile(path, plan.grid, self._names, place)

    def add(self, tile: Tile, values: Floats | None, valid: Mask | None) -> None:
        """Merge one tile.

        Args:
            tile: the tile; the first added has index 0, each next one more.
            values: (channels, tile, tile) float32 in 0..1, or None where nothing is valid.
            valid: (tile, tile) bool, or None where nothing is valid.

        Raises:
            OutputError: out of order, of another shape, or the file cannot be written.
        """
        if tile.index != self._next or not self._file.open:
            raise OutputError(
                "tile",
                tile.index,
                f"came where tile {self._next} was due",
                "add every tile once, in index order (None where nothing is valid)",
            )
        self._next += 1
        self._advance(tile.window.y0)
        if values is None or valid is None:
            return
        shape = (len(self._names), self._plan.tile, self._plan.tile)
        if values.shape != shape or valid.shape != shape[1:]:
            raise OutputError(
                "tile",
                tile.index,
                f"has shapes {values.shape} and {valid.shape}",
                f"give {shape} and {shape[1:]}",
            )
        x0, x1 = max(tile.window.x0, 0), min(tile.window.x1, self._plan.grid.width)
        here, there = slice(x0 - tile.window.x0, x1 - tile.window.x0), slice(x0, x1)
        weight = self._weights[:, here] * valid[:, here]
        total = self._total[:, there]
        total += weight
        share = np.divide(weight, total, out=np.zeros_like(weight), where=weight > 0)
        for number, value in enumerate(values[:, :, here]):
            mean = self._mean[number, :, there]
            mean += (np.where(weight > 0, value, mean) - mean) * share
            if not np.isfinite(mean).all():
                raise OutputError(
                    "tile",
                    tile.index,
                    "has valid pixels that are no number",
                    "look for NaN in the weights or the input of the network",
                )

    def close(self) -> Path:
        """Finish the raster and put it under its name.

        Raises:
            OutputError: tiles are missing, or the file cannot be written.
        """
        if self._file.open and self._next != len(self._plan):
            self.abort()
            raise OutputError(
                "tile",
                self._next,
                f"of {len(self._plan)} never came",
                "add every tile before closing",
            )
        if self._file.open:
            self._advance(self._top + self._plan.tile)
        return self._file.close()

    def abort(self) -> None:
        """Leave no file behind; harmless after `close`."""
        self._file.abort()

    def _advance(self, top: int) -> None:
        """Let the band of rows begin at `top`; rows above it are finished."""
        rows = min(top - self._top, self._plan.tile)
        if rows <= 0:
            return
        first, last = max(self._top, 0), min(self._top + rows, self._plan.grid.height)
        if first < last:
            here = slice(first - self._top, last - self._top)
            known = self._total[here] > 0
            planes = [_bytes(mean[here], known) for mean in self._mean]
            self._file.write(np.stack([*planes, known.astype(np.uint8) * np.uint8(255)]))
        for plane in (*self._mean, self._total):
            plane[: self._plan.tile - rows] = plane[rows:].copy()
            plane[self._plan.tile - rows :] = 0
        self._top = top
