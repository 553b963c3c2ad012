"""Golden outputs: what the released detector says of a few images, to the byte.

The images are not kept, only their checksums (and, of a rendered one, how it was made): the
outputs can be checked by whoever has the data, and the release stays small.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectors.card import sha256_file
from detectors.catalog import Entry
from lanner.factory.samples import Sample
from lanner.factory.shop import Shop

FILE = "golden.json"
"""Its name in a release folder."""

READ_AS_THEY_ARE = (".tif", ".tiff", ".png", ".jpg", ".jpeg")


def golden_outputs(shop: Shop, entry: Entry, samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Run the whole detector, as `lanner detect` does, on a CPU.

    Args:
        shop: for progress and cancelling.
        entry: the detector as it will be released.
        samples: images to run it on.

    Returns:
        A row an image: sample, sha256 of the image, its ground sampling, how it was made, the
        feature texts and one checksum over them.
    """
    return [golden_output(shop, entry, sample) for sample in samples]


def golden_output(shop: Shop, entry: Entry, sample: Sample) -> dict[str, Any]:
    """One row of `golden_outputs`."""
    from lanner.job import DetectRequest
    from lanner.pipeline import detect_with
    from lanner.released import load

    gsd = None if sample.place is not None else sample.gsd or entry.config.gsd
    with tempfile.TemporaryDirectory(prefix="lanner-") as folder:
        scene = _scene(sample, Path(folder))
        request = DetectRequest(str(scene), str(entry.path), gsd=gsd, device="cpu")
        done = detect_with(
            entry.config, lambda: load(entry, request), request, shop.cancel, shop.tell
        )
    return {
        "sample": sample.id,
        "image_sha256": sha256_file(sample.image),
        "gsd": gsd,
        "made_by": list(sample.history),
        "features_sha256": checksum(done.features),
        "features": [json.loads(text) for text in done.features],
    }


def checksum(texts: Sequence[str]) -> str:
    """SHA-256 of feature texts, one a line."""
    return hashlib.sha256("".join(text + "\n" for text in texts).encode()).hexdigest()


def _scene(sample: Sample, folder: Path) -> Path:
    """The image, or a GeoTIFF of its pixels where scenes are not read from such a file."""
    if sample.image.suffix.lower() in READ_AS_THEY_ARE:
        return sample.image
    import numpy as np
    import rasterio

    from lanner.factory.images import read_rgb
    from tiling.access import writing_env

    rgb = read_rgb(sample.image)
    path = folder / f"{sample.image.stem}.tif"
    shape = {"width": rgb.shape[1], "height": rgb.shape[0], "count": 3, "dtype": "uint8"}
    with (
        writing_env(),
        rasterio.open(path, "w", driver="GTiff", photometric="RGB", **shape) as out,
    ):
        out.write(np.moveaxis(rgb, 2, 0))
    return path


__all__ = ["FILE", "checksum", "golden_output", "golden_outputs"]
