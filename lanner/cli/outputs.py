"""What the command line checks about its outputs before any work is done."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from lanner.core.errors import OutputError
from lanner.core.files import followed, is_stream
from lanner.core.folders import check_folder, check_name, check_sqlite
from lanner.core.job import DetectRequest, candidates_layer

FORMATS = {
    ".geojson": "GeoJSON (RFC 7946, longitude and latitude)",
    ".json": "the same as text; scene pixels where the scene has no CRS",
    ".gpkg": "GeoPackage in the scene's CRS",
    ".fgb": "FlatGeobuf in the scene's CRS",
    ".parquet": "GeoParquet in the scene's CRS",
}
"""File name endings that can be written, and what each becomes."""

STREAMED = (".geojson", ".json")
"""Those that can be written to a pipe."""

_OF_A_RUN = re.compile(r"manifest\.json|(rejected|result)\.parquet|\d\d_.*\.parquet").fullmatch
"""Names that a run gives to files of its folder which end as outputs do."""


def check_outputs(
    paths: Sequence[Path], scene: str, run: Path | None = None, argument: str = "--out"
) -> None:
    """Refuse outputs that could not be written, or that would overwrite the scene.

    Args:
        paths: the files asked for, in the order given.
        scene: path or URL of the scene.
        run: the folder of the run, if one is asked for.
        argument: what named the files.

    Raises:
        OutputError: unknown ending, a name that is no Unicode or too long, missing or read-only
            folder, a folder in the file's place, a pipe for another format than GeoJSON, the same
            file twice, the scene itself, or a file of the run.
    """
    visited: list[Path] = []
    for path in paths:
        _check_ending(path, argument)
        check_name(argument, path)
        real = followed(path)
        _check_kind(path, real, argument)
        if path.exists() and not os.access(path, os.W_OK):
            raise OutputError(argument, path, "exists and is read-only", "choose another name")
        if _is_same(path, Path(scene)):
            raise OutputError(argument, path, "is the scene itself", "choose another name")
        if any(_is_same(path, other) for other in visited):
            raise OutputError(argument, path, "is given twice", "name each file once")
        if run is not None and real.parent.resolve() == run.resolve() and _OF_A_RUN(real.name):
            raise OutputError(argument, path, "is a file of the run itself", "choose another name")
        if path.suffix.lower() == ".gpkg":
            check_sqlite(argument, path)
        visited.append(path)


def check_candidates(path: Path, out: Sequence[Path], scene: str, run: Path | None = None) -> None:
    """Refuse a file for candidates that could not be written, or that is one of `out` and could
    hold one layer alone.

    Raises:
        OutputError: as said, see `check_outputs`.
    """
    check_outputs([path], scene, run, "--candidates")
    if path.suffix.lower() != ".gpkg" and any(_is_same(path, other) for other in out):
        raise OutputError(
            "--candidates", path, "is given for --out too", "name another file, or a .gpkg for both"
        )


def _check_kind(path: Path, real: Path, argument: str) -> None:
    """Refuse what is no file, nor can become one.

    Raises:
        OutputError: as said.
    """
    if is_stream(path):
        if path.suffix.lower() not in STREAMED:
            raise OutputError(
                argument, path, "is a pipe or a device, which takes GeoJSON alone", "name a file"
            )
        return
    if real.is_symlink():
        raise OutputError(argument, path, "is a link that leads to itself", "choose another name")
    check_folder(argument, path.parent)  # takes the style
    check_folder(argument, real.parent)
    if path.is_dir():
        raise OutputError(argument, path, "is a folder", "name a file in it")
    if path.exists() and not path.is_file():
        raise OutputError(argument, path, "is no file that can be written", "choose another name")


def _is_same(path: Path, other: Path) -> bool:
    """Whether two paths are one file, by links of either kind."""
    if path.resolve() == other.resolve():
        return True
    try:
        return path.samefile(other)
    except OSError:  # one of them is not there, or no path at all
        return False


def check_layers(paths: Sequence[Path], candidates: Path | None, request: DetectRequest) -> None:
    """Refuse GeoPackages that could not be written: those that hold what our layer must not
    replace, that another program locks, or in a folder where SQLite cannot lock files.

    Raises:
        OutputError: as said.
        LannerError: the detector or the scene cannot be opened.
    """
    asked = [(path, False) for path in paths] + ([(candidates, True)] if candidates else [])
    packages = [(path, left_out) for path, left_out in asked if path.suffix.lower() == ".gpkg"]
    if not packages:
        return
    from lanner.inference.pipeline import detector_for_scene
    from lanner.inference.registry import find
    from postprocess.geopackage import check_geopackage

    detector = ""
    if any(path.exists() for path, _ in packages):
        detector = detector_for_scene(find(request.detector), request).config.name
    for path, left_out in packages:
        check_geopackage(followed(path), candidates_layer(detector) if left_out else detector)


def check_place(
    paths: Sequence[Path],
    scene: str,
    gsd: float | None,
    crs: str | None,
    argument: str = "--out",
) -> None:
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

    if open_scene(scene, gsd=gsd, crs=crs).place.crs is None:
        raise OutputError(
            argument,
            geojson[0],
            "the scene has no CRS, so no longitude and latitude",
            "end it in .json, .gpkg or .parquet for scene pixels",
        )


def _check_ending(path: Path, argument: str) -> None:
    ending = path.suffix.lower()
    if ending in FORMATS:
        return
    problem = f"{ending!r} is no format that can be written" if ending else "has no ending"
    known = ", ".join(FORMATS)
    near = difflib.get_close_matches(ending, FORMATS, n=1, cutoff=0.5)
    remedy = f"did you mean {near[0]}? (one of {known})" if near else f"end it in one of {known}"
    raise OutputError(argument, path, problem, remedy)
