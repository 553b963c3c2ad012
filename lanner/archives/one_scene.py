"""What detection in one scene would take and give, before any of it is run."""

from __future__ import annotations

from detectors.catalog import choose
from lanner.archives.options import GPKG
from lanner.archives.rates import UNKNOWN, known_rates, name_of
from lanner.core.job import DetectionPlan, DetectRequest
from lanner.core.machine import workers
from lanner.inference.pipeline import detector_for_scene
from lanner.inference.registry import find
from lanner.inference.run import admitted, tile_plan

PIXEL_BYTES = 800
"""Memory that networks take for a pixel of a tile: on a CPU 610 (bfloat16) to 730 (float32) were
measured, with the aircraft's tiles of 768 pixels.
"""


def plan_detection(request: DetectRequest) -> DetectionPlan:
    """The plan of one detection: opens the scene, loads no network.

    Raises:
        LannerError: it cannot be run.
    """
    from tiling.stored import stored_bytes

    entry = find(request.detector)
    choose(entry.config, request.members)
    config = detector_for_scene(entry, request).config
    scene = admitted(request, config)
    plan = tile_plan(scene, config, request.tile)
    megapixels = plan.grid.width * plan.grid.height / 1e6
    rates = known_rates()
    # Batches name the device as they were asked, which is mostly `auto`.
    names = (name_of(config.name, config.release, device) for device in (request.device, "auto"))
    rate = next((rates[name] for name in names if name in rates), None)
    at_once = min(workers(), len(plan))
    notes = () if rate else ("The time is not known: `lanner batch` measures it on this machine.",)
    size = (rate or UNKNOWN).file(GPKG)
    return DetectionPlan(
        tiles=len(plan),
        megapixels=round(megapixels, 3),
        read_bytes=stored_bytes(scene.uri) or 0,
        seconds=None if rate is None else rate.scene_s + rate.megapixel_s * megapixels,
        memory_bytes=at_once * plan.tile**2 * PIXEL_BYTES,
        result_bytes=None
        if rate is None
        else round(size.file + size.feature * rate.features * megapixels),
        notes=notes,
    )
