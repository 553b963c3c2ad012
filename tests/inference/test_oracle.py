"""Seams, tiles and memory, with predictor that see exactly what each tile's window shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.fusion import Fused
from detectors.results import raster_result
from detectors.windows import place
from lanner.core.config import DetectorConfig
from lanner.core.errors import Cancelled, DeviceError
from lanner.core.job import Cancel, DetectRequest
from lanner.inference.pipeline import detect_with
from lanner.inference.registry import LoadedDetector

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Oracle:
    """Knows the truth (polygons, or (channels, h, w) probabilities) and shows it by windows."""

    shapes: np.ndarray | None = None
    probability: np.ndarray | None = None
    names: tuple[str, ...] = ("oracle",)
    batch: int = 1
    shares_cores: bool = False
    workers: int = 2
    share: int = 1
    device: str = "oracle"
    identity: str = "truth"
    tiles: int = 0
    tree: shapely.STRtree | None = field(default=None, init=False)

    def __post_init__(self):
        if self.shapes is not None:
            self.tree = shapely.STRtree(self.shapes)

    @property
    def channels(self):
        return () if self.probability is None else ("road", "centreline")

    def run(self, images, grids, slots=None):
        self.tiles += len(images)
        return [self.see(image, grid) for image, grid in zip(images, grids, strict=False)]

    def see(self, image, grid):
        w = image.tile.window
        if self.probability is not None:
            out = np.zeros((2, *image.valid.shape), np.float32)
            ys, xs = slice(max(w.y0, 0), w.y1), slice(max(w.x0, 0), w.x1)
            part = self.probability[:, ys, xs]
            y, x = ys.start - w.y0, xs.start - w.x0
            out[:, y : y + part.shape[1], x : x + part.shape[2]] = part
            return raster_result(out * image.valid, image.valid)
        window = shapely.box(w.x0, w.y0, w.x1, w.y1)
        near = np.sort(self.tree.query(window, predicate="intersects"))
        # A window may cut one object into several pieces, as a network would see them.
        pieces = shapely.get_parts(shapely.intersection(self.shapes[near], window))
        pieces = pieces[shapely.area(pieces) >= 4]
        boxes = shapely.bounds(pieces).reshape(-1, 4) - [w.x0, w.y0] * 2
        rings = [shapely.get_coordinates(s.exterior) - [w.x0, w.y0] for s in pieces]
        n = len(pieces)
        return place(
            Fused(
                boxes, np.full(n, 0.9), np.zeros(n, np.int64), np.full((n, 1), 0.9), tuple(rings)
            ),
            w,
            image.valid,
            grid,
        )


def config(tile, halo, chain=("merge_seams",), **changes):
    return DetectorConfig.model_validate(
        {
            "name": "oracle",
            "release": "1.0.0",
            "description": "",
            "classes": ["thing"],
            "output": "objects",
            "gsd": 1.0,
            "gsd_range": [0.1, 2.0],
            "bands": ["gray"],
            "tile": tile,
            "halo": halo,
            "chain": [{"step": s} for s in chain],
            "members": [{"name": "oracle", "kind": "resunet", "weights": "none"}],
            **changes,
        }
    )


def ask(oracle, scene, setup, follow=lambda _: None, **kwargs):
    request = DetectRequest(str(scene), "oracle", **kwargs)
    return detect_with(
        setup, lambda: LoadedDetector(oracle, "0" * 64, {}), request, Cancel(), follow
    )


def boxes_of(result):
    rows = [json.loads(text)["properties"]["box_px"] for text in result.features]
    return np.array(sorted(rows)).reshape(-1, 4)


@pytest.fixture(scope="module")
def blank(tmp_path_factory, pictures):
    """A function giving a uniform gray scene of (width, height)."""
    folder, paths = tmp_path_factory.mktemp("blank"), {}

    def give(width, height, **profile):
        key = (width, height, *sorted(profile))
        if key not in paths:
            paths[key] = pictures.write_tif(
                folder / f"{len(paths)}.tif", np.full((1, height, width), 90, np.uint8), **profile
            )
        return paths[key]

    return give


TILE, HALO = 128, 32
STEP = TILE - 2 * HALO
SCENE = 1200


def lattice(size, aspect, phase):
    """Boxes whose places go through the offsets against the seams, one by one."""
    w, h = size, max(4.0, size * aspect)
    pitch = (int(max(w, h)) // STEP + 1) * STEP + (1 if size < TILE else 5)
    starts = np.arange(phase, SCENE - max(w, h), pitch)
    x, y = (a.ravel() for a in np.meshgrid(starts, starts))
    return shapely.box(x, y, x + w, y + h)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("aspect", [1.0, 0.25])
def test_every_object_once_at_every_offset(share, aspect, blank):
    for phase in (0, 37) if share < 1 else (13, 50):
        shapes = lattice(share * TILE, aspect, phase)
        found = boxes_of(ask(Oracle(shapes), blank(SCENE, SCENE), config(TILE, HALO)))
        truth = np.array(sorted(shapely.bounds(shapes).tolist()))
        assert len(found) == len(truth)
        np.testing.assert_allclose(found, truth, atol=0.02)


@dataclass
class Pair(Oracle):
    """Answers only when another answer is being worked on."""

    both: threading.Barrier = field(default_factory=lambda: threading.Barrier(2, timeout=20))

    def run(self, images, grids, slots=None):
        self.both.wait()
        return super().run(images, grids)


def test_a_device_of_its_own_is_given_two_batches_at_once(blank):
    shapes = lattice(30, 1.0, 7)
    one = ask(Oracle(shapes, shares_cores=True), blank(1280, 1280), config(TILE, HALO))
    tiles = one.summary["plan"]["tiles"]
    assert tiles % 2 == 0
    two = ask(Pair(shapes), blank(1280, 1280), config(TILE, HALO))
    assert len(two.features) > 0 and two.features == one.features


class Batches(Oracle):
    """Remembers how many scenes each batch had tiles of."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.scenes = []

    def run(self, images, grids, slots=None):
        self.scenes.append(len(set(map(id, grids))))
        # A network takes its time: on few cores too every scene has tiles waiting meanwhile.
        time.sleep(0.01)
        return super().run(images, grids)


