"""Sidecars: the files that GDAL opens beside a raster by itself, under the raster's own rules.

GDAL takes overviews from `x.tif.ovr`, a mask from `x.tif.msk` and either from an Imagine `.aux`
with whatever driver knows the content, so a VRT under such a name would read any file. NITF does
the same with `.r1` and on; an Imagine file names the files that hold its pixels and overviews.
Therefore each of them must be of the one format that it is made in, lie in the raster's own
folder, and have sidecars that keep to the same.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from lanner.core.errors import SceneError
from tiling.blocks import check_blocks
from tiling.imagine import MAGIC as IMAGINE
from tiling.imagine import named_files
from tiling.limits import SceneLimits, scene_limits
from tiling.oversize import check_limits

LISTED = 1000
"""GDAL lists a folder of at most this many files; in a larger one it tries exact names."""

_TIFF: tuple[bytes, ...] = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_NITF = (b"NITF", b"NSIF")
_RSET = re.compile(r"\.r[1-9]")
_TEXTS = frozenset(
    {".xml", ".tfw", ".tifw", ".tiffw", ".pgw", ".pngw", ".jgw", ".jpgw", ".jpegw", ".j2w", ".jp2w"}
    | {".igw", ".imgw", ".wld", ".tab", ".imd", ".rpb", ".rpc", ".txt", ".pvl", ".eph", ".hdr"}
    | {".prj", ".ige", ".rrd"}
)
"""What else is read beside a raster; as text, or where an Imagine file names it."""


@dataclass(frozen=True)
class Stamp:
    """A file as it was when it was looked at: any change of its bytes changes one of these."""

    path: str
    inode: int
    size: int
    changed_ns: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path | str) -> Stamp:
        """Stamp of a file.

        Raises:
            OSError: it is not there.
        """
        s = os.stat(path)
        return cls(str(path), s.st_ino, s.st_size, s.st_ctime_ns, s.st_mtime_ns)


def check_sidecars(path: Path, uri: str) -> None:
    """Make sure that GDAL, opening a local raster, opens nothing else that is not let in.

    What was found in order is remembered until a file changes.

    Args:
        path: the raster, absolute and without links.
        uri: its name for messages.

    Raises:
        SceneError: a sidecar is of another format than it must be, damaged, a link that leads
            out of the folder or no regular file, or names a file elsewhere.
    """
    _check(path, uri, _names_beside(path), set())


def overview_files(dataset: DatasetReader) -> list[str]:
    """Files that an open raster's metadata name as its overviews, whatever case they are in."""
    items = dataset.tags(ns="OVERVIEWS").items()
    return [value for key, value in items if key.upper() == "OVERVIEW_FILE"]


def check_files(dataset: DatasetReader, path: Path, uri: str) -> None:
    """Make sure that an open local raster is made of files of its own folder.

    The last look, at what GDAL itself says: before any pixel is read.

    Raises:
        SceneError: it is made of others too.
    """
    for name in dataset.files:
        if os.path.dirname(os.path.realpath(name)) != str(path.parent):
            raise SceneError(
                "scene",
                uri,
                f"reads a file of another folder ({Path(name).name})",
                "write the pixels out: gdal_translate -of COG SCENE out.tif",
            )


def _names_beside(path: Path) -> list[str] | None:
    """Names in a raster's folder that begin as its own does; None where GDAL lists none either."""
    try:
        with os.scandir(path.parent) as entries:
            # A few more than GDAL: whether it counts `.` and `..` does not matter then.
            names = [entry.name for entry in islice(entries, LISTED + 16)]
    except OSError:
        return None
    if len(names) == LISTED + 16:
        return None
    # One comparison for all: most folders hold many other scenes.
    stem = path.stem.lower()
    return [name for name in names if name.lower().startswith(stem)]


def _check(path: Path, uri: str, names: list[str] | None, visited: set[Path]) -> None:
    """`check_sidecars` of a raster or of a sidecar; the names are those beside it.

    A sidecar's own sidecars come first: some drivers open theirs at once.
    """
    if path in visited:
        return
    visited.add(path)
    try:
        with path.open("rb") as file:
            head = file.read(len(IMAGINE))
        if head == IMAGINE:
            _check_imagine(Stamp.of(path), uri, visited)
        for name in _texts(path, names):
            _inside(path.with_name(name), uri)
        for name in _rasters(path, names, nitf=head.startswith(_NITF)):
            sidecar = path.with_name(name)
            _inside(sidecar, uri)
            _check(sidecar, uri, names, visited)
            _check_raster(Stamp.of(sidecar), uri, scene_limits())
    except OSError as error:
        raise SceneError(
            "scene",
            uri,
            f"or a file beside it cannot be read ({error.strerror})",
            "let this user read them",
        ) from error


