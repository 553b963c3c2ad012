"""A closer look that was stopped goes on with the objects that are left, to the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize
from skimage.measure import find_contours

from detectors.fusion import Fused
from detectors.windows import place
from lanner.core.config import DetectorConfig
from lanner.core.errors import Cancelled, StepError
from lanner.core.job import Cancel, DetectRequest
from lanner.core.machine import workers
from lanner.inference.manifest import FILE
from lanner.inference.pipeline import detect, detect_with
from lanner.inference.registry import LoadedDetector
from lanner.inference.run_folder import LEDGER, LOOKS
from tiling.ledger import BATCH

ROOT = Path(__file__).resolve().parents[2]
SIDE = 360
STEP = "closer_look"


def crosses():
    """Crosses of 20 to 36 m at every angle, one in each field of a board."""
    rng = np.random.default_rng(4)
    shapes = []
    for x in range(40, SIDE, 60):
        for y in range(40, SIDE, 60):
            length = rng.uniform(20, 36)
            body = shapely.box(-length / 2, -length / 14, length / 2, length / 14)
            wing = shapely.box(-length / 9, -length / 2, length / 9, length / 2)
            cross = shapely.affinity.rotate(shapely.union(body, wing), rng.uniform(0, 360))
            shapes.append(shapely.affinity.translate(cross, x, y))
    return np.array(shapes, object)


SHAPES = crosses()
COUNT = len(SHAPES)


@dataclass
class Painter:
    """Knows where the crosses are and draws again what is bright; `at_look` hears of each drawing
    that is begun, by its number from 1.
    """

    at_look: object = lambda number: None
    names: tuple[str, ...] = ("painter",)
    channels: tuple[str, ...] = ()
    batch: int = 1
    shares_cores: bool = False
    workers: int = 2
    share: int = 1
    device: str = "painter"
    identity: str = "truth"
    looks: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, images, grids, width=None):
        return [self.see(image, grid) for image, grid in zip(images, grids, strict=True)]

    def see(self, image, grid):
        w = image.tile.window
        shapes = shapely.intersection(SHAPES, shapely.box(w.x0, w.y0, w.x1, w.y1))
        shapes = shapes[shapely.area(shapes) >= 4]
        boxes = shapely.bounds(shapes).reshape(-1, 4) - [w.x0, w.y0] * 2
        n = len(shapes)
        found = Fused(
            boxes, np.full(n, 0.9), np.zeros(n, np.int64), np.full((n, 1), 0.9), (None,) * n
        )
        return place(found, w, image.valid, grid)

    def outline(self, pixels, valid, box, threshold):
        with self.lock:
            self.looks += 1
            number = self.looks
        self.at_look(number)
        rings = find_contours(np.pad(pixels[0] * valid, 1), threshold)
        ring = max(rings, key=lambda ring: shapely.Polygon(ring).area, default=None)
        return None if ring is None else ring[:, ::-1] - 1 + 0.5


@pytest.fixture(scope="module")
def scene(tmp_path_factory, pictures):
    folder = tmp_path_factory.mktemp("scene")
    fine = shapely.affinity.scale
    drawn = [fine(shape, 2, 2, origin=(0, 0)) for shape in SHAPES]
    values = rasterize([(shape, 255) for shape in drawn], (2 * SIDE,) * 2, fill=1, dtype="uint8")
    return pictures.write_tif(folder / "s.tif", values[None], transform=pictures.half_metre)


def config(**changes):
    """The detector; of the chain, the parameters of the closer look."""
    params = changes.pop("look", {})
    after = changes.pop("after", [])
    return DetectorConfig.model_validate(
        {
            "name": "painter",
            "release": "1.0.0",
            "description": "",
            "classes": ["thing"],
            "output": "objects",
            "gsd": 1.0,
            "gsd_range": [0.1, 2.0],
            "bands": ["gray"],
            "tile": 192,
            "halo": 64,
            "chain": [{"step": "merge_seams"}, {"step": STEP, **params}, *after],
            "members": [{"name": "painter", "kind": "resunet", "weights": "none"}],
            **changes,
        }
    )


def go(scene, folder, painter, cancel=None, events=None, setup=None, weights="0" * 64):
    follow = (lambda _: None) if events is None else events.append
    return detect_with(
        setup or config(),
        lambda: LoadedDetector(painter, weights, {}),
        DetectRequest(str(scene), "painter", run_dir=folder),
        cancel or Cancel(),
        follow,
    )


def counts(events):
    return [(one.done, one.total) for one in events if one.stage == STEP]


def kept(folder):
    """Bytes of all snapshots and of the manifest."""
    paths = [*folder.glob("*.parquet"), folder / FILE]
    return {path.name: path.read_bytes() for path in sorted(paths)}


@pytest.fixture(scope="module")
def whole(scene, tmp_path_factory):
    """Features, kept bytes, and drawings of an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    painter = Painter()
    result = go(scene, folder, painter)
    return list(result.features), kept(folder), painter.looks


