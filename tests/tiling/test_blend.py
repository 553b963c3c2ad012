"""Merging tiles: the same as not tiling, the same bytes, and a raster that knows its place."""

from __future__ import annotations

import math
import resource
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from lanner.core.errors import OutputError
from tiling.blend import Blender, window_weights
from tiling.grid import Grid, TilePlan
from tiling.place import Place

Cut = tuple[np.ndarray, np.ndarray]


def grid(width: int, height: int) -> Grid:
    return Grid.over((width, height), (1.0, 1.0), 1.0)


def cut(plan: TilePlan, index: int, whole: np.ndarray, valid: np.ndarray) -> Cut:
    """A tile's view of a whole raster; what hangs over is invalid junk."""
    w, t = plan[index].window, plan.tile
    values = np.full((len(whole), t, t), np.nan, np.float32)
    known = np.zeros((t, t), bool)
    ys, xs = slice(max(w.y0, 0), w.y1), slice(max(w.x0, 0), w.x1)
    part = whole[:, ys, xs]
    oy, ox = max(0, -w.y0), max(0, -w.x0)
    values[:, oy : oy + part.shape[1], ox : ox + part.shape[2]] = part
    known[oy : oy + part.shape[1], ox : ox + part.shape[2]] = valid[ys, xs]
    return values, known


def blend(
    path: Path, plan: TilePlan, whole: np.ndarray, valid: np.ndarray, place: Place | None = None
) -> Path:
    names = tuple(f"c{i}" for i in range(len(whole)))
    with Blender(path, plan, len(whole), names, place) as blender:
        for tile in plan:
            values, known = cut(plan, tile.index, whole, valid)
            blender.add(tile, *((values, known) if known.any() else (None, None)))
    return path


