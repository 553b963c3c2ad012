"""What a quick question costs: processor time of the command line in fresh processes.

    .venv/bin/python benchmarks/start.py            # medians of five
    .venv/bin/python benchmarks/start.py --repeat 3

A detection of a small scene is measured beside a script that imports the libraries such a detection
is commonly written with, reads the released weights and shows a U-Net three tiles. The other rows
are what a mistake costs, and help. Processor time is that of the whole process, user and system:
it hangs less on what else the machine does than time on a clock. Rows take turns, so that what a
machine does meanwhile falls on all of them.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

SCENE = ("--size", "640x640", "--gsd", "0.3", "--aircraft", "2")
"""What is rendered: two aircraft, as pictures of airfields of that size show them."""
APRON = ("--size", "640x640")
"""And one full of aircraft, for which there is no bar: each is looked at more closely."""

REFERENCE = """\
import sys

import geopandas
import rasterio
import segmentation_models_pytorch as smp
import torch
import torchvision
from safetensors.torch import load_file

for path in sys.argv[1:]:
    load_file(path)
net = smp.Unet("resnet18", encoder_weights=None).eval()
with torch.inference_mode():
    for _ in range(3):
        net(torch.zeros(1, 3, 384, 384))
"""

RATIO = 1.0
"""Bar: a detection over the reference."""

BARS = {"missing scene": 0.6, "corrupt scene": 2.0, "--help": 0.3}
"""Bars: seconds of processor time."""


def spent(command: list[str], code: int) -> float:
    """Seconds of processor time of a fresh process that writes no bytecode.

    Raises:
        RuntimeError: it ended with another exit code than `code`.
    """
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != code:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr[-2000:]}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measure(folder: Path, repeat: int) -> dict[str, list[float]]:
    """Seconds of each row, once a repeat; what is read first is read from memory after that."""
    scene, corrupt, apron = (folder / f"{name}.tif" for name in ("scene", "corrupt", "apron"))
    lanner = [sys.executable, "-m", "lanner"]
    spent([*lanner, "render", str(scene), *SCENE], 0)
    spent([*lanner, "render", str(apron), *APRON], 0)
    corrupt.write_bytes(scene.read_bytes()[:4000])
    weights = newest(ROOT / "weights" / "aircraft")
    out = ["-d", "aircraft", "-o", str(folder / "out.geojson"), "-q"]
    rows: dict[str, tuple[list[str], int]] = {
        "reference": ([sys.executable, "-c", REFERENCE, *map(str, weights)], 0),
        "detection": ([*lanner, "detect", str(scene), *out], 0),
        "full apron": ([*lanner, "detect", str(apron), *out], 0),
        "missing scene": ([*lanner, "detect", str(folder / "none.tif"), *out], 10),
        "corrupt scene": ([*lanner, "detect", str(corrupt), *out], 10),
        "--help": ([*lanner, "--help"], 0),
    }
    times: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(repeat + 1):
        for name, (command, code) in rows.items():
            seconds = spent(command, code)
            if turn:
                times[name].append(seconds)
    return times


def newest(folder: Path) -> list[Path]:
    """Weights of the newest release of a detector."""
    releases = sorted(folder.iterdir(), key=lambda one: [int(n) for n in one.name.split(".")])
    return sorted(releases[-1].glob("*.safetensors"))


def show(times: Mapping[str, list[float]]) -> bool:
    """Print each row; whether every bar holds."""
    middle = {name: statistics.median(seconds) for name, seconds in times.items()}
    for name, seconds in times.items():
        bar = BARS.get(name)
        word = "" if bar is None else f"  bar {bar:g}: {_held(middle[name] <= bar)}"
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        print(f"{name:<14} {middle[name]:6.2f} s  ({spread}){word}")
    ratio = middle["detection"] / middle["reference"]
    print(f"detection over reference {ratio:.2f}  bar {RATIO:g}: {_held(ratio <= RATIO)}")
    return ratio <= RATIO and all(middle[name] <= bar for name, bar in BARS.items())


def _held(held: bool) -> str:
    return "held" if held else "not held"


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    words.add_argument("--repeat", type=int, default=5, help="measurements of each row")
    repeat = words.parse_args().repeat
    with tempfile.TemporaryDirectory(prefix="lanner-start-") as folder:
        sys.exit(not show(measure(Path(folder), repeat)))


if __name__ == "__main__":
    main()
