"""Blocks of a raster: how much memory one takes once it is decoded, and how they are stored."""

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

_SAMPLED = 4096
"""Blocks whose stored sizes are asked for; those of more are estimated from as many."""

_FEW_BANDS = 8


def block_bytes(dataset: DatasetReader) -> int:
    """Bytes of the largest decoded block of an open raster or overview."""
    pixels: int = max(rows * cols for rows, cols in dataset.block_shapes)
    if dataset.driver == "JP2OpenJPEG":
        # All components of a tile are decoded together, as 32-bit numbers.
        return pixels * 4 * int(dataset.count)
    size = max(itemsize(kind) for kind in dataset.dtypes)
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


def itemsize(kind: str) -> int:
    """Bytes a sample; numpy has no type for GDAL's complex integers."""
    return 4 if kind == "complex_int16" else np.dtype(kind).itemsize


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers from 0 to `count` - 1, evenly spread, in order."""
    if count <= most:
        return list(range(count))
    return sorted(set(np.linspace(0, count - 1, most).astype(int).tolist()))


def block_sizes(dataset: DatasetReader, band: int = 1) -> list[int | None]:
    """Stored bytes of blocks of a band, evenly spread over the raster; None of a block that is
    not stored, and of every block of other formats than GeoTIFF.
    """
    return [None if size is None else int(size) for size in _block_tags(dataset, "SIZE", band)]


def share_beyond(dataset: DatasetReader, end: int) -> float:
    """Share (0..1) of an open GeoTIFF's stored blocks that lie beyond byte `end` of its file, as
    the end of those of the first band tells; 0 of other formats.
    """
    places = zip(_block_tags(dataset, "OFFSET", 1), _block_tags(dataset, "SIZE", 1), strict=True)
    ends = [int(offset) + int(size) for offset, size in places if offset and size]
    return sum(one > end for one in ends) / len(ends) if ends else 0.0


def _block_tags(dataset: DatasetReader, what: str, band: int) -> list[str | None]:
    """What a GeoTIFF says of blocks of a band, evenly spread over the raster."""
    rows, cols = dataset.block_shapes[0]
    down, across = -(-dataset.height // rows), -(-dataset.width // cols)
    found = []
    for n in spread(down * across, _SAMPLED):
        row, col = divmod(n, across)
        found.append(dataset.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=band))
    return found


def stored_share(dataset: DatasetReader) -> float:
    """Share (0..1) of an open raster's blocks that are stored; 1 of formats that store them all.

    Of bands with blocks of their own it is that of the fullest of the first few.
    """
    if dataset.driver != "GTiff":
        return 1.0
    planes = 1 if dataset.interleaving == Interleaving.pixel else min(dataset.count, _FEW_BANDS)
    sizes = [block_sizes(dataset, band + 1) for band in range(planes)]
    return max(sum(size is not None for size in one) / len(one) for one in sizes)
