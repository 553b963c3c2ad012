"""Scenes that appear whole or not at all: half of one opens as well, with black for the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import rasterio.shutil
from rasterio.errors import RasterioError

from lanner.core.files import followed, hidden


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A hidden path beside `path`, or what that leads to as a link, to write to; what is there
    takes its place on success.

    A mask in a file of its own (`.msk`) comes along. What lay beside an earlier scene of that
    name goes with it: GDAL would read its mask or overviews with the new pixels.
    """
    path = followed(path)
    beside = hidden(path)
    mask = beside.with_name(f"{beside.name}.msk")
    try:
        yield beside
        if path.is_file():
            with suppress(RasterioError):  # no raster: nothing belongs to it
                rasterio.shutil.delete(path)
        if mask.exists():
            mask.replace(path.with_name(f"{path.name}.msk"))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
        mask.unlink(missing_ok=True)
