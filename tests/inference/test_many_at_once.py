"""Reading and drawing outlines by many threads and processes at once: same bytes, no hang, no leak.

`LANNER_FULL=1` (make accept) runs the numbers that the project promises; otherwise a tenth or less.
"""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from detectors.instances import instances
from lanner.core.config import Instances
from tiling.grid import Box, TilePlan
from tiling.normalise import Stretch
from tiling.reader import TileReader
from tiling.sample import GridSampler
from tiling.scene import open_scene

ROOT = Path(__file__).resolve().parents[2]
FULL = bool(os.environ.get("LANNER_FULL"))
RGB = ("red", "green", "blue")

READ = """
import hashlib, sys
from concurrent.futures import ThreadPoolExecutor
from tiling.grid import Box
from tiling.sample import GridSampler
from tiling.scene import open_scene
scene = open_scene(sys.argv[1], gsd=1.0)
boxes = [Box(x, y, x + 90, y + 70) for y in range(-20, 500, 60) for x in range(-20, 500, 60)]
def part(k):
    with GridSampler(scene, scene.grid(1.3), ("red", "green", "blue")) as sampler:
        return [(n, sampler.read(boxes[n])) for n in range(k, len(boxes), 16)]
with ThreadPoolExecutor(16) as pool:
    read = dict(one for found in pool.map(part, range(16)) for one in found)
digest = hashlib.sha256()
for n in range(len(boxes)):
    digest.update(read[n][0].tobytes() + read[n][1].tobytes())
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory, pictures):
    folder = tmp_path_factory.mktemp("many")
    return pictures.write_tif(
        folder / "s.tif", pictures.texture(600, 640), tiled=True, blockxsize=128, blockysize=128
    )


def serial(path):
    scene = open_scene(str(path), gsd=1.0)
    boxes = [Box(x, y, x + 90, y + 70) for y in range(-20, 500, 60) for x in range(-20, 500, 60)]
    digest = hashlib.sha256()
    with GridSampler(scene, scene.grid(1.3), RGB) as sampler:
        for box in boxes:
            pixels, valid = sampler.read(box)
            digest.update(pixels.tobytes() + valid.tobytes())
    return digest.hexdigest()


def test_eight_cold_processes_of_sixteen_threads_read_the_same(path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", READ, str(path)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(8 if FULL else 3)
    ]
    outputs = {process.communicate(timeout=240)[0].strip() for process in running}
    assert outputs == {serial(path)}


def test_threads_that_share_a_handle_read_the_same(path):
    scene = open_scene(str(path), gsd=1.0)
    boxes = [Box(x, y, x + 64, y + 64) for y in range(0, 400, 37) for x in range(0, 400, 37)]
    with GridSampler(scene, scene.grid(1.3), RGB, decoders=4) as sampler:
        one = [sampler.read(box)[0].tobytes() for box in boxes]
        with ThreadPoolExecutor(16) as pool:
            for _ in range(3):
                assert [p.tobytes() for p, _ in pool.map(sampler.read, boxes)] == one


def test_outlines_drawn_by_many_threads_at_once():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    probability = np.zeros((3, 64, 64), np.float32)
    for cx, cy in rng.uniform(10, 54, (4, 2)):
        far = np.hypot(x - cx, y - cy)
        probability[0] = np.maximum(probability[0], 1 / (1 + np.exp(far - 6)))
        probability[2] = np.maximum(probability[2], np.exp(-(far**2) / 8))
    expected = [ring.tobytes() for ring in instances(probability, 0.5, Instances()).outlines]
    assert expected
    with ThreadPoolExecutor(32) as pool:
        tasks = [
            pool.submit(instances, probability, 0.5, Instances())
            for _ in range(1000 if FULL else 200)
        ]
        for task in tasks:
            found = task.result(timeout=60)
            assert [ring.tobytes() for ring in found.outlines] == expected


def test_many_reads_leave_nothing_behind(path):
    scene = open_scene(str(path), gsd=1.0)
    boxes = [Box(x, y, x + 32, y + 32) for y in range(0, 400, 21) for x in range(0, 400, 21)]
    count = 100_000 if FULL else 4_000

    def peak_mb():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    with GridSampler(scene, scene.grid(1.3), RGB) as sampler:
        for box in boxes:
            sampler.read(box)
        before = peak_mb()
        for n in range(count):
            sampler.read(boxes[n % len(boxes)])
    for _ in range(count // 200):  # handles opened and closed
        with GridSampler(scene, scene.grid(1.3), RGB) as sampler:
            sampler.read(boxes[0])
    plan_reader = TileReader(
        scene, TilePlan(scene.grid(1.3), 96, 16), RGB, Stretch((0.0,) * 3, (255.0,) * 3), 4
    )
    for ahead in (True, False):
        for _ in plan_reader.chunks(range(len(plan_reader.plan)), 4, ahead):
            pass
    assert peak_mb() - before < 50
