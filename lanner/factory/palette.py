"""Rasters of palette numbers: their colours, and the same raster with colours in place of numbers.

Elsewhere scenes are measurements, and a raster with a palette is refused; what is learned from is
a picture, and the palette says how it looks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from lanner.core.errors import SceneError
from lanner.factory.orientation import orientation, upright
from tiling.access import error_text, opened, writing_env


def has_palette(path: Path) -> bool:
    """Whether a band of a raster holds palette numbers.

    Raises:
        SceneError: it cannot be opened.
    """
    with opened(str(path)) as dataset:
        return ColorInterp.palette in dataset.colorinterp


def palette_colours(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The colours of a raster with a palette: (h, w, 3) uint8, 0 without data, and (h, w) valid.

    A number that the palette does not have is no data.

    Raises:
        SceneError: it cannot be read.
    """
    with opened(str(path)) as dataset:
        band = dataset.colorinterp.index(ColorInterp.palette) + 1
        try:
            numbers, valid = dataset.read(band), dataset.read_masks(band) > 0
        except RasterioError as error:
            raise SceneError(
                "scene",
                path,
                f"cannot be read ({error_text(error, str(path))})",
                "the file is cut off or damaged: fetch it again",
            ) from error
        table = _table(dataset, band)
    rgba = table[np.minimum(numbers.astype(np.intp), len(table) - 1)]
    valid &= rgba[..., 3] > 0
    rgb = np.ascontiguousarray(rgba[..., :3])
    rgb[~valid] = 0
    return rgb, valid


def write_colours(path: Path, to: Path) -> None:
    """Write a raster with a palette as one of colours and alpha, upright and in the same place.

    Args:
        path: the raster.
        to: a GeoTIFF; its folder is there.

    Raises:
        SceneError: the raster cannot be read.
    """
    import rasterio

    # What has a place is not turned.
    rgb, valid = (upright(one, orientation(path)) for one in palette_colours(path))
    with opened(str(path)) as dataset:
        place: dict[str, Any] = {}
        if not dataset.transform.is_identity:
            place = {"transform": dataset.transform}
        gcps, of_gcps = dataset.gcps
        crs = of_gcps if gcps else dataset.crs
    profile = {"width": rgb.shape[1], "height": rgb.shape[0], "count": 4, "dtype": "uint8"}
    if crs is not None:
        place["crs"] = crs
    with (
        writing_env(),
        rasterio.open(
            to, "w", driver="GTiff", photometric="RGB", alpha="yes", compress="deflate",
            tiled=True, bigtiff="IF_SAFER", **profile, **place,
        ) as out,
    ):  # fmt: skip
        out.write(np.moveaxis(rgb, 2, 0), (1, 2, 3))
        out.write(np.where(valid, 255, 0).astype(np.uint8), 4)
        if gcps:
            out.gcps = (gcps, crs)


def _table(dataset: DatasetReader, band: int) -> NDArray[np.uint8]:
    """(n, 4) red, green, blue, alpha by number; the last row is for numbers without a colour."""
    found = dataset.colormap(band)
    table = np.zeros((max(found) + 2, 4), np.uint8)
    for number, colour in found.items():
        table[number] = colour
    return table


__all__ = ["has_palette", "palette_colours", "write_colours"]
