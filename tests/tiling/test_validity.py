"""One validity whichever way the file tells it, for every type of pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import from_origin

from lanner.core.config import Normalise
from lanner.core.errors import SceneError
from tiling.grid import Box, TilePlan
from tiling.normalise import require_valid, scene_stretch
from tiling.reader import TileReader
from tiling.sample import GridSampler
from tiling.scene import open_scene

RGB = ("red", "green", "blue")
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "float32", "float64")
KINDS = ("nodata", "sentinel", "nan", "alpha", "msk", "internal")
WIDTH, HEIGHT = 90, 70


def picture() -> tuple[np.ndarray, np.ndarray]:
    """Values 1..120 that any type holds, and a ragged validity."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    pixels = (60 + 40 * np.sin(x / 7 + np.arange(3)[:, None, None]) * np.cos(y / 9)).astype(int)
    valid = (x + 2 * y > 40) & (rng.random((HEIGHT, WIDTH)) > 0.05)
    return pixels, valid


def write(
    path: Path, dtype: str, kind: str, pixels: np.ndarray, valid: np.ndarray, tiled: bool = False
) -> None:
    data = np.where(valid, pixels, 0).astype(dtype)
    profile = {
        "driver": "GTiff",
        "width": pixels.shape[2],
        "height": pixels.shape[1],
        "count": 3,
        "dtype": dtype,
        "crs": "EPSG:32633",
        "transform": from_origin(5e5, 5e6, 1, 1),
        "photometric": "rgb",
    }
    if tiled:
        profile |= {"tiled": True, "blockxsize": 32, "blockysize": 16, "compress": "deflate"}
    # What lies under a mask is junk that must never be seen.
    junk = np.where(valid, pixels, 111).astype(dtype)
    if kind == "nodata":
        profile["nodata"] = 0
    elif kind == "sentinel":
        profile["nodata"] = np.iinfo(dtype).max if np.dtype(dtype).kind in "ui" else -9999
        data = np.where(valid, pixels, profile["nodata"]).astype(dtype)
    elif kind == "nan":
        data = np.where(valid, pixels, np.nan).astype(dtype)
    elif kind == "alpha":
        profile |= {"count": 4, "alpha": "yes"}
        alpha = np.where(valid, 255 if dtype != "int8" else 127, 0).astype(dtype)
        data = np.concatenate([junk, alpha[None]])
    else:
        data = junk
    path.with_suffix(".tif.msk").unlink(missing_ok=True)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind == "internal"),
        rasterio.open(path, "w", **profile) as file,
    ):
        file.write(data)
        if kind in ("msk", "internal"):
            file.write_mask(valid)
    assert path.with_suffix(".tif.msk").exists() == (kind == "msk")


def cases() -> list[tuple[str, str]]:
    return [(d, k) for d in DTYPES for k in KINDS if k != "nan" or d.startswith("float")]


@pytest.mark.parametrize(("dtype", "kind"), cases())
@pytest.mark.parametrize("gsd", [1.0, 1.7, 9.0])
def test_every_kind_of_nodata_gives_the_same_pixels(
    tmp_path: Path, dtype: str, kind: str, gsd: float
) -> None:
    pixels, valid = picture()
    write(tmp_path / "masked.tif", "uint8", "internal", pixels, valid)
    write(tmp_path / "scene.tif", dtype, kind, pixels, valid, tiled=True)
    spec = Normalise(mode="stretch")
    images = []
    for name in ("masked.tif", "scene.tif"):
        scene = open_scene(tmp_path / name, gsd=1.0)
        plan = TilePlan(scene.grid(gsd), 64, 0)
        stretch = scene_stretch(scene, RGB, spec)
        images.append(list(TileReader(scene, plan, RGB, stretch, 2).tiles(range(len(plan)))))
    for expected, image in zip(*images, strict=True):
        np.testing.assert_array_equal(image.valid, expected.valid)
        np.testing.assert_array_equal(image.pixels, expected.pixels)
        assert not image.pixels[:, ~image.valid].any()
    shares = [i.valid.mean() for i in images[1]]
    assert max(shares) > 0


