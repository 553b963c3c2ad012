"""Golden outputs: what the released detector says of a few images, to the byte.

The images are not kept, only their checksums (and, of a rendered one, how it was made): the
outputs can be checked by whoever has the data, and the release stays small.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from detectors.card import sha256_file
from detectors.catalog import Entry
from lanner.core.errors import PlaceError, SceneError
from lanner.core.job import Cancel, Progress
from lanner.factory.project import Project
from lanner.factory.samples import Sample

FILE = "golden.json"
"""Its name in a release folder."""

READ_AS_THEY_ARE = (".tif", ".tiff", ".jp2", ".ntf", ".img", ".png", ".jpg", ".jpeg")


def golden_outputs(
    project: Project, entry: Entry, samples: Sequence[Sample]
) -> list[dict[str, Any]]:
    """Run the whole detector, as `lanner detect` does, on a CPU.

    Args:
        project: for progress and cancelling.
        entry: the detector as it will be released.
        samples: images to run it on.

    Returns:
        A row an image: sample, name and sha256 of its file, its ground sampling, how it was
        made, what the networks ran on, the features and one checksum over their texts.
    """
    return [golden_output(project, entry, sample) for sample in samples]


def golden_output(project: Project, entry: Entry, sample: Sample) -> dict[str, Any]:
    """One row of `golden_outputs`."""
    gsd = request_gsd(project, entry, sample)
    features = features_of(entry, sample.image, gsd, project.cancel, project.tell)
    return {
        "sample": sample.id,
        "file": sample.image.name,
        "image_sha256": sha256_file(sample.image),
        "gsd": gsd,
        "made_by": list(sample.history),
        "runs_on": runs_on(),
        "features_sha256": checksum(features),
        "features": [json.loads(text) for text in features],
    }


def request_gsd(project: Project, entry: Entry, sample: Sample) -> float | None:
    """Metres a pixel that the detector is told, as in step evaluate; None where the image says."""
    from lanner.factory.steps.evaluate.networks import ground_sampling
    from tiling.scene import open_scene

    if sample.place is not None:
        try:
            open_scene(sample.image)
            return None
        except (PlaceError, SceneError):
            # What an operation wrote (a tile) is a PNG: its sample alone knows where it lies.
            pass
    return ground_sampling(sample, entry.config, project.config.evaluate.pretend_gsd)


def features_of(
    entry: Entry, image: Path, gsd: float | None, cancel: Cancel, tell: Callable[[Progress], None]
) -> tuple[str, ...]:
    """Feature texts of the whole detector on one image, as `lanner detect --device cpu` has them.

    Raises:
        LannerError: whatever the detector raises.
    """
    from lanner.core.job import DetectRequest
    from lanner.inference.pipeline import detect_with
    from lanner.inference.registry import load

    with tempfile.TemporaryDirectory(prefix="lanner-") as folder:
        scene = _scene(image, Path(folder))
        request = DetectRequest(str(scene), str(entry.path), gsd=gsd, device="cpu")
        done = detect_with(entry.config, lambda: load(entry, request), request, cancel, tell)
    return tuple(done.features)


def runs_on() -> str:
    """What outputs hang on besides image and weights: device, number format, torch."""
    import torch

    from detectors.device import compute

    return f"{compute('cpu').name}, torch {torch.__version__.partition('+')[0]}"


def checksum(texts: Sequence[str]) -> str:
    """SHA-256 of feature texts, one a line."""
    return hashlib.sha256("".join(text + "\n" for text in texts).encode()).hexdigest()


def _scene(image: Path, folder: Path) -> Path:
    """The image, or a GeoTIFF of its pixels where scenes are not read from such a file."""
    if image.suffix.lower() in READ_AS_THEY_ARE:
        return image
    import numpy as np
    import rasterio

    from lanner.factory.images import read_rgb
    from tiling.access import writing_env

    rgb = read_rgb(image)
    path = folder / f"{image.stem}.tif"
    shape = {"width": rgb.shape[1], "height": rgb.shape[0], "count": 3, "dtype": "uint8"}
    with (
        writing_env(),
        rasterio.open(path, "w", driver="GTiff", photometric="RGB", **shape) as out,
    ):
        out.write(np.moveaxis(rgb, 2, 0))
    return path


__all__ = [
    "FILE",
    "checksum",
    "features_of",
    "golden_output",
    "golden_outputs",
    "request_gsd",
    "runs_on",
]
