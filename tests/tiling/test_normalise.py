"""The scene-level stretch: one for the scene, the same in every type of pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from lanner.core.config import Normalise
from lanner.core.errors import BandError, SceneError
from tiling.normalise import Stretch, require_valid, scene_stretch
from tiling.scene import Scene, open_scene

RGB = ("red", "green", "blue")


def scene(path: Path, pixels: np.ndarray, **more: object) -> Scene:
    count, height, width = pixels.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=count,
        dtype=pixels.dtype,
        crs="EPSG:32633",
        transform=Affine(1, 0, 5e5, 0, -1, 5e6),
        tiled=True,
        **more,
    ) as file:
        file.write(pixels)
    return open_scene(path)


def picture(side: int = 300) -> np.ndarray:
    rng = np.random.default_rng(2)
    return rng.gamma(4, 0.05, (3, side, side)).clip(0.001, 1)


def test_8_bit_is_divided_by_255_and_nothing_else(tmp_path: Path) -> None:
    pixels = (picture() * 255).astype(np.uint8)
    stretch = scene_stretch(scene(tmp_path / "a.tif", pixels), RGB, Normalise())
    assert stretch == Stretch((0, 0, 0), (255, 255, 255))
    out = stretch.apply(pixels.astype(np.float32), np.ones(pixels.shape[1:], bool))
    np.testing.assert_array_equal(out, pixels.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("mode", ["auto", "stretch"])
def test_percentiles_of_the_valid_pixels(tmp_path: Path, mode: str) -> None:
    pixels = (picture() * 10000).astype(np.uint16)
    pixels[:, :100] = 0
    source = scene(tmp_path / "a.tif", pixels, nodata=0)
    stretch = scene_stretch(source, RGB, Normalise(mode=mode, percentiles=(2, 97)))
    expected = np.percentile(pixels[:, 100:], (2, 97), axis=(1, 2))
    np.testing.assert_allclose([stretch.low, stretch.high], expected)
    assert scene_stretch(source, RGB, Normalise(mode=mode, percentiles=(2, 97))) == stretch


@pytest.mark.parametrize(
    ("dtype", "scale", "shift"),
    [
        ("uint16", 60000, 0),
        ("uint16", 2000, 0),
        ("int16", 30000, 0),
        ("int16", 60000, -30000),
        ("float32", 1, 0),
        ("float32", 1e-2, 5),
        ("float64", 1e9, -3),
        ("uint32", 4e9, 0),
    ],
)
def test_the_same_scene_in_another_type_looks_the_same(
    tmp_path: Path, dtype: str, scale: float, shift: float
) -> None:
    pixels = picture()
    images = []
    for name, raw in (("a", pixels.astype("float64")), ("b", pixels * scale + shift)):
        source = scene(tmp_path / f"{name}.tif", raw.astype(dtype if name == "b" else "float64"))
        stretch = scene_stretch(source, RGB, Normalise())
        images.append(
            stretch.apply(
                raw.astype(dtype if name == "b" else "float64").astype(np.float32),
                np.ones(raw.shape[1:], bool),
            )
        )
    # One step of the coarsest of these types is 1/2000 of the range, a third of it is used.
    np.testing.assert_allclose(images[1], images[0], atol=3 / 1000)
    assert images[0].min() == 0 and images[0].max() == 1


def test_a_big_scene_is_sampled_evenly(tmp_path: Path) -> None:
    side = 2500
    ramp = np.linspace(0, 10000, side, dtype=np.float32)
    pixels = np.broadcast_to(ramp, (1, side, side))
    stretch = scene_stretch(scene(tmp_path / "a.tif", pixels, compress="deflate"), RGB, Normalise())
    assert stretch.low[0] == pytest.approx(100, abs=100)
    assert stretch.high[0] == pytest.approx(9900, abs=100)


def test_a_mostly_constant_band_runs_between_its_extremes(tmp_path: Path) -> None:
    pixels = np.full((1, 200, 200), 7, np.uint16)
    pixels[0, 3, 4], pixels[0, 9, 9] = 107, 57
    stretch = scene_stretch(scene(tmp_path / "a.tif", pixels), RGB, Normalise())
    assert stretch.low[0] == 7 and stretch.high[0] == 107


def test_what_is_invalid_is_zero_and_what_overshoots_is_clipped() -> None:
    raw = np.array([[[-5, 0, 5, 10, 99]]], np.float32)
    valid = np.array([[True, True, True, True, False]])
    assert Stretch((0,), (10,)).apply(raw, valid).tolist() == [[[0, 0, 0.5, 1, 0]]]
    assert raw.tolist() == [[[-5, 0, 5, 10, 99]]]  # the argument is left alone


def test_a_missing_band_is_told_before_anything_is_read(tmp_path: Path) -> None:
    source = scene(tmp_path / "a.tif", (picture(20) * 99).astype(np.uint16))
    with pytest.raises(BandError, match="nir"):
        scene_stretch(source, ("nir",), Normalise())


@pytest.mark.parametrize("nodata", [0, None])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_a_sparse_scene_is_stretched_as_one_that_is_stored_whole(tmp_path, nodata, interleave):
    pixels = np.random.default_rng(3).integers(20, 200, (3, 16, 40)).astype(np.uint8)
    stretches = []
    for name, sparse in (("sparse", True), ("whole", False)):
        path = tmp_path / f"{name}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", width=3000, height=6000, count=3, dtype="uint8",
            crs="EPSG:32633", transform=Affine(1, 0, 500_000, 0, -1, 5_000_000), tiled=True,
            blockxsize=128, blockysize=128, nodata=nodata, interleave=interleave, sparse_ok=sparse,
            photometric="rgb",
        ) as file:  # fmt: skip
            if not sparse:
                file.write(np.zeros((3, 6000, 3000), np.uint8))
            file.write(pixels, window=Window(1111, 4321, 40, 16))
        scene = open_scene(path)
        require_valid(scene, ("red", "green", "blue"))
        stretches.append(scene_stretch(scene, ("red", "green", "blue"), Normalise()))
    assert stretches[0] == stretches[1]
    sizes = [(tmp_path / f"{name}.tif").stat().st_size for name in ("sparse", "whole")]
    assert sizes[0] * 10 < sizes[1]


def test_a_sparse_scene_without_anything_is_refused(tmp_path):
    path = tmp_path / "none.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=3000, height=3000, count=3, dtype="uint8", nodata=0,
        crs="EPSG:32633", transform=Affine(1, 0, 500_000, 0, -1, 5_000_000), tiled=True,
        sparse_ok=True, photometric="rgb",
    ):  # fmt: skip
        pass
    with pytest.raises(SceneError, match="no valid pixel"):
        require_valid(open_scene(path), ("red", "green", "blue"))
