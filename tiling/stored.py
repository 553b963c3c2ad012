"""How many bytes of a scene's file hold its pixels, as far as its structure says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rasterio.enums import Interleaving

from tiling.access import opened
from tiling.blocks import block_sizes
from tiling.names import is_remote

if TYPE_CHECKING:
    from rasterio.io import DatasetReader


def holds_nothing(dataset: DatasetReader, top: int, bottom: int) -> bool:
    """Whether rows of a sparse GeoTIFF are nodata for certain: it says so, and no block of theirs
    is stored. False where that cannot be told without reading.
    """
    if dataset.driver != "GTiff" or dataset.nodata is None:
        return False
    rows, cols = dataset.block_shapes[0]
    planes = 1 if dataset.interleaving is Interleaving.pixel else dataset.count
    return not any(
        dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=plane + 1)
        for row in range(top // rows, -(-bottom // rows))
        for col in range(-(-dataset.width // cols))
        for plane in range(planes)
    )


def stored_bytes(uri: str) -> int | None:
    """Bytes of the full raster without its overviews; of other formats than GeoTIFF those of the
    local file, and None of a remote one. A local file that was cut off has no more than its own.

    Raises:
        SceneError: it cannot be opened.
    """
    whole = None if is_remote(uri) else Path(uri).stat().st_size
    with opened(uri) as dataset:
        if dataset.driver != "GTiff":
            return whole
        sizes = block_sizes(dataset)
        rows, cols = dataset.block_shapes[0]
        blocks: int = -(-dataset.height // rows) * -(-dataset.width // cols)
        planes: int = 1 if dataset.interleaving is Interleaving.pixel else dataset.count
    found = round(float(sum(size or 0 for size in sizes)) / len(sizes) * blocks * planes)
    return found if whole is None else min(found, whole)
