"""What a detector sees on images: the whole pipeline up to one box an object, kept by content."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanner.core.config import DetectorConfig, config_sha256
from lanner.core.errors import ConfigError, GsdError
from lanner.core.job import Cancel, DetectRequest

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

UNTIL = "merge_seams"
"""The chain is cut behind this step: later ones move boxes to outlines and drop objects."""


@dataclass(frozen=True)
class Predictions:
    """Boxes of one image: (n, 4) x0 y0 x1 y1 pixels, (n,) scores 0..1, n classes; best first."""

    boxes: Floats
    scores: Floats
    labels: tuple[str, ...]

    def of(self, label: str) -> Predictions:
        """Those of one class."""
        keep = np.array([one == label for one in self.labels], bool)
        return Predictions(self.boxes[keep], self.scores[keep], (label,) * int(keep.sum()))

    def facts(self) -> dict[str, Any]:
        """Plain data, rounded to hundredths of a pixel and millionths of a score."""
        return {
            "boxes": self.boxes.round(2).tolist(),
            "scores": self.scores.round(6).tolist(),
            "labels": list(self.labels),
        }

    @staticmethod
    def from_facts(facts: dict[str, Any]) -> Predictions:
        """What `facts` gave."""
        return Predictions(
            np.array(facts["boxes"], np.float64).reshape(-1, 4),
            np.array(facts["scores"], np.float64),
            tuple(facts["labels"]),
        )


Predict = Callable[[Pixels, float | None], Predictions]
"""An image (h, w, 3) uint8 and its metres a pixel (None: the detector's own) to what is seen."""


@dataclass(frozen=True)
class Detector:
    """A detector that looks at single images; `key` changes with its configuration and weights."""

    config: DetectorConfig
    key: str
    predict: Predict


def open_detector(name: str, base: Path, cancel: Cancel | None = None) -> Detector:
    """A released detector, or one of a YAML file, for single images.

    Args:
        name: released name, or a path to a YAML file, relative to `base` where it is there.
        base: folder of the factory file.
        cancel: looked at between tiles.

    Raises:
        UnknownDetectorError: no such name.
        ConfigError: the file is missing or malformed, or the detector gives no boxes.
        WeightsError: its weights are missing or damaged.
    """
    from lanner.inference.registry import find_beside, load

    entry = find_beside(base, name)
    if entry.config.output != "objects":
        raise ConfigError(
            "model", name, "gives a raster and no boxes", "name a detector of objects"
        )
    loaded = load(entry, DetectRequest("", name))
    config = cut(entry.config)
    stop = cancel or Cancel()

    def predict(rgb: Pixels, gsd: float | None) -> Predictions:
        from lanner.inference.pipeline import detect_with

        with tempfile.TemporaryDirectory(prefix="lanner-") as folder:
            path = Path(folder) / "image.tif"
            write_tiff(rgb, path)
            request = DetectRequest(str(path), name, gsd=gsd or config.gsd)
            done = detect_with(config, lambda: loaded, request, stop, lambda _: None)
        return predictions_of(done.features)

    return Detector(config, f"{config_sha256(config)}-{loaded.weights_sha256}", predict)


def cut(config: DetectorConfig) -> DetectorConfig:
    """The detector with its chain cut behind `UNTIL`; without that step, after the first."""
    names = [one.step for one in config.chain]
    until = names.index(UNTIL) + 1 if UNTIL in names else 1
    return config.model_copy(update={"chain": config.chain[:until]})


def predictions_of(features: Sequence[str]) -> Predictions:
    """Boxes from the texts of features, best first."""
    facts = [json.loads(text)["properties"] for text in features]
    facts.sort(key=lambda one: (-one["confidence"], one["box_px"]))
    return Predictions(
        np.array([one["box_px"] for one in facts], np.float64).reshape(-1, 4),
        np.array([one["confidence"] for one in facts], np.float64),
        tuple(one["label"] for one in facts),
    )


class Memory:
    """What a detector saw, by content of the image: a rerun looks only at what is new.

    Args:
        path: a JSON-lines file; what is there of another detector is passed over.
        detector: who looks.
    """

    def __init__(self, path: Path, detector: Detector) -> None:
        self.path, self.detector = path, detector
        self._known: dict[str, dict[str, Any]] = {}
        if path.is_file():
            whole, _, torn = path.read_text(encoding="utf-8").rpartition("\n")
            if torn:
                # A run that was killed leaves half a line.
                path.write_text(whole + "\n" if whole else "", encoding="utf-8")
            for one in map(json.loads, whole.splitlines()):
                if one["by"] == detector.key:
                    self._known[one["image"]] = one

    def predict(self, rgb: Pixels, content: str, gsd: float | None) -> Predictions:
        """Look, or remember.

        Args:
            rgb: (h, w, 3) uint8.
            content: checksum of it.
            gsd: metres a pixel; None for the detector's own.

        Raises:
            GsdError: the detector cannot use such pixels; it is remembered too.
        """
        key = f"{content}@{gsd or self.detector.config.gsd:.6g}"
        if key not in self._known:
            try:
                facts: dict[str, Any] = self.detector.predict(rgb, gsd).facts()
            except GsdError as error:
                facts = {"refused": [error.argument, error.value, error.problem, error.remedy]}
            self._known[key] = {"image": key, "by": self.detector.key, **facts}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self._known[key], sort_keys=True) + "\n")
        one = self._known[key]
        if "refused" in one:
            raise GsdError(*one["refused"])
        return Predictions.from_facts(one)


def write_tiff(rgb: Pixels, path: Path) -> None:
    """An 8-bit RGB GeoTIFF without a place, as the pipeline reads it."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    h, w = rgb.shape[:2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", width=w, height=h, count=3, dtype="uint8", photometric="RGB"
        ) as out:
            out.write(np.moveaxis(rgb, 2, 0))