@pytest.mark.parametrize("shares_cores", [False, True])
def test_scenes_at_once_are_seen_as_if_each_were_alone(blank, shares_cores):
    shapes = lattice(30, 1.0, 7)
    sizes = [(1280, 1280), (700, 1280), (1280, 900), (640, 640)]
    alone = [ask(Oracle(shapes), blank(*size), config(TILE, HALO)).features for size in sizes]
    ready = threading.Barrier(len(sizes), timeout=60)

    def start(progress):
        if progress.stage == "detect" and progress.done == 0:
            ready.wait()

    # No scene's tiles divide by 7, so that its last batch has room for those of another.
    predictor = Batches(shapes, batch=7, shares_cores=shares_cores, device=f"shared {shares_cores}")
    with ThreadPoolExecutor(len(sizes)) as pool:
        results = pool.map(
            lambda size: ask(predictor, blank(*size), config(TILE, HALO), start), sizes
        )
        assert [result.features for result in results] == alone
    assert max(predictor.scenes) > 1


def test_who_goes_away_leaves_the_other_scenes_alone(blank):
    shapes, cancel = lattice(30, 1.0, 7), Cancel()
    alone = ask(Oracle(shapes), blank(1280, 1280), config(TILE, HALO)).features
    predictor = Oracle(shapes, batch=4, device="left")

    def leave(progress):
        if progress.stage == "detect" and progress.done > 10:
            cancel.set()

    def go():
        request = DetectRequest(str(blank(1280, 1280)), "oracle")
        loaded = LoadedDetector(predictor, "0" * 64, {})
        return detect_with(config(TILE, HALO), lambda: loaded, request, cancel, leave)

    with ThreadPoolExecutor(2) as pool:
        gone, stays = (
            pool.submit(go),
            pool.submit(ask, predictor, blank(1280, 1280), config(TILE, HALO)),
        )
        with pytest.raises(Cancelled):
            gone.result(60)
        assert stays.result(60).features == alone


def planes(seed, count, side=1500):
    """Crosses of wing and fuselage of 12 to 80 m at every angle, none touching another."""
    rng = np.random.default_rng(seed)
    shapes: list = []
    while len(shapes) < count:
        length = rng.uniform(12, 80)
        body = shapely.box(-length / 2, -length / 16, length / 2, length / 16)
        wing = shapely.box(-length / 10, -length / 2, length / 10, length / 2)
        plane = shapely.affinity.rotate(shapely.union(body, wing), rng.uniform(0, 360))
        plane = shapely.affinity.translate(plane, *rng.uniform(60, side - 60, 2))
        if all(plane.distance(other) > 1 for other in shapes):
            shapes.append(plane)
    return np.array(shapes, object)


def test_tiles_of_512_768_and_1024_find_the_same(blank):
    shapes = planes(3, 150)
    found = [
        boxes_of(ask(Oracle(shapes), blank(1500, 1500), config(512, 96), tile=tile))
        for tile in (512, 768, 1024)
    ]
    assert len(found[0]) == 150
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=0.02)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(128, 32), (192, 64), (256, 32)]))
def test_crowds_are_counted_right_at_any_tiling(blank, seed, tiling):
    shapes = planes(seed, 40, side=600)
    result = ask(Oracle(shapes), blank(600, 600), config(*tiling))
    assert len(result.features) == 40


