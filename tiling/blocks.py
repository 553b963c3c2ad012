"""How much memory one block of a raster takes once it is decoded."""

from __future__ import annotations

import numpy as np
from rasterio.enums import Interleaving
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from lanner.core.errors import SceneError

LARGEST_BLOCK = 256 << 20
"""Bytes that one decoded block may take. GDAL decodes whole blocks, so that one pixel costs as
much. Ordinary ones take up to a few tens of megabytes; 256 MiB are four bands of a JPEG 2000 tile
of 4096 x 4096 px, which is decoded in 32 bits."""

_MOST_DIRECTORIES = 64


def block_bytes(dataset: DatasetReader) -> int:
    """Bytes of the largest decoded block of an open raster or overview."""
    pixels: int = max(rows * cols for rows, cols in dataset.block_shapes)
    if dataset.driver == "JP2OpenJPEG":
        # All components of a tile are decoded together, as 32-bit numbers.
        return pixels * 4 * int(dataset.count)
    size = max(_itemsize(kind) for kind in dataset.dtypes)
    together = int(dataset.count) if dataset.interleaving == Interleaving.pixel else 1
    return pixels * size * together


def check_blocks(dataset: DatasetReader, uri: str, part: str = "") -> None:
    """Refuse a raster whose blocks take too much memory.

    Args:
        dataset: open raster, overview or mask.
        uri: name of the scene, for messages.
        part: what of the scene it is, where it is not the scene itself.

    Raises:
        SceneError: a decoded block takes more than `LARGEST_BLOCK`.
    """
    if not dataset.count:
        return
    needed = block_bytes(dataset)
    if needed > LARGEST_BLOCK:
        rows, cols = max(dataset.block_shapes, key=lambda shape: shape[0] * shape[1])
        raise SceneError(
            "scene",
            uri,
            f"{part} has blocks of {cols} x {rows} px, {needed >> 20} MB each once decoded, and "
            f"{LARGEST_BLOCK >> 20} MB are allowed",
            "rewrite it in small blocks: gdal_translate -co TILED=YES -co COMPRESS=DEFLATE "
            "SCENE out.tif",
        )


def check_mask_blocks(dataset: DatasetReader, uri: str) -> None:
    """The same for a mask that is stored in the file, of which GDAL does not tell the blocks.

    Raises:
        SceneError: as `check_blocks`.
    """
    if dataset.driver == "JPEG" and dataset.width * dataset.height > 8 * LARGEST_BLOCK:
        raise SceneError(  # one bit a pixel, decoded whole
            "scene",
            uri,
            f"is a JPEG of {dataset.width} x {dataset.height} px with a mask, which takes too "
            "much memory",
            "rewrite it: gdal_translate -of COG SCENE out.tif",
        )
    if dataset.driver != "GTiff":
        return
    for number in range(1, _MOST_DIRECTORIES):
        try:
            directory = DatasetReader(
                f"GTIFF_DIR:{number}:{dataset.name}", driver=["GTiff"], sharing=False
            )
        except RasterioError:
            return  # there are no more
        with directory:
            check_blocks(directory, uri, f"image {number} of the file" if number > 1 else "")


def _itemsize(kind: str) -> int:
    """Bytes a sample; numpy has no type for GDAL's complex integers."""
    return 4 if kind == "complex_int16" else np.dtype(kind).itemsize
