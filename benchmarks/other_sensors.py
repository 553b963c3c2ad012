"""How a road detector does on labelled pictures as other cameras would have taken them.

    python benchmarks/other_sensors.py RUN [DETECTOR] [grey swapped ...]

RUN is the folder of a factory run whose frozen test split is looked at (`03_dataset`), DETECTOR a
released one or a YAML file. Each picture is changed the same way every time and goes through the
whole detector. Printed: relaxed F1 (3 px) of the mask and of the graph, by camera.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray

from detectors.training.colour import excess_green
from lanner.core.job import Cancel, DetectRequest
from lanner.factory.images import read_rgb
from lanner.factory.samples import Sample, read_samples
from lanner.factory.steps.evaluate.network import true_lines
from lanner.factory.steps.evaluate.truth import road_mask
from lanner.factory.steps.explore.predictions import write_tiff
from lanner.inference.pipeline import detect
from postprocess.roads.relaxed import Relaxed, relaxed_lines, relaxed_masks

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

REACH = 3.0
"""Pixels within which a pixel or a line is right (Mnih, 2013)."""


def _grey(rgb: Floats) -> Floats:
    return np.repeat(rgb.mean(2, keepdims=True), 3, 2)


def _infrared(rgb: Floats) -> Floats:
    """One band that reaches into the near infrared, where what is green is bright."""
    return np.repeat(rgb.mean(2, keepdims=True) + 3 * excess_green(rgb), 3, 2)


def _blurred(rgb: Floats) -> Floats:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), 1.2), np.float32)


def _noisy(rgb: Floats) -> Floats:
    return rgb + np.random.default_rng(0).normal(0, 12, rgb.shape).astype(np.float32)


CAMERAS: dict[str, Callable[[Floats], Floats]] = {
    "as it is": lambda rgb: rgb,
    "grey": _grey,
    "infrared": _infrared,
    "swapped": lambda rgb: rgb[..., ::-1],
    "warm": lambda rgb: rgb * np.float32([1.2, 1.0, 0.75]) + np.float32([15, 0, -10]),
    "hazy": lambda rgb: rgb * np.float32(0.45) + np.float32(110),
    "dark": lambda rgb: rgb * np.float32(0.5),
    "blurred": _blurred,
    "sharpened": lambda rgb: rgb + np.float32(1.5) * (rgb - _blurred(rgb)),
    "noisy": _noisy,
}


def seen_by(camera: str, rgb: Pixels, known: NDArray[np.bool_]) -> Pixels:
    """A picture (h, w, 3) as a camera shows it; what is no image stays as it is."""
    changed = np.clip(CAMERAS[camera](rgb.astype(np.float32)), 0, 255).round().astype(np.uint8)
    return np.where(known[..., None], changed, rgb)


def judged(sample: Sample, camera: str, detector: str) -> tuple[Relaxed, Relaxed]:
    """Counts of one picture's mask and graph."""
    road, known = road_mask(sample)
    with tempfile.TemporaryDirectory(prefix="lanner-") as folder:
        picture, run = Path(folder) / "picture.tif", Path(folder) / "run"
        write_tiff(seen_by(camera, read_rgb(sample.image), known), picture)
        request = DetectRequest(str(picture), detector, device="cpu", gsd=sample.gsd, run_dir=run)
        done = detect(request, Cancel(), lambda _: None)
        with rasterio.open(run / "probability.tif") as file:
            mask = file.read(1) >= 128
    if mask.shape != road.shape:
        raise SystemExit(f"{sample.id} has {sample.gsd} m a pixel, unlike the detector")
    shapes = [shapely.geometry.shape(json.loads(one)["geometry"]) for one in done.features]
    lines = np.asarray(shapes, object)
    return (
        relaxed_masks(mask, road, REACH, known),
        relaxed_lines(lines, true_lines(sample, sample.gsd or 1.0), REACH, known),
    )


def row(samples: tuple[Sample, ...], camera: str, detector: str) -> dict[str, Any]:
    """F1, precision and recall of the mask, and F1 of the graph, over all pictures."""
    masks, graphs = zip(*(judged(one, camera, detector) for one in samples), strict=True)
    mask, graph = reduce(add, masks), reduce(add, graphs)
    return {
        "camera": camera,
        "mask_f1": round(mask.f1, 4),
        "mask_precision": round(mask.precision, 4),
        "mask_recall": round(mask.recall, 4),
        "graph_f1": round(graph.f1, 4),
    }


def main() -> None:
    if len(sys.argv) < 2 or not set(sys.argv[3:]) <= set(CAMERAS):
        raise SystemExit(f"{__doc__}\nCameras: {', '.join(CAMERAS)}")
    run, detector, *cameras = [*sys.argv[1:], *(["roads"] if len(sys.argv) == 2 else [])]
    samples = read_samples(Path(run) / "03_dataset" / "samples.jsonl")
    test = tuple(one for one in samples if one.split == "test" and one.mask is not None)
    for camera in cameras or CAMERAS:
        print(json.dumps(row(test, camera, detector)), flush=True)


if __name__ == "__main__":
    main()
