"""A palette's colours are read, whichever way the file keeps them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling

from lanner.core.config import Normalise
from postprocess.overlay import draw_overlay
from tiling.grid import Box
from tiling.normalise import require_valid, scene_stretch
from tiling.sample import GridSampler
from tiling.scene import Scene, open_scene

RGB = ("red", "green", "blue")
PLACE = {"crs": "EPSG:32633", "transform": Affine(1, 0, 5e5, 0, -1, 5e6)}


def colours(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3))


def write(
    path: Path,
    numbers: np.ndarray,
    table: np.ndarray,
    clear: tuple[int, ...] = (),
    driver: str = "GTiff",
    **more: object,
) -> Path:
    profile = {"width": numbers.shape[1], "height": numbers.shape[0], "count": 1, **PLACE, **more}
    with rasterio.open(path, "w", driver=driver, dtype=numbers.dtype, **profile) as file:
        rows = {n: (*map(int, c), 0 if n in clear else 255) for n, c in enumerate(table)}
        file.write_colormap(1, rows)
        file.write(numbers, 1)
    return path


def read(scene: Scene, gsd: float = 1.0, bands: tuple[str, ...] = RGB) -> tuple[np.ndarray, ...]:
    grid = scene.grid(gsd)
    with GridSampler(scene, grid, bands) as sampler:
        return sampler.read(Box(0, 0, grid.width, grid.height))


@pytest.mark.parametrize(
    ("driver", "name", "dtype"),
    [("GTiff", "x.tif", "uint8"), ("GTiff", "x.tif", "uint16"), ("PNG", "x.png", "uint8")],
)
def test_colours_are_read(tmp_path: Path, driver: str, name: str, dtype: str) -> None:
    table = colours(256)
    numbers = np.random.default_rng(1).integers(0, 256, (40, 50)).astype(dtype)
    more = {"photometric": "palette"} if driver == "GTiff" else {}
    scene = open_scene(write(tmp_path / name, numbers, table, driver=driver, **more), gsd=1.0)
    assert scene.bands == RGB and scene.dtype == "uint8"
    assert any("palette" in note for note in scene.notes)
    raw, valid = read(scene)
    assert valid.all()
    np.testing.assert_array_equal(raw, table[numbers].transpose(2, 0, 1))
    blue, _ = read(scene, bands=("blue", "blue", "red"))
    np.testing.assert_array_equal(blue, raw[[2, 2, 0]])
    require_valid(scene, RGB)
    assert scene_stretch(scene, RGB, Normalise()).high == (255.0,) * 3


def test_grays_are_one_band(tmp_path: Path) -> None:
    table = np.repeat(np.arange(255, -1, -1)[:, None], 3, axis=1)
    numbers = np.arange(200, dtype=np.uint8).reshape(10, 20)
    scene = open_scene(write(tmp_path / "x.tif", numbers, table, photometric="palette"))
    assert scene.bands == ("gray",)
    np.testing.assert_array_equal(read(scene)[0], np.repeat((255 - numbers)[None], 3, axis=0))


@pytest.mark.parametrize("kind", ["nodata", "transparent", "mask"])
def test_numbers_without_data(tmp_path: Path, kind: str) -> None:
    table = colours(256)
    numbers = np.random.default_rng(1).integers(0, 4, (40, 50)).astype(np.uint8)
    path = tmp_path / ("x.png" if kind == "transparent" else "x.tif")
    if kind == "transparent":
        write(path, numbers, table, clear=(2,), driver="PNG")
    else:
        more = {"nodata": 2} if kind == "nodata" else {}
        write(path, numbers, table, photometric="palette", **more)
    if kind == "mask":
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
            file.write_mask(numbers != 2)
    raw, valid = read(open_scene(path, gsd=1.0))
    np.testing.assert_array_equal(valid, numbers != 2)
    np.testing.assert_array_equal(raw, np.where(valid, table[numbers].transpose(2, 0, 1), 0))


def test_reduced_colours_are_means_of_colours(tmp_path: Path) -> None:
    """And not colours of means of numbers."""
    table = np.zeros((256, 3), int)
    table[[0, 100, 50]] = [0, 0, 0], [200, 100, 60], [7, 7, 250]
    numbers = np.zeros((512, 512), np.uint8)
    numbers[:, ::2] = 100
    path = write(tmp_path / "x.tif", numbers, table, photometric="palette", tiled=True)
    for gsd in (2.0, 10.0):
        raw, valid = read(open_scene(path), gsd)
        assert valid.all()
        np.testing.assert_allclose(raw[:, 2:-2, 2:-2].mean(axis=(1, 2)), [100, 50, 30], atol=0.5)
    smooth = np.repeat(np.repeat(np.arange(256).reshape(16, 16), 32, 0), 32, 1).astype(np.uint8)
    path = write(tmp_path / "y.tif", smooth, colours(256), photometric="palette", tiled=True)
    plain, _ = read(open_scene(path), 16.0)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8], Resampling.nearest)
    scene = open_scene(path)
    assert scene.overviews == (2, 4, 8)
    np.testing.assert_allclose(read(scene, 16.0)[0], plain, atol=6)


def test_the_picture_of_what_was_found_is_in_colour(tmp_path: Path) -> None:
    table = np.zeros((256, 3), int)
    table[3] = [200, 40, 90]
    numbers = np.full((300, 300), 3, np.uint8)
    path = write(tmp_path / "x.tif", numbers, table, photometric="palette")
    from PIL import Image

    with Image.open(draw_overlay(str(path), [], tmp_path / "x.png", max_side=300)) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert (pixels == [200, 40, 90]).all(axis=1).mean() > 0.3