def test_objects_at_other_samplings_come_out_in_scene_pixels(tmp_path, pictures):
    scene = pictures.write_tif(
        tmp_path / "s.tif", np.full((1, 801, 1203), 90, np.uint8), transform=pictures.half_metre
    )
    shapes = shapely.box(*np.array([[100, 50, 130, 90], [300.25, 200.5, 355, 260]]).T)
    found = boxes_of(ask(Oracle(shapes), scene, config(TILE, HALO)))
    truth = shapely.bounds(shapes) * 2  # 0.5 m scene pixels
    np.testing.assert_allclose(found, truth, rtol=0.002)


def test_blank_tiles_have_no_road(blank):
    roads = np.zeros((2, 700, 700), np.float32)
    result = ask(Oracle(probability=roads), blank(700, 700), roads_config())
    assert len(result.features) == 0
    assert result.summary["counts"] == {}


def roads_config(tile=256):
    steps = ("threshold", "clean", "skeletonise", "trace", "measure")
    return config(tile, 64, steps, output="raster")


def test_a_road_over_many_tiles_is_one_line(blank):
    roads = np.zeros((2, 700, 700), np.float32)
    roads[0, 300:308, 20:680], roads[1, 303:305, 20:680] = 0.95, 0.9
    result = ask(Oracle(probability=roads), blank(700, 700), roads_config())
    assert len(result.features) == 1
    properties = json.loads(result.features[0])["properties"]
    assert properties["length_m"] == pytest.approx(660, abs=12)
    assert properties["width_m"] == pytest.approx(8, abs=1.5)


def test_a_given_sampling_is_the_scale_of_length_and_width_alike(blank):
    """The CRS says 1 m, the caller 2; the road stays where the file puts it."""
    roads = np.zeros((2, 700, 700), np.float32)
    roads[0, 300:308, 20:680], roads[1, 303:305, 20:680] = 0.95, 0.9
    result = ask(Oracle(probability=roads), blank(350, 350), roads_config(), gsd=2.0)
    (properties,) = (json.loads(text)["properties"] for text in result.features)
    assert properties["length_m"] == pytest.approx(660, abs=12)
    assert properties["width_m"] == pytest.approx(8, abs=1.5)
    assert result.frame.crs == "EPSG:32633"
    x0, y0, x1, y1 = result.frame.total_bounds - [500_000, 5_000_000] * 2
    assert (x0, x1) == pytest.approx((10, 340), abs=3)
    assert (y0, y1) == pytest.approx((-152, -152), abs=1)


def test_tiles_without_a_valid_pixel_are_no_objects(tmp_path, pictures):
    pixels = np.full((1, 400, 400), 90, np.uint8)
    pixels[:, :, 200:] = 0
    scene = pictures.write_tif(tmp_path / "s.tif", pixels, nodata=0)
    shapes = shapely.box(*np.array([[50, 50, 80, 80], [300, 300, 330, 330.0]]).T)
    np.testing.assert_allclose(
        boxes_of(ask(Oracle(shapes), scene, config(TILE, HALO))), [[50, 50, 80, 80]], atol=0.02
    )


MEASURE = """
import resource, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from test_oracle import Oracle, ask, roads_config
class Far(Oracle):
    channels = ("road", "centreline")
    def see(self, image, grid):
        from detectors.results import raster_result
        value = np.full((2, *image.valid.shape), 0.2, np.float32)
        return raster_result(value, image.valid)
setup = roads_config(512)
setup = setup.model_copy(update={"chain": setup.chain[:1]})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ask(Far(), sys.argv[2], setup)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_does_not_grow_with_the_scenes_height(blank):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    grown = [
        int(
            subprocess.run(
                [
                    sys.executable,
                    "-c",
                    MEASURE,
                    str(Path(__file__).parent),
                    str(blank(1000, height, sparse_ok=True)),
                ],
                check=True,
                capture_output=True,
                text=True,
                env=environment,
            ).stdout
        )
        for height in (1500, 9000)
    ]
    assert grown[1] < grown[0] + 30  # MB; the taller raster is 15 MB more, the tiles' floats 60


def test_a_tile_that_memory_is_short_for_is_told(tmp_path, pictures):
    class Wide(Oracle):
        def run(self, images, grids, slots=None):
            raise MemoryError("10.9 TiB")

    scene = pictures.write_tif(tmp_path / "s.tif", pictures.texture(100, 100)[:1])
    with pytest.raises(DeviceError, match=r"^tile '128': needs more memory.*10\.9 TiB.*smaller"):
        ask(Wide(np.empty(0, object)), scene, config(96, 32), tile=128)
