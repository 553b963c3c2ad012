"""Lanner finds objects in satellite imagery and hands over classified, measured features.

    import lanner

    found = lanner.detect("airport.tif", "aircraft")
    found.gdf, found.to_file("aircraft.gpkg"), found.overlay("aircraft.png")

`lanner.load_detector(name).detect(scene)` keeps the networks for many scenes, and
`lanner.Client(address).detect(...)` asks a server, and `lanner.AsyncClient` where calls are
awaited; all give `lanner.Detections`.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from lanner import _rooms
from lanner.core.version import __version__

if TYPE_CHECKING:
    from lanner.archives.api import batch, plan
    from lanner.archives.differences import diff
    from lanner.archives.replay import replay
    from lanner.archives.scenes import SceneFilter
    from lanner.client import AsyncClient, Client
    from lanner.core import errors
    from lanner.core.errors import LannerError
    from lanner.core.job import Cancel, Progress
    from lanner.inference.detections import Detections
    from lanner.inference.detector import Detector, detect, load_detector

_rooms.find_beside_this_package()

# Read when torch is first imported. Threads of a network that spin while they wait take the cores
# from everything else: two detections at once hardly moved. Waiting quietly costs nothing that can
# be measured, and two take twice as long as one (docs/performance.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_FROM = {
    "AsyncClient": "lanner.client",
    "Cancel": "lanner.core.job",
    "Client": "lanner.client",
    "Detections": "lanner.inference.detections",
    "Detector": "lanner.inference.detector",
    "LannerError": "lanner.core.errors",
    "Progress": "lanner.core.job",
    "SceneFilter": "lanner.archives.scenes",
    "batch": "lanner.archives.api",
    "detect": "lanner.inference.detector",
    "diff": "lanner.archives.differences",
    "load_detector": "lanner.inference.detector",
    "plan": "lanner.archives.api",
    "replay": "lanner.archives.replay",
}
# Loaded when first asked for: importing Lanner must load neither gRPC nor torch.

__all__ = [
    "AsyncClient",
    "Cancel",
    "Client",
    "Detections",
    "Detector",
    "LannerError",
    "Progress",
    "SceneFilter",
    "__version__",
    "batch",
    "detect",
    "diff",
    "errors",
    "load_detector",
    "plan",
    "replay",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for."""
    if name == "errors":
        return importlib.import_module("lanner.core.errors")
    if name in _FROM:
        return getattr(importlib.import_module(_FROM[name]), name)
    raise AttributeError(f"module 'lanner' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
