"""Everything that a first detection would wait for, done before it comes."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from lanner.job import Cancel, DetectRequest

MOST_PX = 4096
"""Side of the rendered scene at most; detectors with larger tiles see a part of one."""


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
    from lanner.pipeline import detect
    from lanner.released import find
    from lanner.render.scene import render
    from lanner.render.spec import RenderSpec

    since = time.monotonic()
    config = find(detector).config
    side = min(config.tile, MOST_PX)
    with tempfile.TemporaryDirectory(prefix="lanner-") as folder:
        scene = Path(folder) / "scene.tif"
        render(scene, RenderSpec(side, side, config.gsd, bands=4))
        request = DetectRequest(str(scene), detector, device=device, members=members)
        detect(request, Cancel(), lambda _: None)
    return time.monotonic() - since
