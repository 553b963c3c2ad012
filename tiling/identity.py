"""What of a scene's sidecars its pixels and place depend on, for its checksum.

A GIS writes statistics and histograms beside a scene when it is merely looked at. Those change
nothing that is computed, so that files of text do not count by their bytes but by what they say.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

_PIXELS = frozenset({".ovr", ".msk", ".aux", ".ige", ".rrd"})
_OVERVIEWS = frozenset({".ovr"})


def holds_pixels(path: Path) -> bool:
    """Whether a sidecar holds pixels or validity: of any other kind only what it says counts."""
    ending = path.suffix.lower()
    return ending in _PIXELS or (ending[:2] == ".r" and ending[2:].isdigit())


def is_overview(path: Path) -> bool:
    """Whether a sidecar holds overviews alone, which matter where they are read."""
    return path.suffix.lower() in _OVERVIEWS


def facts(dataset: DatasetReader, acquired: str | None) -> str:
    """What an open raster says that its pixels, bands and place follow from, as a checksum.

    Args:
        dataset: open raster.
        acquired: its acquisition time, as the scene has it.
    """
    points, points_crs = dataset.gcps
    metadata = (
        tuple(dataset.transform),
        dataset.crs and dataset.crs.to_wkt(),
        [(p.row, p.col, p.x, p.y) for p in points],
        points_crs and points_crs.to_wkt(),
        dataset.rpcs is not None,
        dataset.nodatavals,
        [[flag.name for flag in flags] for flags in dataset.mask_flag_enums],
        dataset.descriptions,
        [interp.name for interp in dataset.colorinterp],
        sorted(dataset.colormap(1).items())
        if ColorInterp.palette in dataset.colorinterp[:1]
        else None,
        acquired,
    )
    return hashlib.sha256(repr(metadata).encode("utf-8", "surrogateescape")).hexdigest()
