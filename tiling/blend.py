"""Overlapping tiles of probability merged into one raster, a band of rows at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from zlib import crc32

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # what rasterio.shutil raises
from rasterio.errors import RasterioError
from rasterio.io import DatasetWriter
from rasterio.windows import Window

from lanner.errors import OutputError
from tiling.access import writing_env
from tiling.grid import Tile, TilePlan
from tiling.place import Place

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
T = TypeVar("T")

BLOCK = 256
"""Side of the output's blocks."""
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


class Blender:
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
        self._path, self._plan, self._names = Path(path), plan, tuple(names)
        # Fixed names, so that what a killed run left is overwritten by the next.
        self._beside = self._path.with_name(f".{self._path.name}.rows.tif")
        self._final = self._path.with_name(f".{self._path.name}.whole.tif")
        self._weights = window_weights(plan.tile)
        self._next = 0
        width = plan.grid.width
        self._top = -plan.halo
        self._mean = np.zeros((channels, plan.tile, width), np.float32)
        self._total = np.zeros((plan.tile, width), np.float32)
        # Finished rows that do not fill a row of blocks yet.
        self._pending: list[NDArray[np.uint8]] = []
        self._pending_rows = 0
        self._written = 0
        # Rows and checksum of each write: GDAL may lose blocks on closing without a word.
        self._checks: list[tuple[int, int]] = []
        self._file: DatasetWriter | None = self._create(place)

    def add(self, tile: Tile, values: Floats | None, valid: Mask | None) -> None:
        """Merge one tile.

        Args:
            tile: the tile; the first added has index 0, each next one more.
            values: (channels, tile, tile) float32 in 0..1, or None where nothing is valid.
            valid: (tile, tile) bool, or None where nothing is valid.

        Raises:
            OutputError: out of order, of another shape, or the file cannot be written.
        """
        if tile.index != self._next or self._file is None:
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
        if self._file is None:
            return self._path
        if self._next != len(self._plan):
            self.abort()
            raise OutputError(
                "tile",
                self._next,
                f"of {len(self._plan)} never came",
                "add every tile before closing",
            )
        self._advance(self._top + self._plan.tile)
        self._flush(whole=True)
        self._guard(self._finish)
        return self._path

    def abort(self) -> None:
        """Leave no file behind; harmless after `close`."""
        if self._file is not None:
            file, self._file = self._file, None
            # What is thrown away need not be whole, and must not hide why it is.
            with suppress(RasterioError, CPLE_BaseError):
                file.close()
            self._remove()

    def __enter__(self) -> Blender:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

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
            self._pending.append(np.stack([*planes, known.astype(np.uint8) * np.uint8(255)]))
            self._pending_rows += last - first
        for plane in (*self._mean, self._total):
            plane[: self._plan.tile - rows] = plane[rows:].copy()
            plane[self._plan.tile - rows :] = 0
        self._top = top
        self._flush(whole=False)

    def _flush(self, *, whole: bool) -> None:
        """Write finished rows in whole rows of blocks, so that no block is written twice."""
        count = self._pending_rows if whole else self._pending_rows // BLOCK * BLOCK
        if not count:
            return
        rows = np.concatenate(self._pending, axis=1)
        self._pending = [rows[:, count:]] if count < self._pending_rows else []
        self._pending_rows -= count
        ready = np.ascontiguousarray(rows[:, :count])
        self._guard(partial(self._write, ready))
        self._checks.append((count, crc32(ready.data)))
        self._written += count

    def _write(self, rows: NDArray[np.uint8]) -> None:
        assert self._file is not None  # `add` and `close` looked
        window = Window(0, self._written, rows.shape[2], rows.shape[1])
        self._file.write(rows[:-1], window=window)
        self._file.write_mask(rows[-1], window=window)

    def _create(self, place: Place | None) -> DatasetWriter:
        grid = self._plan.grid
        profile: dict[str, Any] = {
            "driver": "GTiff",
            "width": grid.width,
            "height": grid.height,
            "dtype": "uint8",
            "count": len(self._names),
            "tiled": True,
            "blockxsize": BLOCK,
            "blockysize": BLOCK,
            "compress": "deflate",
            "zlevel": 1,
            "bigtiff": "if_safer",
            "photometric": "minisblack",
            "interleave": "band",
            "alpha": "unspecified",
        }
        if place is not None:
            (sx, sy), a = grid.scale, place.affine
            profile["transform"] = Affine(a.a * sx, a.b * sy, a.c, a.d * sx, a.e * sy, a.f)
            profile["crs"] = None if place.crs is None else place.crs.to_wkt()

        def create() -> DatasetWriter:
            file = rasterio.open(self._beside, "w", **profile)
            file.descriptions = self._names
            return file

        return self._guard(create)

    def _finish(self) -> None:
        """One more pass: blocks in one order whatever was cached when, and overviews."""
        assert self._file is not None  # `close` looked
        file, self._file = self._file, None
        file.close()
        rasterio.shutil.copy(
            self._beside,
            self._final,
            driver="COG",
            compress="deflate",
            predictor="no",
            blocksize=BLOCK,
            bigtiff="if_safer",
            overview_resampling="average",
            overviews="auto",
            num_threads="all_cpus",
        )
        self._read_back()
        os.replace(self._final, self._path)
        self._beside.unlink()

    def _read_back(self) -> None:
        """Make sure that the file holds what was written."""
        top = 0
        with rasterio.open(self._final) as file:
            for count, expected in self._checks:
                window = Window(0, top, file.width, count)
                rows = [*file.read(window=window), file.dataset_mask(window=window)]
                if crc32(np.stack(rows).data) != expected:
                    raise OSError(f"rows {top} to {top + count} did not reach the disk")
                top += count

    def _guard(self, work: Callable[[], T]) -> T:
        """Run GDAL's writing with its errors in our words and nothing left behind."""
        try:
            with writing_env():
                return work()
        except (RasterioError, CPLE_BaseError, OSError) as error:
            self._remove()
            raise self._failed(error) from error

    def _remove(self) -> None:
        self._beside.unlink(missing_ok=True)
        self._final.unlink(missing_ok=True)

    def _failed(self, error: Exception) -> OutputError:
        return OutputError(
            "output",
            self._path,
            f"cannot be written ({error.__cause__ or error})",
            "check that its folder exists, may be written and has space",
        )
