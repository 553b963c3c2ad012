"""A small file whose blocks are huge once decoded is refused in one line, and cheaply."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine

from lanner.core.errors import SceneError
from tests.fixtures_bombs import image, one_tile, tiff, zeros
from tiling.blocks import LARGEST_BLOCK
from tiling.grid import Box
from tiling.sample import GridSampler
from tiling.scene import open_scene

RGB = ("red", "green", "blue")
PLACE = {"crs": "EPSG:32633", "transform": Affine(1, 0, 5e5, 0, -1, 5e6)}


def few_strips(path: Path) -> Path:
    """Two strips: GDAL reads a single one by lines, but not these."""
    side = 1 << 15
    tags = image(side, side, 8, (side, side // 2))
    tags[278] = (4, side // 2)
    strips = {322: None, 323: None}
    packed = [zeros(side * side // 2)] * 2
    tiff(path, [({k: v for k, v in tags.items() if k not in strips}, packed)])
    data = path.read_bytes()
    # The same places and sizes, called strips.
    where = struct.unpack("<I", data[4:8])[0]
    head, body = data[:where], bytearray(data[where:])
    for n in range(struct.unpack("<H", body[:2])[0]):
        at = 2 + 12 * n
        tag = struct.unpack("<H", body[at : at + 2])[0]
        body[at : at + 2] = struct.pack("<H", {324: 273, 325: 279}.get(tag, tag))
    count = struct.unpack("<H", body[:2])[0]
    entries = sorted(bytes(body[2 + 12 * n : 14 + 12 * n]) for n in range(count))
    entries.sort(key=lambda e: struct.unpack("<H", e[:2])[0])
    path.write_bytes(head + bytes(body[:2]) + b"".join(entries) + bytes(4))
    return path


def mask(path: Path) -> Path:
    """Small blocks of pixels, and a mask in one."""
    side, tile = 1 << 15, 2048
    blocks = [zeros(tile * tile)] * (side // tile) ** 2
    return tiff(
        path,
        [
            (image(side, side, 8, (tile, tile)), blocks),
            (image(side, side, 1, (side, side), kind=4), [zeros(side * side // 8)]),
        ],
    )


def overview(path: Path) -> Path:
    """Small blocks of pixels, and an overview in one."""
    side, tile = 1 << 16, 4096
    blocks = [zeros(tile * tile)] * (side // tile) ** 2
    return tiff(
        path,
        [
            (image(side, side, 8, (tile, tile)), blocks),
            (image(side // 2, side // 2, 8, (side // 2, side // 2), 1), [zeros(side * side // 4)]),
        ],
    )


def sidecar(path: Path, ending: str) -> Path:
    side = 1 << 15
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=1, dtype="uint8", sparse_ok=True
    ):
        pass
    bomb = one_tile(path.with_name("bomb.tif"))
    bomb.rename(path.with_name(path.name + ending))
    return path


BOMBS = {
    "a tile": one_tile,
    "strips": few_strips,
    "a mask": mask,
    "an overview": overview,
    "overviews beside": lambda path: sidecar(path, ".ovr"),
    "a mask beside": lambda path: sidecar(path, ".msk"),
}

CODE = """
import json, sys
sys.path[:0] = json.loads(sys.argv[2])
from lanner.core.config import Normalise
from lanner.core.errors import SceneError
from tiling.grid import TilePlan
from tiling.normalise import require_valid, scene_stretch
from tiling.reader import TileReader
from tiling.sample import GridSampler
from tiling.grid import Box
from tiling.scene import open_scene
from tests.fixtures_bombs import image, one_tile, tiff, zeros
rgb = ("red", "green", "blue")
said = ""
try:
    scene = open_scene(sys.argv[1], gsd=1.0)
    require_valid(scene, rgb)
    stretch = scene_stretch(scene, rgb, Normalise())
    for gsd in (1.0, 8.0):
        with GridSampler(scene, scene.grid(gsd), rgb) as sampler:
            sampler.read(Box(0, 0, 64, 64))
except SceneError as error:
    said = str(error)
# Not ru_maxrss, which begins with what the process had that this one was forked from.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
peak = int(status["VmHWM"].split()[0]) / 1024
print(json.dumps({"said": said, "peak": peak}))
"""


@pytest.mark.parametrize("kind", BOMBS)
def test_a_huge_block_is_refused_cheaply(tmp_path: Path, kind: str) -> None:
    path = BOMBS[kind](tmp_path / "x.tif")
    assert path.stat().st_size < 8 << 20
    with rasterio.open(path) as file:  # a true raster, which GDAL would read
        assert file.width >= 1 << 15 and file.count == 1
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(path), json.dumps(sys.path)],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    report = json.loads(done.stdout)
    assert "gdal_translate" in report["said"] and "\n" not in report["said"], report
    assert str(LARGEST_BLOCK >> 20) in report["said"]
    assert report["peak"] < 600


@pytest.mark.parametrize(
    ("driver", "size", "more"),
    [
        ("GTiff", (60_000, 200), {"count": 4, "dtype": "uint16", "interleave": "pixel"}),
        ("GTiff", (5000, 4000), {"count": 3, "compress": "lzw", "BLOCKYSIZE": 4000}),
        ("GTiff", (6000, 4000), {"count": 3, "compress": "lzw", "BLOCKYSIZE": 2000}),
        ("GTiff", (4096, 4096), {"count": 3, "tiled": True, "blockxsize": 4096}),
        ("COG", (3000, 2000), {"count": 3, "blocksize": 1024}),
        ("JP2OpenJPEG", (2100, 2100), {"count": 3, "BLOCKXSIZE": 2048, "BLOCKYSIZE": 2048}),
        ("PNG", (30_000, 100), {"count": 4, "dtype": "uint16"}),
        ("JPEG", (30_000, 100), {"count": 3}),
        ("HFA", (3000, 2000), {"count": 3, "BLOCKSIZE": 2048}),
    ],
)
def test_ordinary_blocks_are_let_in(
    tmp_path: Path, driver: str, size: tuple[int, int], more: dict[str, object]
) -> None:
    profile = {"dtype": "uint8", "width": size[0], "height": size[1], **PLACE, **more}
    pixels = np.full((profile["count"], size[1], size[0]), 50, profile["dtype"])
    with rasterio.open(tmp_path / "x.tif", "w", driver=driver, **profile) as file:
        file.write(pixels)
    scene = open_scene(tmp_path / "x.tif", gsd=1.0)
    with GridSampler(scene, scene.grid(1.0), RGB) as sampler:
        raw, valid = sampler.read(Box(10, 10, 90, 90))
    assert valid.all() and np.abs(raw - 50).max() <= 1


def test_an_absurd_png_is_refused(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    header = struct.pack(">IIBBBBB", (1 << 31) - 1, 100, 16, 6, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    with pytest.raises(SceneError, match=r"x\.png"):
        scene = open_scene(tmp_path / "x.png", gsd=1.0)
        with GridSampler(scene, scene.grid(1.0), RGB) as sampler:
            sampler.read(Box(0, 0, 9, 9))
