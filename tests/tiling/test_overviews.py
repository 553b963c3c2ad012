"""Overviews that do not show the scene are not read in its place, and true ones are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from scipy import ndimage

from lanner.core.config import Normalise
from tiling.grid import Box
from tiling.normalise import scene_stretch
from tiling.notes import notes_of
from tiling.overviews import is_true
from tiling.sample import GridSampler, Level
from tiling.scene import Scene, open_scene

RGB = ("red", "green", "blue")
FACTORS = [2, 4, 8, 16]


def picture(seed: int = 0, height: int = 701, width: int = 903) -> np.ndarray:
    """Fields, a road and roofs: smooth, with edges and some noise; (3, h, w) float 0..1."""
    rng = np.random.default_rng(seed)
    ground = sum(
        ndimage.gaussian_filter(rng.standard_normal((height, width)), s) * s for s in (3, 12, 40)
    )
    ground = (ground - ground.min()) / np.ptp(ground)
    bands = np.stack([0.2 + 0.5 * ground, 0.3 + 0.4 * ground, 0.25 + 0.3 * ground])
    for _ in range(60):
        y, x = rng.integers(0, height - 40), rng.integers(0, width - 40)
        bands[:, y : y + rng.integers(8, 40), x : x + rng.integers(8, 40)] = rng.random((3, 1, 1))
    return np.clip(bands + rng.normal(0, 0.02, bands.shape), 0, 1)


def write(
    path: Path,
    pixels: np.ndarray,
    how: Resampling | None = Resampling.average,
    valid: np.ndarray | None = None,
    **more: object,
) -> Path:
    profile = {
        "driver": "GTiff",
        "width": pixels.shape[2],
        "height": pixels.shape[1],
        "count": pixels.shape[0],
        "dtype": pixels.dtype,
        "crs": "EPSG:32633",
        "transform": Affine(1, 0, 5e5, 0, -1, 5e6),
        "tiled": True,
        **more,
    }
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **profile) as file,
    ):
        file.write(pixels)
        if valid is not None:
            file.write_mask(valid)
    if how is not None:
        with rasterio.open(path, "r+") as file:
            file.build_overviews(FACTORS, how)
    return path


def read(scene: Scene, gsd: float) -> tuple[np.ndarray, np.ndarray]:
    grid = scene.grid(gsd)
    with GridSampler(scene, grid, RGB) as sampler:
        return sampler.read(Box(0, 0, grid.width, grid.height))


def all_true(path: Path) -> bool:
    scene = open_scene(path, gsd=1.0)
    assert scene.overviews
    return all(is_true(scene, n) for n in range(len(scene.overviews)))


HOWS = [
    "nearest",
    "average",
    "gauss",
    "cubic",
    "cubic_spline",
    "lanczos",
    "bilinear",
    "mode",
    "rms",
]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(("dtype", "scale"), [("uint8", 255), ("uint16", 3000), ("float32", 1)])
def test_true_overviews_are_read(tmp_path: Path, how: str, dtype: str, scale: float) -> None:
    pixels = (picture() * scale).astype(dtype)
    path = write(tmp_path / "a.tif", pixels, Resampling[how])
    assert all_true(path)
    scene = open_scene(path)
    grid = scene.grid(9.0)
    assert Level.checked(scene, grid) == Level.of(scene, grid) == Level(1, 1)
    assert notes_of(scene, grid, scene_stretch(scene, RGB, Normalise())) == ()


@pytest.mark.parametrize(
    "kind", ["nodata", "nan", "mask", "alpha", "noise", "flat", "jpeg", "gray"]
)
def test_so_are_those_of_odd_scenes(tmp_path: Path, kind: str) -> None:
    pixels = (picture() * 250 + 3).astype(np.uint8)
    y, x = np.mgrid[:701, :903]
    hole = x + y < 700
    path = tmp_path / "a.tif"
    if kind == "nodata":
        write(path, np.where(hole, 0, pixels), nodata=0)
    elif kind == "nan":
        write(path, np.where(hole, np.nan, pixels / 250).astype(np.float32), nodata=np.nan)
    elif kind == "mask":
        write(path, pixels, valid=~hole)
    elif kind == "alpha":
        both = np.concatenate([pixels, np.where(hole, 0, 255).astype(np.uint8)[None]])
        write(path, both, photometric="rgb", alpha="yes")
    elif kind == "noise":
        noise = np.random.default_rng(0).integers(0, 65535, pixels.shape, dtype=np.uint16)
        write(path, noise, Resampling.nearest)
    elif kind == "flat":
        write(path, np.full_like(pixels, 90))
    elif kind == "jpeg":
        write(path, pixels, compress="jpeg", photometric="ycbcr", JPEG_QUALITY=50)
    else:
        write(path, pixels[:1])
    assert all_true(path)


def half(pixels: np.ndarray) -> np.ndarray:
    out = pixels.copy()
    out[:, pixels.shape[1] // 2 :] = 0
    return out


STALE = {
    "blank": np.zeros_like,
    "white": lambda p: np.full_like(p, np.iinfo(p.dtype).max),
    "half": half,
    "older": lambda p: (picture(7) * (255 if p.dtype == np.uint8 else 3000)).astype(p.dtype),
    "upside down": lambda p: np.ascontiguousarray(p[:, ::-1]),
}


@pytest.mark.parametrize("kind", STALE)
@pytest.mark.parametrize(("dtype", "scale"), [("uint8", 255), ("uint16", 3000)])
@pytest.mark.parametrize("beside", [False, True])
def test_others_are_not_and_the_user_is_told(
    tmp_path: Path, kind: str, dtype: str, scale: int, beside: bool
) -> None:
    pixels = (picture() * scale).astype(dtype)
    path = tmp_path / "a.tif"
    with rasterio.Env(TIFF_USE_OVR=beside):
        write(path, STALE[kind](pixels))
    plain = open_scene(write(tmp_path / "plain.tif", pixels, None))
    with rasterio.open(path, "r+") as file:
        file.write(pixels)  # and the overviews stay as they were
    assert (tmp_path / "a.tif.ovr").exists() == beside
    scene = open_scene(path)
    assert scene.overviews == tuple(FACTORS)
    for gsd in (9.0, 17.0):
        for got, expected in zip(read(scene, gsd), read(plain, gsd), strict=True):
            np.testing.assert_array_equal(got, expected)
    stretch = scene_stretch(scene, RGB, Normalise())
    (note,) = notes_of(scene, scene.grid(9.0), stretch)
    assert "overviews" in note and "gdaladdo" in note
    assert notes_of(scene, scene.grid(2.0), stretch) == ()  # where none would be read


def test_blank_ones_that_count_as_no_data(tmp_path: Path) -> None:
    """The reduced scene would be empty, and nothing would be found in it without a word."""
    pixels = (picture() * 250 + 3).astype(np.uint8)
    path = write(tmp_path / "a.tif", np.zeros_like(pixels), nodata=0)
    with rasterio.open(path, "r+") as file:
        file.write(pixels)
    scene = open_scene(path)
    assert not is_true(scene, 1)
    assert read(scene, 9.0)[1].all()


def test_overviews_that_were_made_anew_are_looked_at_again(tmp_path: Path) -> None:
    pixels = (picture() * 255).astype(np.uint8)
    path = write(tmp_path / "a.tif", np.zeros_like(pixels))
    with rasterio.open(path, "r+") as file:
        file.write(pixels)
    scene = open_scene(path)
    assert not is_true(scene, 1)
    with rasterio.open(path, "r+") as file:
        file.build_overviews(FACTORS, Resampling.average)
    assert is_true(scene, 1)