def content(path: Path) -> Cut:
    with rasterio.open(path) as file:
        return file.read(), file.dataset_mask() > 0


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from([(64, 0), (64, 16), (96, 40)]),
    st.integers(1, 2),
    st.integers(0, 99),
)
def test_blending_equals_not_tiling(
    width: int, height: int, tiling: tuple[int, int], channels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    whole = rng.random((channels, height, width), np.float32)
    valid = rng.random((height, width)) > rng.choice([0, 0.3, 1])
    with tempfile.TemporaryDirectory() as folder:
        plan = TilePlan(grid(width, height), *tiling)
        got, mask = content(blend(Path(folder) / "a.tif", plan, whole, valid))
        assert [p.name for p in Path(folder).iterdir()] == ["a.tif"]
    np.testing.assert_array_equal(mask, valid)
    expected = np.rint(whole * np.float32(255)).astype(np.uint8) * valid
    np.testing.assert_array_equal(got, expected)


def test_views_that_differ_are_weighed_by_distance_from_the_border(tmp_path: Path) -> None:
    plan = TilePlan(grid(160, 64), 96, 16)
    weights = window_weights(96)
    total, sums = np.zeros((64, 160)), np.zeros((64, 160))
    with Blender(tmp_path / "a.tif", plan, 1, ("p",)) as blender:
        for tile in plan:
            value = np.float32((tile.index + 1) / 8)
            blender.add(tile, np.full((1, 96, 96), value), np.ones((96, 96), bool))
            w = tile.window
            ys, xs = slice(max(w.y0, 0), min(w.y1, 64)), slice(max(w.x0, 0), min(w.x1, 160))
            weight = weights[ys.start - w.y0 : ys.stop - w.y0, xs.start - w.x0 : xs.stop - w.x0]
            total[ys, xs] += weight
            sums[ys, xs] += weight * value
    got, mask = content(tmp_path / "a.tif")
    assert mask.all() and len(np.unique(got)) > 10
    assert np.abs(got[0] - 255 * sums / total).max() <= 0.501


def test_weights_are_smooth_symmetric_and_never_nothing() -> None:
    weights = window_weights(64)
    assert weights.min() > 0 and weights.max() <= 1
    np.testing.assert_allclose(weights, weights[::-1, ::-1], rtol=1e-5)
    assert np.abs(np.diff(weights, axis=0)).max() < 0.06


def test_one_bad_view_does_not_spoil_a_pixel(tmp_path: Path) -> None:
    """A pixel one tile sees as invalid takes the others' value."""
    plan = TilePlan(grid(128, 64), 96, 16)
    with Blender(tmp_path / "a.tif", plan, 1, ("p",)) as blender:
        for tile in plan:
            valid = np.full((96, 96), tile.col == 0)
            blender.add(
                tile, np.full((1, 96, 96), 0.2 if tile.col == 0 else np.nan, np.float32), valid
            )
    got, mask = content(tmp_path / "a.tif")
    assert mask[:, :80].all() and not mask[:, 80:].any()
    assert (got[0, :, :80] == 51).all() and not got[0, :, 80:].any()


def test_the_same_tiles_give_the_same_bytes_whatever_else_goes_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    whole = rng.random((2, 900, 700), np.float32).round(1)
    valid = rng.random((900, 700)) > 0.1
    plan = TilePlan(grid(700, 900), 128, 32)
    first = blend(tmp_path / "first.tif", plan, whole, valid).read_bytes()
    with rasterio.open(
        tmp_path / "noise.tif",
        "w",
        driver="GTiff",
        width=8000,
        height=8000,
        count=2,
        dtype="uint8",
        tiled=True,
        sparse_ok=True,
    ):
        pass
    stop = threading.Event()

    def churn() -> None:
        with rasterio.Env(GDAL_CACHEMAX=1), rasterio.open(tmp_path / "noise.tif") as file:
            while not stop.is_set():
                file.read()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        second = blend(tmp_path / "second.tif", plan, whole, valid).read_bytes()
    finally:
        stop.set()
        thread.join()
    assert first == second


@pytest.mark.parametrize(("angle", "up"), [(0, 1), (33, 1), (0, -1)])
def test_the_raster_knows_its_place(tmp_path: Path, angle: float, up: int) -> None:
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    affine = Affine(0.3 * c, 0.3 * s, 5e5, 0.3 * s, -0.3 * c * up, 5e6)
    place = Place(affine, pyproj.CRS("EPSG:32633"), (0.3, 0.3))
    flat = Grid.over((1000, 700), (0.3, 0.3), 1.0)
    whole = np.zeros((1, flat.height, flat.width), np.float32)
    path = blend(tmp_path / "a.tif", TilePlan(flat, 128, 16), whole, whole[0] == 0, place)
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 32633 and file.descriptions == ("c0",)
        assert file.profile["tiled"] and file.compression.value == "DEFLATE"
        for col, row in ((0, 0), (123, 45), (300, 210)):
            on_ground = place.to_crs(flat.to_scene(np.array([(col, row)])))[0]
            written = rasterio.transform.xy(file.transform, row, col, offset="ul")
            np.testing.assert_allclose(written, on_ground, atol=1e-6)


def test_without_a_crs_or_a_place(tmp_path: Path) -> None:
    flat = grid(70, 50)
    whole, valid = np.ones((1, 50, 70), np.float32), np.ones((50, 70), bool)
    for place in (None, Place(Affine.identity(), None, (1.0, 1.0))):
        with rasterio.open(
            blend(tmp_path / "a.tif", TilePlan(flat, 64, 16), whole, valid, place)
        ) as file:
            assert file.crs is None and (file.width, file.height) == (70, 50)
            assert (file.read() == 255).all()


def test_a_crs_that_no_geotiff_holds_leaves_nothing_beside(tmp_path: Path) -> None:
    turned = pyproj.CRS("+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=40 +lon_0=10")
    place = Place(Affine(9e-6, 0, 0, 0, -9e-6, 0), turned, (1.0, 1.0))
    flat = grid(70, 50)
    whole = np.ones((1, 50, 70), np.float32)
    path = blend(tmp_path / "a.tif", TilePlan(flat, 64, 16), whole, whole[0] > 0, place)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("order", [[1], [0, 0], [0, 2]])
def test_order_is_insisted_on(tmp_path: Path, order: list[int]) -> None:
    plan = TilePlan(grid(300, 300), 128, 16)
    with (
        pytest.raises(OutputError, match=rf"tile '{order[-1]}': came where tile .* was due"),
        Blender(tmp_path / "a.tif", plan, 1, ("p",)) as blender,
    ):
        for index in order:
            blender.add(plan[index], None, None)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_whole_is_not_left_behind(tmp_path: Path) -> None:
    plan = TilePlan(grid(300, 300), 128, 16)
    blender = Blender(tmp_path / "a.tif", plan, 1, ("p",))
    blender.add(plan[0], None, None)
    with pytest.raises(OutputError, match="tile '1': of 16 never came"):
        blender.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_overwritten(tmp_path: Path) -> None:
    plan, whole = TilePlan(grid(300, 300), 128, 16), np.ones((1, 300, 300), np.float32)
    clean = blend(tmp_path / "clean.tif", plan, whole, whole[0] > 0).read_bytes()
    for name in (".a.tif.rows.tif", ".a.tif.whole.tif"):
        (tmp_path / name).write_bytes(clean[:2000])
    (tmp_path / "a.tif").write_bytes(b"an older result")
    assert blend(tmp_path / "a.tif", plan, whole, whole[0] > 0).read_bytes() == clean
    assert {p.name for p in tmp_path.iterdir()} == {"a.tif", "clean.tif"}


def test_what_tiles_must_look_like(tmp_path: Path) -> None:
    plan = TilePlan(grid(100, 100), 128, 0)
    valid = np.ones((128, 128), bool)
    for values, words in (
        (np.zeros((2, 128, 128), np.float32), "has shapes"),
        (np.full((1, 128, 128), np.nan, np.float32), "are no number"),
    ):
        with (
            pytest.raises(OutputError, match=words),
            Blender(tmp_path / "a.tif", plan, 1, ("p",)) as blender,
        ):
            blender.add(plan[0], values, valid)
    with pytest.raises(OutputError, match="are not 2 channel names"):
        Blender(tmp_path / "a.tif", plan, 2, ("p",))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        Blender(tmp_path / "no" / "a.tif", TilePlan(grid(9, 9), 64, 0), 1, ("p",))


FULL = """
import resource, signal, sys
import numpy as np
from lanner.core.errors import OutputError
from tiling.blend import Blender
from tiling.grid import Grid, TilePlan
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
plan = TilePlan(Grid.over((1500, 1500), (1.0, 1.0), 1.0), 512, 0)
rng = np.random.default_rng(0)
try:
    with Blender(sys.argv[1], plan, 1, ("p",)) as blender:
        for tile in plan:
            blender.add(tile, rng.random((1, 512, 512), np.float32), np.ones((512, 512), bool))
except OutputError as error:
    print("REFUSED", error)
"""


@pytest.mark.parametrize("limit", [1000, 400_000, 2_250_000, 2_300_000, 2_700_000, 2_900_000])
def test_a_full_disk_is_an_error(tmp_path: Path, limit: int) -> None:
    """As a file size limit; the whole raster needs 2.91 MB, its rows 2.2."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "a.tif"), str(limit)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert "cannot be written" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_memory_follows_the_width_and_not_the_height(tmp_path: Path) -> None:
    """100,000 rows of 300 pixels would be 120 MB as float32; growth stays far below."""
    plan = TilePlan(grid(300, 100_000), 512, 96)
    values, valid = np.full((1, 512, 512), 0.5, np.float32), np.ones((512, 512), bool)
    with Blender(tmp_path / "a.tif", plan, 1, ("p",)) as blender:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for tile in plan:
            blender.add(tile, values, valid)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 60_000
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.height == 100_000 and file.read(1)[::997].min() == 128
