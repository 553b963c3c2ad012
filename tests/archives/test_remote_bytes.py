"""What a batch reads of COGs over HTTP ranges: the blocks of its tiles, and little beside."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

import lanner
from tests.archives.fixtures_archive import own_cache
from tests.tiling.test_remote import serving

__all__ = ["own_cache"]

pytestmark = pytest.mark.usefixtures("at_home", "own_cache")

SIDE, BLOCK = 2560, 512


def write_cog(path: Path, dtype: str, gsd: float) -> Path:
    """Blocks that are not compressed, so that an empty field weighs as much as any other."""
    pixels = np.full((3, SIDE, SIDE), 90, dtype)
    profile = {"driver": "COG", "width": SIDE, "height": SIDE, "count": 3, "dtype": dtype}
    place = {"crs": "EPSG:32633", "transform": Affine(gsd, 0, 5e5, 0, -gsd, 5e6)}
    with rasterio.open(path, "w", **profile, **place, compress="none", blocksize=BLOCK) as out:
        out.write(pixels)
    return path


def block_bytes(path: Path) -> int:
    """Bytes of all blocks of the full raster."""
    with rasterio.open(path) as file:
        count = -(-SIDE // BLOCK)
        names = [f"BLOCK_SIZE_{x}_{y}" for x in range(count) for y in range(count)]
        return sum(int(file.get_tag_item(name, "TIFF", bidx=1)) for name in names)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("gsd", [1.0, 0.5])
def test_batch_reads_the_blocks_that_its_tiles_need(tmp_path, dtype, gsd):
    (tmp_path / "files").mkdir()
    path = write_cog(tmp_path / "files" / "a.tif", dtype, gsd)
    needed = block_bytes(path)
    with serving(tmp_path / "files") as server:
        plan = lanner.plan(f"{server.url}/a.tif", "tinyroads", tile=1024)
        planned = server.sent
        result = lanner.batch(
            f"{server.url}/a.tif", "tinyroads", tmp_path / "out", tile=1024, on="serial"
        )
    assert not result.failed
    assert planned < needed / 10
    assert server.sent < 1.2 * needed, f"{server.sent / needed:.3f} x"
    # A plan says beforehand what is read.
    assert 0.8 < plan.bytes / (server.sent - planned) < 1.25