def test_each_object_is_told_and_looked_at_once(scene, whole):
    painter, events = Painter(), []
    result = go(scene, None, painter, events=events)
    assert whole[2] == painter.looks == COUNT
    assert counts(events) == [(done, COUNT) for done in range(COUNT + 1)]
    stages = list(dict.fromkeys(one.stage for one in events))
    assert stages.index(STEP) == stages.index(f"chain: {STEP}") + 1
    assert list(result.features) == whole[0]
    assert STEP in result.summary["seconds"]


@settings(max_examples=6, deadline=None)
@given(stops=st.lists(st.integers(1, COUNT), min_size=1, max_size=4))
def test_a_run_that_was_stopped_looks_at_the_others_only(stops, scene, whole, tmp_path_factory):
    folder, total = tmp_path_factory.mktemp("stopped") / "run", 0
    for stop in stops:
        cancel, events = Cancel(), []

        def leave(number, stop=stop, cancel=cancel):
            if number >= stop:
                cancel.set()

        painter, before = Painter(leave), total
        if COUNT - before < stop:  # nothing is left to stop at
            break
        with pytest.raises(Cancelled):
            go(scene, folder, painter, cancel, events)
        total += painter.looks
        # It stops before the next object of each thread, and nothing it has finished is lost.
        assert stop <= painter.looks < stop + workers()
        assert counts(events) == [(done, COUNT) for done in range(before, total + 1)]
    painter, events = Painter(), []
    result = go(scene, folder, painter, events=events)
    assert painter.looks == COUNT - total
    assert counts(events) == [(done, COUNT) for done in range(total, COUNT + 1)]
    assert (list(result.features), kept(folder)) == whole[:2]


def test_cancelled_by_whoever_hears_of_progress(scene, whole, tmp_path):
    cancel, folder, events = Cancel(), tmp_path / "run", []

    class Leaving(list):
        def append(self, one):
            super().append(one)
            if one.stage == STEP:
                cancel.set()

    painter = Painter()
    with pytest.raises(Cancelled):
        go(scene, folder, painter, cancel, Leaving())
    assert painter.looks == 0
    result = go(scene, folder, painter, events=events)
    assert painter.looks == COUNT
    assert (list(result.features), kept(folder)) == whole[:2]


def test_what_is_done_when_a_look_fails_is_kept(scene, whole, tmp_path):
    def fail(number):
        if number == 20:
            raise RuntimeError("out of order")

    with pytest.raises(StepError, match="out of order"):
        go(scene, tmp_path / "run", Painter(fail))
    painter, events = Painter(), []
    result = go(scene, tmp_path / "run", painter, events=events)
    begun = counts(events)[0][0]
    assert 20 - workers() <= begun < COUNT
    assert painter.looks == COUNT - begun
    assert (list(result.features), kept(tmp_path / "run")) == whole[:2]