def test_native_reading_returns_the_file(tmp_path: Path) -> None:
    pixels, valid = picture()
    write(tmp_path / "a.tif", "uint16", "nodata", pixels, valid)
    scene = open_scene(tmp_path / "a.tif", gsd=1.0)
    with GridSampler(scene, scene.grid(1.0), ("blue", "red")) as sampler:
        raw, got = sampler.read(Box(-3, -5, WIDTH + 4, HEIGHT + 2))
    inside = (slice(5, 5 + HEIGHT), slice(3, 3 + WIDTH))
    np.testing.assert_array_equal(got[inside], valid)
    np.testing.assert_array_equal(raw[:, *inside], np.where(valid, pixels, 0)[[2, 0]])
    assert got.sum() == valid.sum()


def test_a_black_object_in_one_band_survives_nodata_zero(tmp_path: Path) -> None:
    pixels = np.full((3, 8, 8), 50)
    pixels[0, 2, 2] = 0
    pixels[:, 4, 4] = 0
    write(tmp_path / "a.tif", "uint16", "nodata", pixels, np.ones((8, 8), bool))
    scene = open_scene(tmp_path / "a.tif", gsd=1.0)
    with GridSampler(scene, scene.grid(1.0), RGB) as sampler:
        raw, valid = sampler.read(Box(0, 0, 8, 8))
    assert valid[2, 2] and not valid[4, 4] and valid.sum() == 63
    assert raw[:, 2, 2].tolist() == [0, 50, 50]


def test_a_sentinel_in_one_band_spoils_the_pixel_and_no_neighbour(tmp_path: Path) -> None:
    pixels = np.full((3, 9, 9), 50.0)
    pixels[1, 4, 4] = -9999
    path = tmp_path / "a.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=9,
        height=9,
        count=3,
        dtype="float32",
        nodata=-9999,
        crs="EPSG:32633",
        transform=from_origin(5e5, 5e6, 1, 1),
    ) as file:
        file.write(pixels.astype("float32"))
    scene = open_scene(path, gsd=1.0)
    with GridSampler(scene, scene.grid(1.5), RGB) as sampler:
        raw, valid = sampler.read(Box(0, 0, 6, 6))
    assert valid.all()  # every grid pixel has more good weight than bad
    np.testing.assert_allclose(raw, 50, rtol=1e-6)


def one_odd(path: Path, dtype: str, value: float) -> Path:
    """A grey scene of 3.0 with one other value, which nothing declares."""
    pixels = np.full((1, 9, 9), 3.0, dtype)
    pixels[0, 1, 2] = value
    profile = {"driver": "GTiff", "width": 9, "height": 9, "count": 1, "dtype": dtype}
    place = {"crs": "EPSG:32633", "transform": from_origin(5e5, 5e6, 1, 1)}
    with rasterio.open(path, "w", **profile, **place) as file:
        file.write(pixels)
    return path


ABSURD = [
    *(("float32", v) for v in (np.nan, np.inf, -np.inf, -3.4028235e38, 1.70141e38, 9.96921e36)),
    *(("float64", v) for v in (np.nan, np.inf, -1.797e308, 1e300, 3.5e38, -3.4028235e38)),
]


@pytest.mark.parametrize(("dtype", "value"), ABSURD)
def test_what_is_no_measurement_is_invalid_without_being_declared(
    tmp_path: Path, dtype: str, value: float
) -> None:
    scene = open_scene(one_odd(tmp_path / "a.tif", dtype, value), gsd=1.0)
    with GridSampler(scene, scene.grid(1.0), RGB) as sampler:
        raw, valid = sampler.read(Box(0, 0, 9, 9))
    assert not valid[1, 2] and valid.sum() == 80
    assert raw[:, 1, 2].tolist() == [0, 0, 0] and raw.max() == 3
    for gsd in (0.6, 1.5, 5.0):  # and spoils no neighbour, whichever way it is resampled
        grid = scene.grid(gsd)
        with GridSampler(scene, grid, RGB) as sampler:
            raw, valid = sampler.read(Box(0, 0, grid.width, grid.height))
        np.testing.assert_allclose(raw[:, valid], 3, rtol=1e-6)
    stretch = scene_stretch(scene, RGB, Normalise(percentiles=(0, 100)))
    assert stretch.low == stretch.high == (3.0, 3.0, 3.0)


