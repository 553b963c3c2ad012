"""A raster of bytes written from top to bottom: whole under its name, or not there."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
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

from lanner.core.errors import OutputError
from tiling.access import writing_env
from tiling.grid import Grid
from tiling.place import Place

T = TypeVar("T")

BLOCK = 256
"""Side of the output's blocks."""


class Whole(ABC):
    """Something written that is closed at the end of a `with`, and aborted where that fails."""

    @abstractmethod
    def close(self) -> Path:
        """Finish it and put it under its name."""

    @abstractmethod
    def abort(self) -> None:
        """Leave nothing behind; harmless after `close`."""

    def __enter__(self) -> Self:
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


class RowsFile(Whole):
    """A tiled, compressed uint8 GeoTIFF on the grid, with overviews and a validity mask.

    The same rows give the same bytes. It appears under its name only when it is whole.

    Args:
        path: the GeoTIFF; its folder must exist.
        grid: what its pixels are.
        names: band descriptions, one a band.
        place: place of the scene, so that the raster opens in a GIS; None for pixels only.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(
        self, path: Path | str, grid: Grid, names: tuple[str, ...], place: Place | None = None
    ) -> None:
        self._path, self._grid, self._names = Path(path), grid, tuple(names)
        # Fixed names, so that what a killed run left is overwritten by the next.
        self._beside = self._path.with_name(f".{self._path.name}.rows.tif")
        self._final = self._path.with_name(f".{self._path.name}.whole.tif")
        # Rows that do not fill a row of blocks yet.
        self._pending: list[NDArray[np.uint8]] = []
        self._pending_rows = 0
        self._written = 0
        # Rows and checksum of each write: GDAL may lose blocks on closing without a word.
        self._checks: list[tuple[int, int]] = []
        self._file: DatasetWriter | None = self._create(place)

    @property
    def open(self) -> bool:
        """Whether rows may still be written."""
        return self._file is not None

    def write(self, rows: NDArray[np.uint8]) -> None:
        """Write the next rows.

        Args:
            rows: (bands + 1, n, width); the last plane is 255 where valid, else 0.

        Raises:
            OutputError: the file cannot be written.
        """
        self._pending.append(rows)
        self._pending_rows += rows.shape[1]
        self._flush(whole=False)

    def close(self) -> Path:
        """Finish the raster and put it under its name.

        Raises:
            OutputError: the file cannot be written.
        """
        if self._file is not None:
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
        assert self._file is not None  # as long as rows may come
        window = Window(0, self._written, rows.shape[2], rows.shape[1])
        self._file.write(rows[:-1], window=window)
        self._file.write_mask(rows[-1], window=window)

    def _create(self, place: Place | None) -> DatasetWriter:
        grid = self._grid
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