def test_what_is_finished_is_never_looked_at_again(scene, whole, tmp_path):
    folder = tmp_path / "run"
    go(scene, folder, Painter())
    for gone in ([], [LEDGER], [f"02_{STEP}.parquet", "chain.json"]):
        for name in gone:
            (folder / name).unlink()
        painter, events = Painter(), []
        result = go(scene, folder, painter, events=events)
        assert painter.looks == 0
        assert counts(events) == [(COUNT, COUNT)]
        assert (list(result.features), kept(folder)) == whole[:2]
    (folder / LOOKS).unlink()
    painter = Painter()
    assert list(go(scene, folder, painter).features) == whole[0]
    assert painter.looks == COUNT


@pytest.mark.parametrize(
    "look", [{"object_px": 90}, {"gain": 1.3}, {"enlarge": 2}, {"threshold": 0.6}]
)
def test_other_parameters_look_anew(look, scene, whole, tmp_path):
    folder, changed = tmp_path / "run", config(look=look)
    go(scene, folder, Painter())
    painter = Painter()
    result = go(scene, folder, painter, setup=changed)
    assert painter.looks == COUNT
    assert result.features == go(scene, None, Painter(), setup=changed).features
    # What was seen with the former ones is still there.
    painter = Painter()
    assert list(go(scene, folder, painter).features) == whole[0]
    assert painter.looks == 0


def test_other_networks_and_other_scenes_look_anew(scene, pictures, tmp_path):
    folder = tmp_path / "run"
    go(scene, folder, Painter())
    half = np.full((1, 2 * SIDE, 2 * SIDE), 90, np.uint8)
    other = pictures.write_tif(tmp_path / "o.tif", half, transform=pictures.half_metre)
    for change in (
        {"weights": "1" * 64},
        {"painter": Painter(identity="another device")},
        {"painter": Painter(names=("other",))},
        {"setup": config(normalise={"mode": "stretch"})},
        {"setup": config(release="1.0.1")},
        {"scene": other},
    ):
        asked = {"scene": scene, "painter": Painter(), **change}
        go(folder=folder, **asked)
        assert asked["painter"].looks == COUNT
        go(folder=folder, **asked)
        assert asked["painter"].looks == COUNT


def test_what_the_other_steps_do_changes_no_look(scene, tmp_path):
    folder, more = tmp_path / "run", config(after=[{"step": "outline"}], description="Another.")
    go(scene, folder, Painter())
    painter = Painter()
    result = go(scene, folder, painter, setup=more)
    assert result.features == go(scene, None, Painter(), setup=more).features
    assert painter.looks == COUNT  # the detector describes itself otherwise
    go(scene, folder, painter, setup=config(description="Another."))
    assert painter.looks == COUNT


SCRIPT = """
import sys
from pathlib import Path
from lanner.core.job import Cancel, DetectRequest
from lanner.inference.pipeline import detect
def tell(progress):
    print(progress.stage, progress.done, flush=True)
detect(DetectRequest(sys.argv[1], sys.argv[2], run_dir=Path(sys.argv[3])), Cancel(), tell)
"""


def test_killed_in_the_middle_and_run_again_to_the_same_bytes(
    at_home, tmp_path, pictures, own_config
):
    """With a real network, whose outlines are the same however many are left."""
    scene = pictures.write_tif(tmp_path / "s.tif", pictures.texture(120, 120))
    chain = [{"step": "merge_seams"}, {"step": STEP, "least": 0, "object_px": 40}]
    detector = own_config(pictures.objects, chain=chain)

    def run(folder):
        events = []
        result = detect(
            DetectRequest(str(scene), detector, run_dir=folder), Cancel(), events.append
        )
        return list(result.features), kept(folder), counts(events)

    features, files, events = run(tmp_path / "whole")
    # How many objects a random network finds depends on the number format.
    total, stop = events[-1][0], BATCH + 2
    assert total > stop + 2
    folder = tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(scene), detector, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        for line in process.stdout:
            if line.strip() == f"{STEP} {stop}":
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    again = run(folder)
    assert stop - BATCH <= again[2][0][0] < total
    assert again[:2] == (features, files)
