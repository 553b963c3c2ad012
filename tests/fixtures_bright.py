"""A real pipeline whose detector finds bright squares, for servers that are put to the test.

`TILE_S` seconds of every tile are spent as a network would spend them. The name of a scene that
holds "chain" has a step of the chain take as long as it is let to.
"""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from scipy import ndimage

from detectors.fusion import Fused
from detectors.windows import place
from lanner.core.config import DetectorConfig
from lanner.core.job import DetectionPlan
from lanner.core.offers import DetectorOffer
from lanner.inference.pipeline import detect_with
from lanner.inference.registry import LoadedDetector
from server.work import Work
from tests.fixtures_damage import write_damaged

SIDE, STEP = 8, 16
OFFER = DetectorOffer(
    "bright", "1.0.0", "", ("square",), "objects", 1.0, (0.5, 2.0), ("red",), (), ()
)
CONFIG = DetectorConfig.model_validate(
    {
        "name": "bright",
        "release": "1.0.0",
        "description": "",
        "classes": ["square"],
        "output": "objects",
        "gsd": 1.0,
        "gsd_range": [0.5, 2.0],
        "bands": ["red", "green", "blue"],
        "tile": 128,
        "halo": 32,
        "chain": [{"step": "merge_seams"}],
        "members": [{"name": "bright", "kind": "resunet", "weights": "none"}],
    }
)


class Bright:
    """Finds what is bright in the pixels that it is shown."""

    names = ("bright",)
    channels = ()
    batch = 1
    workers = 2
    share = 1
    shares_cores = True
    device = "bright"
    identity = "bright"

    def run(self, images, grids, slots=None):
        return [self._see(image, grid) for image, grid in zip(images, grids, strict=True)]

    def _see(self, image, grid):
        log("device")
        time.sleep(float(os.environ.get("TILE_S", "0")))
        labels, _ = ndimage.label(image.pixels[0] > 0.8)
        spots = ndimage.find_objects(labels)
        boxes = [(x.start, y.start, x.stop, y.stop) for y, x in spots]
        n = len(boxes)
        found = Fused(
            np.array(boxes, float).reshape(n, 4),
            np.full(n, 0.9),
            np.zeros(n, np.int64),
            np.full((n, 1), 0.9),
            (None,) * n,
        )
        return place(found, image.tile.window, image.valid, grid)


def log(what):
    """Note that the server is at some work, with the time."""
    if path := os.environ.get("WORK_LOG"):
        with open(path, "a") as file:
            file.write(f"{what} {time.monotonic()}\n")


def detect(request, cancel, tell):
    """The real thing, but for its networks."""

    def follow(progress):
        while "chain" in request.scene and progress.stage == "chain: merge_seams":
            log("chain")
            cancel.check()
            time.sleep(0.05)
        tell(progress)

    loaded = LoadedDetector(Bright(), "0" * 64, {})
    return detect_with(CONFIG, lambda: loaded, request, cancel, follow)


def plan(request):
    return DetectionPlan(1, 1.5, 100, 2.25, 1000, None, ())


WORK = Work(detect, lambda: [OFFER], plan)

_SCRIPT = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r})
from server.options import ServeOptions
from server.process import serve
from tests.fixtures_bright import WORK
if "KILLED_IN_REAPER" in os.environ:
    from server.jobs.store import JobStore
    whole = JobStore._requeue
    def half(self, db, job, now, **values):
        whole(self, db, job, now, **values)
        os.kill(os.getpid(), 9)
    JobStore._requeue = half
if "LARGEST_FILE" in os.environ:
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["LARGEST_FILE"]),) * 2)
options = dict(eval(sys.argv[3]), roots=(Path(sys.argv[1]),), data=Path(sys.argv[2]))
serve(WORK, ServeOptions(**options), ready=lambda one: print(one.address, flush=True))
"""


def write_squares(path: Path, side: int, damaged=(), step: int = STEP) -> int:
    """A gray scene of `side` x `side` px with a bright square of 8 px every `step` px; how many."""
    pixels = np.full((3, side, side), 100, np.uint8)
    starts = range(4, side - SIDE, step)
    for y in starts:
        for x in starts:
            pixels[:, y : y + SIDE, x : x + SIDE] = 250
    write_damaged(path, pixels, damaged)
    return len(starts) ** 2


@contextmanager
def bright_server(scenes: Path, data: Path, environment=(), **options):
    """A server in a process of its own: the process and its address."""
    chosen = {"port": 0, "grace_s": 0.5, "lease_s": 1.0, **options}
    command = [sys.executable, "-c", _SCRIPT, str(scenes), str(data), repr(chosen)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **dict(environment)},
    ) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()
