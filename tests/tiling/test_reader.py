"""Reading ahead by threads: order, errors, early ends."""

from __future__ import annotations

import os
import threading
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from lanner.core.errors import BandError, SceneError
from tiling.grid import Box, Tile, TilePlan
from tiling.normalise import Stretch
from tiling.reader import TileReader
from tiling.sample import GridSampler
from tiling.scene import Scene, open_scene

RGB = ("red", "green", "blue")
PLAIN = Stretch((0, 0, 0), (255, 255, 255))
SIDE = 900


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    path = tmp_path_factory.mktemp("reader") / "a.tif"
    pixels = np.random.default_rng(4).integers(1, 255, (3, SIDE, SIDE), dtype=np.uint8)
    pixels[:, :300, :300] = 0
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=SIDE,
        height=SIDE,
        count=3,
        dtype="uint8",
        nodata=0,
        crs="EPSG:32633",
        transform=Affine(1, 0, 5e5, 0, -1, 5e6),
        tiled=True,
        compress="deflate",
    ) as file:
        file.write(pixels)
    return open_scene(path, gsd=1.0)


def reading_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("lanner-read")]


def open_handles(path: str) -> int:
    own = Path("/proc/self/fd")
    return sum(os.path.realpath(own / number) == path for number in os.listdir(own))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_order_comes_back_in_the_order_asked(scene: Scene, threads: int) -> None:
    plan = TilePlan(scene.grid(1.3), 128, 16)
    asked = [5, 3, 3, 0, *range(len(plan) - 1, -1, -1)]
    images = list(TileReader(scene, plan, RGB, PLAIN, threads).tiles(asked))
    assert [i.tile.index for i in images] == asked
    for image in images[:6]:
        with GridSampler(scene, plan.grid, RGB) as sampler:
            raw, valid = sampler.read(image.tile.window)
        np.testing.assert_array_equal(image.pixels, raw / np.float32(255))
        np.testing.assert_array_equal(image.valid, valid)
    assert not reading_threads()


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("size", [1, 3, 50])
def test_in_chunks_come_the_same_tiles(scene: Scene, ahead: bool, size: int) -> None:
    plan = TilePlan(scene.grid(1.3), 128, 16)
    asked = [3, 0, *range(len(plan))]
    reader = TileReader(scene, plan, RGB, PLAIN, 2)
    chunks = list(reader.chunks(asked, size, ahead))
    assert [len(c) for c in chunks[:-1]] == [size] * (len(chunks) - 1)
    assert 1 <= len(chunks[-1]) <= size
    for image, expected in zip(chain.from_iterable(chunks), reader.tiles(asked), strict=True):
        assert image.tile == expected.tile
        assert image.pixels.tobytes() == expected.pixels.tobytes()
        assert image.valid.tobytes() == expected.valid.tobytes()
    assert not reading_threads()


@pytest.mark.parametrize("ahead", [True, False])
def test_letting_chunks_go_closes_every_file(scene: Scene, ahead: bool) -> None:
    plan = TilePlan(scene.grid(1.3), 128, 16)
    chunks = TileReader(scene, plan, RGB, PLAIN, 3).chunks(range(len(plan)), 2, ahead)
    next(chunks)
    assert open_handles(scene.uri)
    chunks.close()
    assert not reading_threads()
    assert not open_handles(scene.uri)


def test_tiles_of_two_plans_put_together_are_the_same_scene(scene: Scene) -> None:
    pictures = []
    for tile, halo in ((128, 16), (320, 96)):
        plan = TilePlan(scene.grid(1.3), tile, halo)
        whole = np.zeros((3, plan.grid.height, plan.grid.width), np.float32)
        for image in TileReader(scene, plan, RGB, PLAIN, 2).tiles(range(len(plan))):
            core = image.tile.core
            whole[:, core.y0 : core.y1, core.x0 : core.x1] = image.pixels[
                :, halo : halo + core.height, halo : halo + core.width
            ]
            window = image.tile.window
            assert not image.pixels[:, : max(0, -window.y0)].any()
            assert not image.valid[:, plan.grid.width - window.x0 :].any()
        pictures.append(whole)
    assert pictures[0].tobytes() == pictures[1].tobytes()


