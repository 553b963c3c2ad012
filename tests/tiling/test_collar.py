"""Borders that are not declared, and scenes that are dark, do not ruin the stretch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from lanner.core.config import Normalise
from tiling.grid import TilePlan
from tiling.normalise import Stretch, scene_stretch
from tiling.notes import notes_of
from tiling.reader import TileReader
from tiling.scene import Scene, open_scene

RGB = ("red", "green", "blue")


def write(path: Path, pixels: np.ndarray, **more: object) -> Scene:
    profile = {
        "driver": "GTiff",
        "width": pixels.shape[2],
        "height": pixels.shape[1],
        "count": pixels.shape[0],
        "dtype": pixels.dtype,
        "crs": "EPSG:32633",
        "transform": Affine(1, 0, 5e5, 0, -1, 5e6),
        "tiled": True,
        "compress": "deflate",
        **more,
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels)
    return open_scene(path, gsd=1.0)


def picture(side: int) -> np.ndarray:
    rng = np.random.default_rng(2)
    return rng.gamma(4, 0.05, (3, side, side)).clip(0.01, 0.9)


def footprint(side: int, tilt: float = 0.3) -> np.ndarray:
    """A turned square inside the raster, which leaves triangles at the corners."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    u, v = x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt)
    return (np.abs(u) < 0.38) & (np.abs(v) < 0.38)


def tiles(scene: Scene, stretch: Stretch, gsd: float = 1.0) -> list[tuple[bytes, bytes]]:
    plan = TilePlan(scene.grid(gsd), 128, 16)
    reader = TileReader(scene, plan, RGB, stretch, 1)
    return [(i.pixels.tobytes(), i.valid.tobytes()) for i in reader.tiles(range(len(plan)))]


CASES = [
    ("uint16", 3000, 0),
    ("uint16", 3000, 65535),
    ("int16", 3000, -32768),
    ("int16", 3000, -9999),
    ("float32", 1, 0),
    ("float32", 1, -9999),
]


@pytest.mark.parametrize(("dtype", "scale", "value"), CASES)
@pytest.mark.parametrize("side", [400, 1300])
def test_a_border_is_as_if_it_were_declared(
    tmp_path: Path, dtype: str, scale: float, value: float, side: int
) -> None:
    inside = footprint(side)
    pixels = np.where(inside, picture(side) * scale, value).astype(dtype)
    declared = write(tmp_path / "declared.tif", pixels, nodata=value)
    scene = write(tmp_path / "scene.tif", pixels)
    stretch = scene_stretch(scene, RGB, Normalise())
    expected = scene_stretch(declared, RGB, Normalise())
    assert (stretch.low, stretch.high) == (expected.low, expected.high)
    assert stretch.fill == value and expected.fill is None
    for gsd in (1.0, 1.7, 9.0):
        assert tiles(scene, stretch, gsd) == tiles(declared, expected, gsd)
    (note,) = notes_of(scene, scene.grid(1.0), stretch)
    assert f"-a_nodata {value:g}" in note and f"{1 - inside.mean():.0%}"[:1] in note
    assert notes_of(declared, declared.grid(1.0), expected) == ()


def test_a_value_that_is_measured_inside_too_stays_one(tmp_path: Path) -> None:
    """White roofs do not become holes because the border is white."""
    inside = footprint(1300)
    pixels = np.where(inside, picture(1300) * 3000, 65535).astype(np.uint16)
    pixels[:, 500:700, 500:700] = 65535
    scene = write(tmp_path / "a.tif", pixels)
    stretch = scene_stretch(scene, RGB, Normalise())
    assert stretch.fill is None
    assert 100 < stretch.low[0] < stretch.high[0] <= 65535
    border = scene_stretch(write(tmp_path / "b.tif", pixels, nodata=65535), RGB, Normalise())
    assert stretch.low[0] == pytest.approx(border.low[0], rel=0.1)
    assert len(stretch.notes) == 1


def old_stretch(pixels: np.ndarray) -> np.ndarray:
    return np.percentile(pixels.reshape(3, -1).astype(np.float64), (1, 99), axis=1)


@pytest.mark.parametrize(
    "kind", ["none", "thin", "inner", "one band", "zeros inside", "other", "all"]
)
def test_what_is_no_border_changes_nothing(tmp_path: Path, kind: str) -> None:
    pixels = (picture(400) * 3000).astype(np.uint16)
    if kind == "thin":
        pixels[:, 0, :100] = 0
    elif kind == "inner":  # a lake, away from the edge
        pixels[:, 100:200, 100:200] = 0
    elif kind == "one band":
        pixels[0, :, :100] = 0
    elif kind == "zeros inside":
        pixels[:, np.random.default_rng(0).random((400, 400)) < 0.05] = 0
    elif kind == "other":  # no value that software fills with
        pixels[:, :, :100] = 7
    elif kind == "all":
        pixels[:] = 0
    stretch = scene_stretch(write(tmp_path / "a.tif", pixels), RGB, Normalise())
    low, high = old_stretch(pixels)
    assert stretch == Stretch(tuple(low), tuple(high)) and stretch.notes == ()


def test_a_dark_scene_of_8_bits_is_stretched(tmp_path: Path) -> None:
    pixels = (picture(600) * 46).astype(np.uint8)
    assert pixels.max() <= 42
    pixels[:, 5, :3] = 255  # a few hot pixels
    scene = write(tmp_path / "a.tif", pixels)
    stretch = scene_stretch(scene, RGB, Normalise())
    wide = write(tmp_path / "b.tif", pixels.astype(np.uint16))
    assert stretch == scene_stretch(wide, RGB, Normalise())
    (note,) = notes_of(scene, scene.grid(1.0), stretch)
    assert "dark" in note


@pytest.mark.parametrize("kind", ["bright spot", "flat", "empty", "ordinary", "white"])
def test_other_scenes_of_8_bits_stay_as_they_are(tmp_path: Path, kind: str) -> None:
    side = 1200
    pixels = (picture(side) * 46).astype(np.uint8)
    more: dict[str, object] = {}
    if kind == "bright spot":
        pixels[:, 20:80, 30:90] = 200
    elif kind == "flat":
        pixels[:] = 30
    elif kind == "empty":
        pixels[:], more = 0, {"nodata": 0}
    elif kind == "ordinary":
        pixels = (picture(side) * 255).astype(np.uint8)
    else:
        pixels = 255 - pixels
    scene = write(tmp_path / "a.tif", pixels, **more)
    stretch = scene_stretch(scene, RGB, Normalise())
    assert stretch == Stretch((0.0,) * 3, (255.0,) * 3) and stretch.notes == ()
