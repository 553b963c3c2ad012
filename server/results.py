"""Results of jobs as files: kept once, in other formats when these are asked for."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from lanner.core.errors import Argument, ConfigError, OutputError
from lanner.core.job import DetectResult
from postprocess.writers import write

FORMATS = {
    "geojson": "application/geo+json",
    "gpkg": "application/geopackage+sqlite3",
    "fgb": "application/octet-stream",
    "parquet": "application/vnd.apache.parquet",
}
"""Formats that a result is given in, and their media types."""

_KEPT = "result"


def keep(result: DetectResult, folder: Path) -> None:
    """Write a result to a folder, which is made; what was there of an earlier attempt is replaced.

    Raises:
        OutputError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for ending in (_texts(result.frame), "parquet"):
        path = folder / f"{_KEPT}.{ending}"
        write(result.features, result.frame, path, result.layer, result.schema)
        path.with_suffix(".qml").unlink(missing_ok=True)


def file_of(folder: Path, form: str) -> Path:
    """The file of a result in a format, made when it is asked for first.

    A scene without a CRS has its features in scene pixels, as GeoJSON's shapes but for that.

    Raises:
        ConfigError: no such format.
        OutputError: it cannot be written, or is gone.
    """
    if form not in FORMATS:
        raise ConfigError(
            Argument("format"), form, "is no format here", f"give one of {', '.join(FORMATS)}"
        )
    for ending in (form, "json") if form == "geojson" else (form,):
        path = folder / f"{_KEPT}.{ending}"
        if path.is_file():
            return path
    import geopandas as gpd

    try:
        frame = gpd.read_parquet(folder / f"{_KEPT}.parquet")
    except (OSError, ValueError) as error:
        raise OutputError("result", form, "is gone", "run the detection again") from error
    # Two that ask at once make two files, each whole.
    beside = folder / f"{secrets.token_hex(4)}.{form}"
    try:
        write((), frame, beside)
        os.replace(beside, path)
    finally:
        for left in (beside, beside.with_suffix(".qml")):
            left.unlink(missing_ok=True)
    return path


def features_of(folder: Path) -> Iterator[str]:
    """The features of a result as GeoJSON texts, in order, one after the other.

    Raises:
        OutputError: it is gone.
    """
    path = file_of(folder, "geojson")
    # The writer gives each feature a line of its own.
    with path.open(encoding="utf-8") as file:
        next(file)
        for line in file:
            if line != "]}\n":
                yield line.rstrip("\n").rstrip(",")


def _texts(frame: object) -> str:
    return "json" if getattr(frame, "crs", None) is None else "geojson"
