"""Grid pixels: one value whichever tile reads them, and the right value."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core import caching
from rasterio.enums import Resampling

from lanner.core.errors import ConfigError
from tiling.compiled import compiled
from tiling.grid import SNAP, Box, Grid, TilePlan
from tiling.resample import decimate, resample, taps
from tiling.sample import GridSampler, Level
from tiling.scene import Scene, open_scene

RGB = ("red", "green", "blue")
WIDTH, HEIGHT = 211, 173
SCALES = (1.0, 0.37, 1.3, 2.0, 3.332, 4.7, 11.3, 60.0)


def write(path: Path, pixels: np.ndarray, valid: np.ndarray | None = None, **more: object) -> Path:
    count, height, width = pixels.shape
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=width,
            height=height,
            count=count,
            dtype=pixels.dtype,
            crs="EPSG:32633",
            transform=Affine(1, 0, 5e5, 0, -1, 5e6),
            **more,
        ) as file,
    ):
        file.write(pixels)
        if valid is not None:
            file.write_mask(valid)
    return path


@cache
def scene(dtype: str, overviews: bool) -> Scene:
    """A noisy scene with holes, kept for the whole module."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(1, 120, (3, HEIGHT, WIDTH)).astype(dtype)
    if dtype == "float32":
        pixels += rng.random(pixels.shape, np.float32)
    valid = rng.random((HEIGHT, WIDTH)) > 0.02
    valid[60:110, 100:160] = False
    path = write(
        Path(tempfile.mkdtemp()) / "a.tif",
        pixels,
        valid,
        tiled=True,
        blockxsize=64,
        blockysize=32,
        compress="lzw",
    )
    if overviews:
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2, 4], Resampling.average)
    return open_scene(path, gsd=1.0)


@settings(max_examples=150, deadline=None)
@given(
    st.data(),
    st.sampled_from(SCALES),
    st.sampled_from(["uint8", "uint16", "float32"]),
    st.booleans(),
)
def test_a_pixel_has_one_value_to_the_last_bit(
    data: st.DataObject, scale: float, dtype: str, overviews: bool
) -> None:
    source = scene(dtype, overviews)
    grid = source.grid(scale)
    with GridSampler(source, grid, RGB) as sampler:
        whole, known = sampler.read(Box(0, 0, grid.width, grid.height))
        x0 = data.draw(st.integers(-5, grid.width - 1))
        y0 = data.draw(st.integers(-5, grid.height - 1))
        width, height = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 70))
        part, valid = sampler.read(Box(x0, y0, x0 + width, y0 + height))
    around = ((75, 75), (75, 75))
    here = (slice(y0 + 75, y0 + 75 + height), slice(x0 + 75, x0 + 75 + width))
    expected = np.pad(whole, ((0, 0), *around))[:, *here]
    there = np.pad(known, around)[here]
    assert part.tobytes() == expected.tobytes()
    assert valid.tobytes() == there.tobytes()


@pytest.mark.parametrize("scale", [1.3, 2.0, 3.7, 0.4])
def test_resampling_is_the_weighted_mean_it_says(scale: float) -> None:
    """Against the definition, summed plainly in float64."""
    rng = np.random.default_rng(1)
    pixels = rng.random((2, 31, 37)).astype(np.float32)
    valid = rng.random((31, 37)) > 0.3
    pixels[:, ~valid] = 0
    cols, rows = int(37 / scale), int(31 / scale)
    out, got = resample(pixels, valid, (0, 0), taps(0, cols, scale, 37), taps(0, rows, scale, 31))

    def kernel(count: int, size: int) -> np.ndarray:
        centre = (np.arange(count)[:, None] + 0.5) * scale
        at = np.arange(size) + 0.5
        weights = np.clip(1 - np.abs(at - centre) / max(1, scale), 0, None)
        return weights / weights.sum(axis=1, keepdims=True)

    down, across = kernel(rows, 31), kernel(cols, 37)
    total = down @ valid @ across.T
    mean = (down @ pixels.astype(float) @ across.T) / np.where(total > 0, total, 1)
    sure = np.abs(total - 0.5) > 1e-5
    np.testing.assert_array_equal(got[sure], (total >= 0.5)[sure])
    np.testing.assert_allclose(out[:, got], mean[:, got], rtol=2e-5)
    assert not out[:, ~got].any()


@pytest.mark.parametrize("scale", SCALES)
def test_a_gradient_keeps_its_place(tmp_path: Path, scale: float) -> None:
    """A plane a*x + b*y resamples to itself at the grid pixels' centres, within 0.06 pixel."""
    y, x = np.mgrid[:400, :560].astype(np.float32) + 0.5
    source = open_scene(write(tmp_path / "a.tif", (3 * x + 7 * y)[None]), gsd=1.0)
    grid = source.grid(scale)
    with GridSampler(source, grid, ("gray",)) as sampler:
        got, valid = sampler.read(Box(0, 0, grid.width, grid.height))
    assert valid.all()
    inner = slice(2, -2)
    centres = np.mgrid[: grid.height, : grid.width] + 0.5
    centres *= np.array([grid.scale[1], grid.scale[0]])[:, None, None]
    expected = 3 * centres[1] + 7 * centres[0]
    off = (got[0] - expected)[inner, inner]
    assert np.abs(off).max() <= 0.06 * 10 * scale + 1e-3
    assert abs(off.mean()) <= 2e-3 * 10 * scale + 1e-3


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("scale", SCALES)
def test_a_constant_stays_and_fills_the_whole_grid(
    tmp_path: Path, dtype: str, scale: float
) -> None:
    pixels = np.full((1, 83, 61), 77, dtype)
    source = open_scene(write(tmp_path / "a.tif", pixels), gsd=1.0)
    grid = source.grid(scale)
    with GridSampler(source, grid, RGB) as sampler:
        got, valid = sampler.read(Box(0, 0, grid.width, grid.height))
    assert valid.all()
    np.testing.assert_allclose(got, 77, rtol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (2, 3)])
