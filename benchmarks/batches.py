"""What an archive costs over its networks, and what a cluster's workers are worth.

`python benchmarks/batches.py scenes` renders 100 scenes of 640 px, runs them with `lanner batch`
and compares the whole time with that of the networks alone (every pass of every tile and closer
look on the same cores, the networks loaded, pixels at hand). `python benchmarks/batches.py
cluster` compares Ray's workers, each on one core, with the serial executor on one core. Rounds
alternate; every measurement is a process of its own. `--scenes` and `--side` make either smaller.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lanner.synth.scene import render
from lanner.synth.spec import RenderSpec

BATCH = """
import json, resource, sys, threading, time
from pathlib import Path
import lanner
source, out, on, workers = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
sizes = []
def resident():
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize() / 1e6
began = time.perf_counter()
result = lanner.batch(source, "aircraft", out, on=on, workers=workers,
    on_record=lambda _: sizes.append(resident()))
print(json.dumps({"wall": time.perf_counter() - began, "resident": sizes,
    "features": dict(result.features), "failed": len(result.failed)}))
"""
"""Runs a batch; prints its time, and the memory it had in use after each scene."""

NETWORKS = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from lanner.core.job import Cancel, DetectRequest
from lanner.inference import pipeline, registry
from lanner.inference.run import open_run
from lanner.inference.stages import Stages
from tiling.reader import TileReader
tiles, objects = [], []
entry = registry.find("aircraft")
for path in sorted(Path(sys.argv[1]).glob("*.tif")):
    request = DetectRequest(str(path), "aircraft")
    opened = open_run(entry.config, lambda: registry.load(entry, request), request, Cancel(),
        Stages(lambda _: None))
    predictor = opened.loaded.predictor
    ensemble = type(predictor)
    kept = ensemble._outline
    def outline(self, *args, kept=kept):
        objects.append(args)
        return kept(self, *args)
    ensemble._outline = outline
    pipeline.detect(request, Cancel(), lambda _: None)
    ensemble._outline = kept
    plan = opened.manifest.plan
    reader = TileReader(opened.scene, plan, entry.config.bands, opened.manifest.stretch)
    tiles += [(reader.read(index), plan.grid) for index in range(len(plan))]
began = time.perf_counter()
with ThreadPoolExecutor(predictor.workers) as pool:
    list(pool.map(lambda one: predictor.run([one[0]], [one[1]], 1), tiles))
with ThreadPoolExecutor(predictor.workers * predictor.share) as pool:
    list(pool.map(lambda one: predictor.outline(*one), objects))
print(json.dumps({"wall": time.perf_counter() - began, "tiles": len(tiles),
    "objects": len(objects)}))
"""
"""Times every pass of the networks over the same scenes: tiles, then objects, all in memory."""


def main() -> int:
    """Measure and print; exits 0."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    ask.add_argument("what", choices=("scenes", "cluster"))
    ask.add_argument("--scenes", type=int, default=0, help="scenes of 640 px")
    ask.add_argument("--side", type=int, default=20_000, help="pixels across the large scene")
    ask.add_argument("--rounds", type=int, default=3)
    given = ask.parse_args()
    with tempfile.TemporaryDirectory(prefix="lanner-batches-") as folder:
        if given.what == "scenes":
            scenes(Path(folder), given.scenes or 100, given.rounds)
        else:
            cluster(Path(folder), given.scenes or 20, given.side, given.rounds)
    return 0


def scenes(folder: Path, count: int, rounds: int) -> None:
    """The whole time of a batch over that of its networks, and its memory from scene 20 on."""
    source = _archive(folder / "in", count)
    ratios = []
    for n in range(rounds):
        whole = _run(BATCH, source, folder / f"out{n}", "local", 0)
        alone = _run(NETWORKS, source)
        ratios.append(whole["wall"] / alone["wall"])
        late = whole["resident"][min(20, count // 5) :]
        print(
            f"{count} scenes: {whole['wall']:.1f} s, networks {alone['wall']:.1f} s "
            f"({alone['tiles']} tiles, {alone['objects']} objects): {ratios[-1]:.3f}; memory "
            f"{min(late):.0f} to {max(late):.0f} MB (first {late[0]:.0f}, last {late[-1]:.0f})",
            flush=True,
        )
    print(f"median ratio {statistics.median(ratios):.3f}")


def cluster(folder: Path, count: int, side: int, rounds: int) -> None:
    """Ray by one worker and by two, each on a core, over the serial executor on one core."""
    source = _archive(folder / "in", count)
    _render(source / "large.tif", side, 77, side // 500, gsd=0.2)
    one, two = [], []
    for n in range(rounds):
        base = _run(BATCH, source, folder / f"serial{n}", "serial", 0, cores=1)["wall"]
        by_one = _run(BATCH, source, folder / f"one{n}", "ray", 1)["wall"]
        by_two = _run(BATCH, source, folder / f"two{n}", "ray", 2)["wall"]
        one.append(base / by_one)
        two.append(base / by_two)
        print(
            f"serial {base:.1f} s, one worker {by_one:.1f} ({one[-1]:.3f} x), "
            f"two {by_two:.1f} ({two[-1]:.3f} x)",
            flush=True,
        )
    print(f"median: one worker {statistics.median(one):.3f} x, two {statistics.median(two):.3f} x")


def _archive(folder: Path, count: int) -> Path:
    folder.mkdir()
    for k in range(count):
        _render(folder / f"scene{k:03}.tif", 640, k, 4)
    return folder


def _render(path: Path, side: int, seed: int, aircraft: int, gsd: float = 0.5) -> None:
    spec = RenderSpec(
        width=side, height=side, seed=seed, aircraft=aircraft, lon=11.5 + 0.05 * seed, gsd=gsd
    )
    render(path, spec)


def _run(code: str, *words: object, cores: int = 0) -> Mapping[str, Any]:
    """What a program prints, run on as many cores, or all of them where 0."""
    ours: Sequence[int] = sorted(os.sched_getaffinity(0))
    pinned = set(ours[:cores]) if cores else set(ours)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, pinned),
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    raise SystemExit(main())