@pytest.mark.parametrize(("dtype", "value"), [("float32", 1e30), ("float64", -1e35)])
def test_what_is_large_stays_a_value(tmp_path: Path, dtype: str, value: float) -> None:
    scene = open_scene(one_odd(tmp_path / "a.tif", dtype, value), gsd=1.0)
    with GridSampler(scene, scene.grid(1.0), RGB) as sampler:
        raw, valid = sampler.read(Box(0, 0, 9, 9))
    assert valid.all() and raw[0, 1, 2] == np.float32(value)


def test_a_nodata_value_no_pixel_can_hold_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 3, "dtype": "uint8"}
    place = {"crs": "EPSG:32633", "transform": from_origin(5e5, 5e6, 1, 1)}
    with rasterio.open(path, "w", **profile, **place, nodata=255) as file:
        file.write(np.arange(48, dtype=np.uint8).reshape(3, 4, 4))
    # rasterio refuses to write such a tag; other software does not.
    written = path.read_bytes()
    assert written.count(b"255\0") == 1
    path.write_bytes(written.replace(b"255\0", b"-99\0"))
    scene = open_scene(path, gsd=1.0)
    require_valid(scene, RGB)
    with GridSampler(scene, scene.grid(1.0), RGB) as sampler:
        raw, valid = sampler.read(Box(0, 0, 4, 4))
    assert valid.all() and raw[0, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", ["nodata", "alpha", "msk", "internal"])
@pytest.mark.parametrize("side", [20, 1500])
def test_a_scene_without_a_valid_pixel(tmp_path: Path, kind: str, side: int) -> None:
    pixels = np.full((3, side, side), 9)
    valid = np.zeros((side, side), bool)
    path = tmp_path / "empty.tif"
    write(path, "uint16", kind, pixels, valid, tiled=True)
    scene = open_scene(path)
    with pytest.raises(SceneError, match=r"empty\.tif.*holds no valid pixel"):
        require_valid(scene, RGB)
    with pytest.raises(SceneError, match="holds no valid pixel"):
        scene_stretch(scene, RGB, Normalise())
    reader = TileReader(scene, TilePlan(scene.grid(1.0), 64, 0), RGB, scene_stretch_of_zeros(), 1)
    assert reader.read(0).empty


def scene_stretch_of_zeros():  # type: ignore[no-untyped-def]
    from tiling.normalise import Stretch

    return Stretch((0.0,) * 3, (1.0,) * 3)


def test_one_valid_pixel_in_a_corner_is_found(tmp_path: Path) -> None:
    side = 1500
    valid = np.zeros((side, side), bool)
    valid[777, 1401] = True
    path = tmp_path / "a.tif"
    write(path, "uint16", "internal", np.full((3, side, side), 9), valid, tiled=True)
    scene = open_scene(path)
    require_valid(scene, RGB)
    stretch = scene_stretch(scene, RGB, Normalise())
    assert stretch.low == stretch.high == (9.0, 9.0, 9.0)
    raw = np.full((3, 2, 2), 9, np.float32)
    assert stretch.apply(raw, np.array([[1, 1], [1, 0]], bool))[0].tolist() == [
        [0.5, 0.5],
        [0.5, 0.0],
    ]


@pytest.mark.parametrize("kind", ["nodata", "alpha", "msk", "internal"])
@pytest.mark.parametrize("mask_overviews", [True, False])
def test_overviews_keep_validity(tmp_path: Path, kind: str, mask_overviews: bool) -> None:
    """And where the mask has no overviews, those of the pixels are left alone."""
    pixels = np.full((3, 512, 512), 50)
    valid = np.ones((512, 512), bool)
    valid[:200, :300] = False
    path = tmp_path / "a.tif"
    write(path, "uint16", kind, pixels, valid, tiled=True)
    if not mask_overviews and kind in ("msk", "internal"):
        write(path, "uint16", "none", pixels, valid, tiled=True)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8], Resampling.average)
    if not mask_overviews and kind in ("msk", "internal"):
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind == "internal"),
            rasterio.open(path, "r+") as file,
        ):
            file.write_mask(valid)
    scene = open_scene(path, gsd=1.0)
    trusted = mask_overviews or kind in ("nodata", "alpha")
    assert scene.overviews == ((2, 4, 8) if trusted else ())
    with GridSampler(scene, scene.grid(20.0), RGB) as sampler:
        raw, got = sampler.read(Box(0, 0, 26, 26))
    assert not got[:9, :14].any() and got[11:].all() and got[:, 16:].all()
    np.testing.assert_allclose(raw[:, got], 50, rtol=1e-5)