@pytest.mark.parametrize("scale", [0.25, 1.0, 1.4, 9.0])
def test_scenes_of_a_few_pixels(tmp_path: Path, size: tuple[int, int], scale: float) -> None:
    pixels = np.arange(1, 1 + size[0] * size[1], dtype=np.uint16).reshape(1, *size)
    source = open_scene(write(tmp_path / "a.tif", pixels), gsd=1.0)
    grid = source.grid(scale)
    with GridSampler(source, grid, ("gray",)) as sampler:
        got, valid = sampler.read(Box(0, 0, grid.width, grid.height))
    assert valid.all()
    assert got.min() >= 1 - 1e-6 and got.max() <= pixels.max() + 1e-6


def test_deep_reductions_take_one_level_for_the_scene() -> None:
    plain, pyramid = scene("uint8", False), scene("uint8", True)
    assert Level.of(plain, plain.grid(4.0)) == Level(None, 1)
    assert Level.of(plain, plain.grid(11.3)) == Level(None, 5)
    assert Level.of(pyramid, pyramid.grid(4.7)) == Level(0, 1)
    assert Level.of(pyramid, pyramid.grid(8.0)) == Level(1, 1)
    assert Level.of(pyramid, pyramid.grid(60.0)) == Level(1, 7)


def test_an_overview_and_block_means_agree() -> None:
    """The overviews here are means, so both roads lead to nearly the same picture."""
    images = []
    for source in (scene("float32", False), scene("float32", True)):
        grid = source.grid(9.0)
        with GridSampler(source, grid, RGB) as sampler:
            images.append(sampler.read(Box(0, 0, grid.width, grid.height)))
    (a, in_a), (b, in_b) = images
    both = in_a & in_b
    assert both.mean() > 0.8 and (in_a != in_b).mean() < 0.05
    assert np.abs(a - b)[:, both].mean() < 1.0  # of a range of 120


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(2, 7))
def test_block_means(height: int, width: int, factor: int) -> None:
    rng = np.random.default_rng(height * 31 + width)
    pixels, valid = rng.random((2, height, width)), rng.random((height, width)) > 0.4
    means, share = decimate(pixels, valid, factor)
    for j in range(share.shape[0]):
        for i in range(share.shape[1]):
            block = (slice(j * factor, (j + 1) * factor), slice(i * factor, (i + 1) * factor))
            assert share[j, i] == pytest.approx(valid[block].mean())
            if valid[block].any():
                np.testing.assert_allclose(
                    means[:, j, i], pixels[:, *block][:, valid[block]].mean(axis=1), rtol=1e-5
                )
            else:
                assert not means[:, j, i].any()


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.floats(0.05, 40),
    st.floats(0.05, 40),
    st.sampled_from([64, 96, 512]),
    st.sampled_from([0, 16, 31]),
)
def test_cores_cover_the_grid_once_and_the_grid_the_scene(
    width: int, height: int, gx: float, gy: float, tile: int, halo: int
) -> None:
    grid = Grid.over((width, height), (gx, gy), 1.0)
    assert grid.width * grid.scale[0] >= width * (1 - 1e-5)
    assert (grid.width - 1) * grid.scale[0] < width
    plan = TilePlan(grid, tile, halo)
    if len(plan) > 3000:
        return
    tiles = list(plan)
    assert sum(t.core.width * t.core.height for t in tiles) == grid.width * grid.height
    across = sorted({(t.core.x0, t.core.x1) for t in tiles})
    down = sorted({(t.core.y0, t.core.y1) for t in tiles})
    for runs, size in ((across, grid.width), (down, grid.height)):
        assert [a for a, _ in runs] == [0, *(b for _, b in runs[:-1])] and runs[-1][1] == size
    for t in tiles:
        assert t.window.width == t.window.height == tile
        assert t.window.x0 + halo == t.core.x0 and t.window.y1 - halo >= t.core.y1


@pytest.mark.parametrize(("tile", "halo"), [(128, 64), (128, 96), (0, 0), (64, -1)])
def test_a_plan_without_cores_is_refused(tile: int, halo: int) -> None:
    with pytest.raises(ConfigError, match="leaves no core"):
        TilePlan(Grid.over((9, 9), (1, 1), 1), tile, halo)


def test_a_projection_s_own_stretch_is_not_resampled() -> None:
    assert Grid.over((1000, 500), (0.30012, 0.29999), 0.3).scale == (1.0, 1.0)
    assert Grid.over((1000, 500), (0.30012, 0.29999), 0.3).width == 1000
    assert Grid.over((1000, 500), (0.3, 0.3 * (1 + 2 * SNAP)), 0.3).scale != (1.0, 1.0)


def test_compiling_works_where_no_cache_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    function = compiled(lambda x: x + 1)
    assert function(2) == 3
