"""Everything that a first detection would wait for, done before it comes."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from lanner.core.config import DetectorConfig
from lanner.core.job import Cancel, DetectRequest

MOST_PX = 4096
"""Side of the rendered scene at most; detectors with larger tiles see a part of one."""

FINEST, COARSEST = 0.1, 30.0
"""Metres a pixel that scenes are rendered at."""


def warm(detector: str, device: str = "auto", members: tuple[str, ...] | None = None) -> float:
    """Load a detector and let it look at a rendered scene of one tile.

    Networks are read, number formats chosen, inner loops compiled, memory taken: a first request
    costs what the next one does.

    Args:
        detector: released name, or path of a YAML file.
        device: as requests will name it.
        members: as requests will name them; None for all.

    Returns:
        Seconds that it took.

    Raises:
        LannerError: whatever a detection raises.
    """
    from lanner.inference.pipeline import detect
    from lanner.inference.registry import find

    since = time.monotonic()
    config = find(detector).config
    with tempfile.TemporaryDirectory(prefix="lanner-") as folder:
        scene = Path(folder) / "scene.tif"
        _render(scene, config)
        # Said, since not every ground sampling is rendered.
        request = DetectRequest(str(scene), detector, config.gsd, device, members=members)
        detect(request, Cancel(), lambda _: None)
    return time.monotonic() - since


def _render(path: Path, config: DetectorConfig) -> None:
    """A scene with the bands that the detector takes, whatever their names are."""
    import rasterio

    from lanner.synth.scene import render
    from lanner.synth.spec import RenderSpec

    side, gsd = min(config.tile, MOST_PX), min(max(config.gsd, FINEST), COARSEST)
    render(path, RenderSpec(side, side, gsd, bands=4))
    if not {"red", "green", "blue", "nir"}.issuperset(config.bands):
        names = tuple(dict.fromkeys(config.bands))
        with rasterio.open(path, "r+") as file:
            file.descriptions = (*names, *("other",) * file.count)[: file.count]
