"""Scenes with damage in the middle of the file."""

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

BLOCK = 64


def write_damaged(path: Path, pixels: np.ndarray, blocks, *, gsd: float = 1.0) -> None:
    """(bands, h, w) pixels as a compressed GeoTIFF in blocks of 64 x 64, of which those of the
    given (column, row) hold what no decoder takes.
    """
    bands, height, width = pixels.shape
    place = {"crs": "EPSG:32633", "transform": Affine(gsd, 0, 5e5, 0, -gsd, 5e6)}
    shape = {"width": width, "height": height, "count": bands, "dtype": pixels.dtype}
    tiles = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate"}
    form = {"driver": "GTiff", "interleave": "pixel", **tiles}
    with rasterio.open(path, "w", **form, **shape, **place) as file:
        file.write(pixels)
    with rasterio.open(path) as file:
        places = [
            [
                int(file.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=1))
                for what in ("OFFSET", "SIZE")
            ]
            for col, row in blocks
        ]
    with open(path, "r+b") as file:
        for offset, size in places:
            file.seek(offset)
            file.write(b"\xff" * size)
