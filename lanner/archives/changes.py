"""Changes between two results as a layer of a GIS: what changed, and the values of both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
from affine import Affine

from postprocess.rfc7946 import mapping, rounded, to_lonlat
from postprocess.shapes import Shapes
from postprocess.writers import write
from tiling.place import Place

if TYPE_CHECKING:
    import geopandas as gpd

    from lanner.archives.differences import Change

LAYER = "changes"
"""Name of the layer in a file of several."""

LONLAT = "EPSG:4326"

_VALUES = ("id", "label", "type", "decision", "confidence")
"""What is told of an object in each of both results."""


def write_changes(changes: Sequence[Change], path: Path) -> Path:
    """Write changes by the ending of a file; a GeoPackage keeps its other layers.

    They are in the CRS that all have, else in longitude and latitude. Those in pixels are left out
    where others have a place.

    Raises:
        OutputError: it cannot be written, or is GeoJSON of scenes without a CRS.
    """
    frame = frame_of(changes)
    write(_texts(frame), frame, path, LAYER)
    return path


def frame_of(changes: Sequence[Change]) -> gpd.GeoDataFrame:
    """A row a change. `id`, `label`, `decision` and `confidence` are those that hold now: of the
    second result, or of the first where that has it alone; then both, `id_first`, `id_second`, ...
    """
    import geopandas as gpd
    import pandas as pd

    placed = [one for one in changes if one.crs is not None]
    some = placed or list(changes)
    every = {pyproj.CRS(one.crs) for one in placed}
    crs = every.pop() if len(every) == 1 else pyproj.CRS(LONLAT) if placed or not some else None
    shapes = [
        one.geometry
        if crs is None or pyproj.CRS(one.crs) == crs
        else gpd.GeoSeries([one.geometry], crs=one.crs).to_crs(crs).iloc[0]
        for one in some
    ]
    rows = [_row(one) for one in some]
    columns: dict[str, Any] = {
        name: pd.Series([row[name] for row in rows], dtype=kind) for name, kind in _COLUMNS.items()
    }
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(shapes, crs=crs))


_COLUMNS: dict[str, Any] = {
    "id": object,
    "detector": object,
    "label": object,
    "confidence": np.float64,
    "decision": object,
    "change": object,
    "scene": object,
    **{
        f"{name}_{side}": np.float64 if name == "confidence" else object
        for name in _VALUES
        for side in ("first", "second")
    },
    "confidence_change": np.float64,
    "overlap": np.float64,
    "moved_m": np.float64,
    # A GeoPackage's layer is replaced only where it has the columns of one that Lanner wrote.
    "weights_sha256": object,
}
"""Columns of the layer, and their types."""


def _row(change: Change) -> dict[str, Any]:
    now = change.second or change.first
    both = {"first": change.first, "second": change.second}
    sure = [None if one is None else one.confidence for one in both.values()]
    return {
        "id": now and now.id,
        "detector": change.detector,
        "label": now and now.label,
        "confidence": now and now.confidence,
        "decision": now and now.decision,
        "change": ", ".join(change.kinds),
        "scene": change.scene,
        **{
            f"{name}_{side}": one and getattr(one, name)
            for name in _VALUES
            for side, one in both.items()
        },
        "confidence_change": None if None in sure else sure[1] - sure[0],  # type: ignore[operator]
        "overlap": change.overlap,
        "moved_m": change.moved_m,
        "weights_sha256": None,
    }


def _texts(frame: gpd.GeoDataFrame) -> list[str]:
    """Features as RFC 7946 has them, or in scene pixels."""
    shapes: Shapes = np.asarray(frame.geometry.to_numpy(), object)
    if frame.crs is None:
        shapes = rounded(shapes, 2)
    elif len(shapes):
        shapes = to_lonlat(shapes, Place(Affine.identity(), frame.crs, (1.0, 1.0)))
    rows = frame.drop(columns=["geometry", "weights_sha256"]).to_dict("records")
    return [
        json.dumps(
            {
                "type": "Feature",
                "id": row["id"],
                "geometry": mapping(shape),
                "properties": {name: _plain(value) for name, value in row.items()},
            },
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
        )
        for shape, row in zip(shapes, rows, strict=True)
    ]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
