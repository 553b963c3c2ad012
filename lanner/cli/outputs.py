"""What the command line checks about its outputs before any work is done."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from lanner.core.errors import OutputError
from lanner.core.folders import check_folder, check_name

FORMATS = {
    ".geojson": "GeoJSON (RFC 7946, longitude and latitude)",
    ".json": "the same as text; scene pixels where the scene has no CRS",
    ".gpkg": "GeoPackage in the scene's CRS",
    ".fgb": "FlatGeobuf in the scene's CRS",
    ".parquet": "GeoParquet in the scene's CRS",
}
"""File name endings that can be written, and what each becomes."""


def check_outputs(paths: Sequence[Path], scene: str) -> None:
    """Refuse outputs that could not be written, or that would overwrite the scene.

    Args:
        paths: the files asked for, in the order given.
        scene: path or URL of the scene.

    Raises:
        OutputError: unknown ending, a name that is no Unicode, missing or read-only folder, a
            folder in the file's place, the same file twice, or the scene itself.
    """
    seen: set[Path] = set()
    for path in paths:
        _check_ending(path)
        check_name("--out", path)
        check_folder("--out", path.parent)
        if path.is_dir():
            raise OutputError("--out", path, "is a folder", "name a file in it")
        if path.exists() and not os.access(path, os.W_OK):
            raise OutputError("--out", path, "exists and is read-only", "choose another name")
        real = path.resolve()
        if real == Path(scene).resolve():
            raise OutputError("--out", path, "is the scene itself", "choose another name")
        if real in seen:
            raise OutputError("--out", path, "is given twice", "name each file once")
        seen.add(real)


def check_place(paths: Sequence[Path], scene: str, gsd: float | None) -> None:
    """Refuse GeoJSON of a scene without a CRS: it would have no longitude and latitude.

    Raises:
        OutputError: as said.
        LannerError: the scene cannot be opened.
    """
    geojson = [path for path in paths if path.suffix.lower() == ".geojson"]
    # Without --gsd a scene that has no CRS is refused anyway.
    if not geojson or gsd is None:
        return
    from tiling.scene import open_scene

    if open_scene(scene, gsd=gsd).place.crs is None:
        raise OutputError(
            "--out",
            geojson[0],
            "the scene has no CRS, so no longitude and latitude",
            "end it in .json, .gpkg or .parquet for scene pixels",
        )


def _check_ending(path: Path) -> None:
    ending = path.suffix.lower()
    if ending in FORMATS:
        return
    problem = f"{ending!r} is no format that can be written" if ending else "has no ending"
    known = ", ".join(FORMATS)
    near = difflib.get_close_matches(ending, FORMATS, n=1, cutoff=0.5)
    remedy = f"did you mean {near[0]}? (one of {known})" if near else f"end it in one of {known}"
    raise OutputError("--out", path, problem, remedy)