def test_an_empty_tile_says_so(scene: Scene) -> None:
    plan = TilePlan(scene.grid(1.0), 128, 0)
    images = list(TileReader(scene, plan, RGB, PLAIN, 2).tiles([0, 1, len(plan) - 1]))
    assert [i.empty for i in images] == [True, True, False]
    assert not images[0].pixels.any()


def test_a_window_wholly_outside_is_not_read(scene: Scene) -> None:
    far = Tile(0, 0, 0, Box(5000, 5000, 5064, 5064), Box(5000, 5000, 5064, 5064))
    with GridSampler(scene, scene.grid(1.0), RGB) as sampler:
        raw, valid = sampler.read(far.window)
    assert raw.shape == (3, 64, 64) and not raw.any() and not valid.any()


@pytest.mark.parametrize("threads", [1, 3])
def test_stopping_early_leaves_no_thread_and_no_file(scene: Scene, threads: int) -> None:
    plan = TilePlan(scene.grid(1.0), 64, 0)
    tiles = TileReader(scene, plan, RGB, PLAIN, threads).tiles(range(len(plan)))
    next(tiles)
    assert len(reading_threads()) <= threads and open_handles(scene.uri) >= 1
    tiles.close()  # type: ignore[attr-defined]
    assert not reading_threads()
    assert open_handles(scene.uri) == 0


def test_reading_ahead_is_bounded(scene: Scene) -> None:
    plan = TilePlan(scene.grid(1.0), 64, 0)
    taken = []

    def asked():  # type: ignore[no-untyped-def]
        for index in range(len(plan)):
            taken.append(index)
            yield index

    tiles = TileReader(scene, plan, RGB, PLAIN, 2).tiles(asked())
    for _ in range(3):
        next(tiles)
    assert len(taken) == 3 + 4
    tiles.close()  # type: ignore[attr-defined]


def test_an_error_names_its_tile_and_comes_in_its_turn(scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "cut.tif"
    data = Path(scene.uri).read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    cut = open_scene(path, gsd=1.0)
    plan = TilePlan(cut.grid(1.0), 128, 0)
    indices = []
    with pytest.raises(SceneError, match=r"cut\.tif.*: tile (\d+): cannot be read at pixels") as e:
        for image in TileReader(cut, plan, RGB, PLAIN, 3).tiles(range(len(plan))):
            indices.append(image.tile.index)
    assert indices == list(range(len(indices))) and 0 < len(indices) < len(plan)
    assert f"tile {len(indices)}:" in str(e.value)
    assert not reading_threads() and open_handles(str(path)) == 0


def test_a_missing_band_and_a_missing_tile(scene: Scene) -> None:
    plan = TilePlan(scene.grid(1.0), 128, 0)
    with pytest.raises(BandError, match="nir"):
        list(TileReader(scene, plan, ("nir",), PLAIN, 2).tiles([0]))
    with pytest.raises(IndexError):
        list(TileReader(scene, plan, RGB, PLAIN, 2).tiles([0, len(plan)]))
    assert not reading_threads()


def test_a_scene_replaced_while_read_is_noticed(tmp_path: Path, scene: Scene) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(Path(scene.uri).read_bytes())
    before = open_scene(path, gsd=1.0)
    with rasterio.open(path, "w", driver="GTiff", width=5, height=5, count=3, dtype="uint8") as f:
        f.write(np.ones((3, 5, 5), np.uint8))
    plan = TilePlan(before.grid(1.0), 128, 0)
    with pytest.raises(SceneError, match="changed while it was being read"):
        list(TileReader(before, plan, RGB, PLAIN, 1).tiles([0]))
