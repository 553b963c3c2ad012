"""A detector in Python: loaded once, asked for many scenes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from detectors.catalog import Entry, choose
from lanner.core.config import DetectorConfig
from lanner.core.job import Cancel, DetectRequest, DetectResult, Progress
from lanner.inference import registry
from lanner.inference.detections import Detections

if TYPE_CHECKING:
    from affine import Affine


def load_detector(
    name: str, *, device: str = "auto", members: str | Sequence[str] | None = None
) -> Detector:
    """Load a detector with its networks, to be asked for many scenes.

    Args:
        name: a released detector (`lanner detectors` lists them), which means its default release
            now, `NAME@RELEASE`, or the path of a YAML file.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        members: only these networks of the ensemble; None for all.

    Raises:
        UnknownDetectorError: no such name or release.
        ConfigError: a YAML file that is missing or malformed, or an unknown member.
        WeightsError: weights missing, damaged, or of another architecture.
        DeviceError: no such device.
    """
    chosen = _names(members)
    entry = registry.find(name)
    choose(entry.config, chosen)
    detector = Detector(name, device, chosen, entry)
    _ = detector.loaded
    return detector


def detect(
    scene: Any,
    detector: str,
    *,
    device: str = "auto",
    members: str | Sequence[str] | None = None,
    **options: Any,
) -> Detections:
    """Find objects in one scene, on this machine and without a server.

    Args:
        scene: a path or address, an open rasterio dataset, a DataArray of xarray or rioxarray, or
            an array (bands, height, width) with `gsd=`, or with `transform=` and `crs=`.
        detector: a released detector, `NAME@RELEASE` or the path of a YAML file.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        members: only these networks of the ensemble; None for all.
        options: as `Detector.detect` takes them: `gsd`, `transform`, `crs`, `bands`, `nodata`,
            `tile`, `run`, `candidates`, `on_progress`, `cancel`.

    Raises:
        LannerError: as `load_detector` and `Detector.detect`.
    """
    chosen = Detector(detector, device, _names(members), registry.find(detector))
    return chosen.detect(scene, **options)


@dataclass(frozen=True)
class Detector:
    """One detector on one device; `load_detector` makes it. Threads may share it."""

    name: str
    device: str
    members: tuple[str, ...] | None
    entry: Entry = field(repr=False)

    @property
    def config(self) -> DetectorConfig:
        """What it finds, at which ground sampling, by which networks and steps."""
        return self.entry.config

    @cached_property
    def loaded(self) -> registry.LoadedDetector:
        """Its networks, read on first use and kept."""
        request = DetectRequest("", self.name, device=self.device, members=self.members)
        return registry.load(self.entry, request)

    def detect(  # noqa: PLR0913
        self,
        scene: Any,
        *,
        gsd: float | Literal["auto"] | None = None,
        transform: Affine | Sequence[float] | None = None,
        crs: Any = None,
        bands: Sequence[str] | None = None,
        nodata: float | None = None,
        tile: int | None = None,
        run: str | Path | None = None,
        candidates: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        cancel: Cancel | None = None,
    ) -> Detections:
        """Find objects in one scene.

        Args:
            scene: a path or address, an open rasterio dataset, a DataArray of xarray or
                rioxarray, or an array (bands, height, width).
            gsd: metres a pixel, where the scene has no CRS or a wrong one; "auto" estimates it
                from the sizes of what is found.
            transform: of an array: rasterio's affine of its pixel corners.
            crs: of an array, or of a file that says none: its CRS, such as "EPSG:32633".
            bands: of an array: names of its bands; three are red, green, blue.
            nodata: of an array: the value that means no data.
            tile: side of a tile in detector pixels; smaller needs less memory.
            run: folder to keep tiles and snapshots in; the same call resumes from it.
            candidates: whether what is not worth a look comes too, as `Detections.candidates`.
            on_progress: called with each `Progress(stage, done, total)`.
            cancel: set it from another thread to stop: `lanner.Cancel()`.

        Raises:
            SceneError, PlaceError, BandError, GsdError: the scene cannot be used.
            Cancelled: `cancel` was set.
            LannerError: any other; the message says what to do.
        """
        from lanner.inference.pipeline import detect_with, detector_for_scene
        from tiling.arrays import scene_file

        held = tempfile.TemporaryDirectory(prefix="lanner-")
        named = isinstance(scene, str | os.PathLike)
        uri = scene_file(
            scene,
            Path(held.name),
            transform=transform,
            crs=None if named else crs,
            bands=bands,
            nodata=nodata,
        )
        spoken = None if crs is None or not named else str(crs)
        request = DetectRequest(
            uri,
            self.name,
            None if gsd == "auto" else gsd,
            self.device,
            tile,
            self.members,
            None if run is None else Path(run),
            candidates,
            spoken,
            gsd == "auto",
        )
        entry = detector_for_scene(self.entry, request)
        result = detect_with(
            entry.config,
            lambda: self.loaded if entry is self.entry else registry.load(entry, request),
            request,
            cancel or Cancel(),
            on_progress or _ignore,
        )
        if request.estimate_gsd:
            request = replace(request, gsd=result.summary["gsd_estimate"]["gsd"])
        left_out = None
        if result.candidates is not None:
            left_out = _detections(result.candidates, request, None, held)
        return _detections(result, request, left_out, held)


def _detections(
    result: DetectResult, request: DetectRequest, left_out: Detections | None, held: object
) -> Detections:
    return Detections(
        result.features,
        result.summary,
        request.scene,
        request.gsd,
        request.crs,
        left_out,
        result.frame,
        result.schema,
        result.layer,
        held,
    )


def _names(members: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """A single name is one member, not as many as it has letters."""
    if members is None:
        return None
    return (members,) if isinstance(members, str) else tuple(members)


def _ignore(progress: Progress) -> None:
    """For callers who do not follow the progress."""
