"""Files with damaged blocks: what can be read is read, what cannot is no data and named."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lanner.core.config import Normalise
from lanner.core.errors import SceneError
from tests.fixtures_damage import BLOCK, write_damaged
from tiling.grid import Box, TilePlan
from tiling.normalise import require_valid, scene_stretch
from tiling.reader import TileReader
from tiling.sample import GridSampler
from tiling.scene import open_scene

RGB = ("red", "green", "blue")
SIDE = 640
BAD = [(3, 2), (7, 7)]


def block(col, row):
    return Box(col * BLOCK, row * BLOCK, (col + 1) * BLOCK, (row + 1) * BLOCK)


@pytest.fixture(params=["uint8", "uint16"])
def pixels(request):
    top = 255 if request.param == "uint8" else 4000
    shape = (3, SIDE, SIDE)
    return np.random.default_rng(3).integers(1, top, shape, np.uint16).astype(request.param)


def test_damaged_blocks_are_no_data_and_named(tmp_path, pixels):
    path = tmp_path / "a.tif"
    write_damaged(path, pixels, BAD)
    scene = open_scene(path)
    plan = TilePlan(scene.grid(1.0), 256, 32)
    reader = TileReader(scene, plan, RGB, scene_stretch(scene, RGB, Normalise()), 2)
    lost = np.zeros((SIDE, SIDE), bool)
    for col, row in BAD:
        lost[row * BLOCK : (row + 1) * BLOCK, col * BLOCK : (col + 1) * BLOCK] = True
    found = set()
    for image in reader.tiles(range(len(plan))):
        box = image.tile.window
        inside = Box(max(box.x0, 0), max(box.y0, 0), min(box.x1, SIDE), min(box.y1, SIDE))
        rows = slice(inside.y0 - box.y0, inside.y1 - box.y0)
        cols = slice(inside.x0 - box.x0, inside.x1 - box.x0)
        known = ~lost[inside.y0 : inside.y1, inside.x0 : inside.x1]
        np.testing.assert_array_equal(image.valid[rows, cols], known)
        assert (image.pixels[0][rows, cols][known] > 0).any()
        assert not image.pixels[:, ~image.valid].any()
        assert all(one in map(lambda b: block(*b), BAD) for one in image.unread)
        found.update(image.unread)
    assert found == {block(*one) for one in BAD}


def test_it_stays_unreadable_by_every_handle_and_thread(tmp_path, pixels):
    path = tmp_path / "a.tif"
    write_damaged(path, pixels, BAD)
    scene = open_scene(path)
    box = Box(180, 110, 260, 200)
    for decoders in (1, 2, 4):
        with GridSampler(scene, scene.grid(1.0), RGB, decoders) as sampler:
            first, *others = [sampler.read(box, set())[1].tobytes() for _ in range(4)]
            assert others == [first] * 3
        with GridSampler(scene, scene.grid(1.0), RGB, decoders) as sampler:
            for _ in range(3):
                with pytest.raises(SceneError):
                    sampler.read(box)


def test_what_a_thread_reads_next_does_not_fail_of_it(tmp_path, pixels):
    for name, blocks in (("bad", BAD), ("good", [])):
        write_damaged(tmp_path / f"{name}.tif", pixels, blocks)
    good = open_scene(tmp_path / "good.tif")
    with (
        GridSampler(good, good.grid(1.0), RGB) as after,  # opened before, and by another thread
        ThreadPoolExecutor(1) as thread,
    ):
        bad = open_scene(tmp_path / "bad.tif")
        with GridSampler(bad, bad.grid(1.0), RGB) as sampler:
            with pytest.raises(SceneError):
                thread.submit(sampler.read, Box(180, 110, 260, 200)).result()
            raw, valid = thread.submit(after.read, Box(0, 0, SIDE, SIDE)).result()
    assert valid.all()
    np.testing.assert_array_equal(raw, pixels)


def test_a_reader_that_was_not_told_so_stops(tmp_path, pixels):
    path = tmp_path / "a.tif"
    write_damaged(path, pixels, BAD)
    scene = open_scene(path)
    with GridSampler(scene, scene.grid(1.0), RGB) as sampler:
        sampler.read(Box(0, 0, 100, 100))
        with pytest.raises(SceneError):
            sampler.read(Box(100, 100, 300, 300))


def test_a_reduced_grid_names_blocks_of_the_scene(tmp_path, pixels):
    path = tmp_path / "a.tif"
    write_damaged(path, pixels, BAD)
    scene = open_scene(path)
    unread = set()
    with GridSampler(scene, scene.grid(5.0), RGB) as sampler:
        sampler.read(Box(0, 0, 128, 128), unread)
    assert unread == {block(*one) for one in BAD}


def test_a_file_that_was_cut_off_is_refused_before_it_is_read(tmp_path, pixels):
    path = tmp_path / "a.tif"
    write_damaged(path, pixels, [])
    require_valid(open_scene(path), RGB)
    size = path.stat().st_size
    # A few blocks less make a partial result, more make none.
    os.truncate(path, size - size // 20)
    require_valid(open_scene(path), RGB)
    os.truncate(path, size // 2)
    with pytest.raises(SceneError):
        require_valid(open_scene(path), RGB)


def test_too_much_damage_is_an_error(tmp_path, pixels):
    path = tmp_path / "a.tif"
    write_damaged(path, pixels, [(x, y) for x in range(10) for y in (4, 5)])
    scene = open_scene(path)
    with pytest.raises(SceneError):
        stretch = scene_stretch(scene, RGB, Normalise())
        reader = TileReader(scene, TilePlan(scene.grid(1.0), 256, 32), RGB, stretch, 2)
        list(reader.tiles(range(9)))
