"""Everything that a first detection would wait for, done before it comes."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from lanner.core.config import DetectorConfig
from lanner.core.job import Cancel, DetectRequest

SIDE = 64
"""Side in detector pixels of the scene that a CPU looks at: its first tile of any other size is as
quick as the second one then."""


def warm(
    detector: str,
    device: str = "auto",
    members: tuple[str, ...] | None = None,
    cancel: Cancel | None = None,
) -> float:
    """Load a detector and take it through one small run, from reading a tile to writing features.

    Networks are read and tried, number formats chosen, inner loops compiled, memory taken: a
    first request costs what the next one does. The scene is plain grey; what the networks should
    have found there is made up (`lanner.inference.rehearsal`), so that no step of the chain is
    left out.

    Args:
        detector: released name, or path of a YAML file.
        device: as requests will name it.
        members: as requests will name them; None for all.
        cancel: looked at between stages.

    Returns:
        Seconds that it took.

    Raises:
        LannerError: whatever a detection raises.
    """
    since = time.monotonic()
    asked = cancel or Cancel()
    from lanner.inference.pipeline import detect_with
    from lanner.inference.registry import LoadedDetector, find, load

    entry = find(detector)
    config = entry.config
    from detectors.ensemble import Ensemble
    from lanner.inference.rehearsal import Rehearsal

    asked.check()
    request = DetectRequest("", detector, config.gsd, device, members=members)
    loaded = load(entry, request)
    asked.check()
    assert isinstance(loaded.predictor, Ensemble)
    predictor = Rehearsal(loaded.predictor)
    played = LoadedDetector(predictor, loaded.weights_sha256, loaded.files)
    # On a GPU everything is as large as it will be, which takes no time there.
    side = SIDE if predictor.shares_cores else config.tile - 2 * config.halo
    # Only now: up to here a server that is told to stop does not wait for us to clean up.
    with tempfile.TemporaryDirectory(prefix="lanner-") as folder:
        scene = str(Path(folder) / "scene.tif")
        _write(scene, config, side)
        detect_with(config, lambda: played, replace(request, scene=scene), asked, lambda _: None)
    return time.monotonic() - since


def _write(path: str, config: DetectorConfig, side: int) -> None:
    """A grey scene of (side, side) detector pixels, with the bands that the detector takes."""
    import numpy as np
    import rasterio
    from affine import Affine

    names = tuple(dict.fromkeys(config.bands))
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=side,
        height=side,
        count=len(names),
        dtype="uint8",
        crs="EPSG:32633",
        transform=Affine(config.gsd, 0, 500_000, 0, -config.gsd, 5_000_000),
    ) as file:
        file.write(np.full((len(names), side, side), 110, np.uint8))
        file.descriptions = names
