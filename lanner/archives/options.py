"""How every scene of a batch is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lanner.archives.scenes import SceneRef
from lanner.core.job import DetectRequest

GPKG = "gpkg"
FORMATS = ("gpkg", "geojson", "fgb", "parquet")
"""Endings that outputs of a scene can have."""


@dataclass(frozen=True)
class BatchOptions:
    """What all scenes have in common.

    Attributes:
        detectors: released names or YAML files, in the order their layers are written.
        formats: endings of the files of each scene, out of `FORMATS`.
        device: as of `DetectRequest`.
        tile: as of `DetectRequest`.
        gsd: metres a pixel, in place of what scenes say.
        crs: CRS of scenes that say none.
        candidates: whether what is not worth a look is written, too.
        pinned: what workers find detectors by, where that is not their name: a batch has one
            release of each, whatever becomes the default while it runs.
    """

    detectors: tuple[str, ...]
    formats: tuple[str, ...] = (GPKG,)
    device: str = "auto"
    tile: int | None = None
    gsd: float | None = None
    crs: str | None = None
    candidates: bool = False
    pinned: Mapping[str, str] = field(default_factory=dict, hash=False)

    def found_as(self, detector: str) -> str:
        """What one of `detectors` is found by."""
        return self.pinned.get(detector, detector)

    def request(self, ref: SceneRef, detector: str, run_dir: Path | None = None) -> DetectRequest:
        """One detection."""
        return DetectRequest(
            ref.uri,
            detector,
            self.gsd,
            self.device,
            self.tile,
            None,
            run_dir,
            self.candidates,
            self.crs,
        )

    def settings(self) -> dict[str, Any]:
        """What a folder of a batch must be made with again; the device may be another one."""
        return {
            "detectors": list(self.detectors),
            "formats": list(self.formats),
            "tile": self.tile,
            "gsd": self.gsd,
            "crs": self.crs,
            "candidates": self.candidates,
        }