def _rasters(path: Path, names: list[str] | None, nitf: bool) -> list[str]:
    """Names of the sidecars that GDAL would open as rasters."""
    name, stem = path.name, path.stem
    wanted = {f"{name}.ovr", f"{name}.msk", f"{name}.aux", f"{stem}.aux"}
    if nitf:
        base = stem if path.suffix.lower() == ".r0" else name
        wanted |= {f"{base}.r{n}" for n in range(1, 10)}
    return [one for one in _there(path, wanted, names) if one != name]


def _there(path: Path, wanted: set[str], names: list[str] | None) -> list[str]:
    """Those of the wanted names that are in the folder, in any case."""
    if names is None:
        endings = {end for one in wanted for end in (one, _upper(one))}
        return sorted(one for one in endings if os.path.lexists(path.with_name(one)))
    lower = {one.lower() for one in wanted}
    return sorted(one for one in names if one.lower() in lower)


def _upper(name: str) -> str:
    """A name with its ending in capitals."""
    stem, ending = os.path.splitext(name)
    return stem + ending.upper()


def _texts(path: Path, names: list[str] | None) -> list[str]:
    """Names of what else lies beside a raster under its own name and may be read with it."""
    if names is None:
        ends = {f"{base}{end}" for base in (path.name, path.stem) for end in (*_TEXTS, ".aux.xml")}
        return _there(path, ends, None)
    stem = path.stem.lower()
    return [
        one
        for one in names
        if one.lower().startswith((stem + ".", stem + "_"))
        and os.path.splitext(one)[1].lower() in _TEXTS
    ]


def _inside(path: Path, uri: str) -> None:
    """A regular file of the folder; a link may only lead to one."""
    real = Path(os.path.realpath(path))
    if real.parent != path.parent:
        raise _refused(uri, path, "is a link that leads out of its folder", "put the file itself")
    if not real.is_file():
        raise _refused(uri, path, "is no regular file", "remove it")


@lru_cache(maxsize=512)
def _check_raster(stamp: Stamp, uri: str, limits: SceneLimits | None) -> None:
    """One sidecar that GDAL opens as a raster, by its content."""
    path = Path(stamp.path)
    ending = path.suffix.lower()
    with path.open("rb") as file:
        head = file.read(16)
    if ending == ".aux":
        return  # an Imagine file is checked as such, and nothing else is opened under this name
    kind, driver, heads = "GeoTIFF", "GTiff", _TIFF
    remedy = "make it anew with gdaladdo, or remove it"
    if _RSET.fullmatch(ending):
        kind, driver, heads, remedy = "NITF", "NITF", _NITF, "remove it"
    if not head.startswith(heads):
        raise _refused(uri, path, f"is no {kind}", remedy)
    try:
        dataset = DatasetReader(str(path), driver=[driver], sharing=False)
    except RasterioError as error:
        raise _refused(uri, path, f"is no whole {kind} ({error})", remedy) from error
    with dataset:
        if overview_files(dataset):
            raise _refused(uri, path, "names another file as its overviews", remedy)
        check_blocks(dataset, uri, f"its sidecar {path.name}")
        check_limits(dataset, uri, limits, f"its sidecar {path.name}")


@lru_cache(maxsize=128)
def _imagine_names(stamp: Stamp) -> tuple[str, ...]:
    return named_files(Path(stamp.path))


def _check_imagine(stamp: Stamp, uri: str, visited: set[Path]) -> None:
    """The files that an Imagine file keeps its pixels or overviews in."""
    path = Path(stamp.path)
    for name in _imagine_names(stamp):
        # Where there is none of that name, GDAL takes the raster's own with that ending.
        for one in {name, path.stem + os.path.splitext(name)[1]}:
            # Joined as GDAL does it: what begins with a slash lies in the folder, too.
            other = Path(f"{path.parent}/{one}")
            if os.path.lexists(other) and not other.is_dir():
                if os.path.dirname(os.path.realpath(other)) != str(path.parent):
                    raise _refused(uri, path, f"names a file elsewhere ({one})", "write it anew")
                _inside(other, uri)
                _check(other, uri, _names_beside(other), visited)


def _refused(uri: str, path: Path, problem: str, remedy: str) -> SceneError:
    return SceneError("scene", uri, f"its sidecar {path.name} {problem}", remedy)
