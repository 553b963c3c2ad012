"""CSV tables of labels on the map: geometries as WKT, boxes, or points, by the names of columns."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanner.core.errors import DatasetError
from lanner.factory.readers.parts import number, text_of

if TYPE_CHECKING:
    import geopandas

ACCEPTED = (
    "wkt (or geometry), or xmin ymin xmax ymax (or west south east north), or lon lat, or x y"
)
"""Columns that say where a label is, for messages."""

_WKT = ("wkt", "geometry", "geom", "thegeom", "wktgeom", "geomwkt", "polygonwktgeo")
_BOXES = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("minx", "miny", "maxx", "maxy"),
    ("west", "south", "east", "north"),
    ("left", "bottom", "right", "top"),
    ("lonmin", "latmin", "lonmax", "latmax"),
    ("minlon", "minlat", "maxlon", "maxlat"),
)
_POINTS = (
    ("lon", "lat"),
    ("longitude", "latitude"),
    ("lng", "lat"),
    ("long", "lat"),
    ("x", "y"),
    ("easting", "northing"),
)
_IMAGES = ("imagepath", "image", "imageid", "filename", "file", "img")
_EWKT = re.compile(r"\s*SRID\s*=\s*(\d+)\s*;", re.IGNORECASE)
_LONLAT = "EPSG:4326"


@dataclass(frozen=True)
class Table:
    """Rows as features, in order; `problems` are those that cannot be read, by number from 1."""

    frame: geopandas.GeoDataFrame
    problems: Mapping[int, str]


def read_table(path: Path, largest: float) -> Table:
    """Read a CSV file: commas, semicolons, tabs or bars between columns, names in its first line.

    Coordinates are longitude and latitude where the columns are called so; else the file states no
    CRS, unless its WKT does (`SRID=32633;POINT (...)`).

    Args:
        path: the file.
        largest: longest side of the images in pixels: boxes of named images within it are pixels.

    Raises:
        DatasetError: it is empty, no column says where labels are, its rows are of several CRS, or
            its boxes are in pixels.
    """
    import geopandas

    rows = _rows(path)
    names = list(rows[0]) if rows else _head(path)
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in names}
    make, degrees, used = _maker(path, plain)
    shapes: list[Any] = []
    codes: set[str] = {_LONLAT} if degrees else set()
    problems = {}
    for k, row in enumerate(rows, 1):
        shape = None
        try:
            code, shape = make(row)
            codes |= {code} if code else set()
        except ValueError as error:
            problems[k] = f"row {k} is malformed ({error})"
        shapes.append(shape)
    if len(codes) > 1:
        raise DatasetError(
            "labels", path, f"has rows of {', '.join(sorted(codes))}", "write them in one CRS"
        )
    columns = {name: [_value(row[name]) for row in rows] for name in names if name not in used}
    frame = geopandas.GeoDataFrame(columns, geometry=shapes, crs=next(iter(codes), None))
    if len(used) == 4 and not codes and any(one in plain for one in _IMAGES) and len(frame):
        low, high = min(frame.total_bounds), max(frame.total_bounds)
        if low >= 0 and high <= largest:
            raise DatasetError(
                "labels",
                path,
                "has boxes in pixels of named images, and labels of this format are on the map",
                "write them as COCO, VOC or YOLO and read them as that format",
            )
    return Table(frame, problems)


_Row = Mapping[str, str]
_Make = Callable[[_Row], tuple[str | None, Any]]


def _maker(path: Path, plain: Mapping[str, str]) -> tuple[_Make, bool, Sequence[str]]:
    """What makes a geometry of a row, whether it is in degrees, and the columns that it takes."""
    for name in _WKT:
        if name in plain:
            return partial(_from_wkt, plain[name]), False, [plain[name]]
    for group in (*_BOXES, *_POINTS):
        if all(one in plain for one in group):
            used = [plain[one] for one in group]
            return partial(_from_numbers, used), any("lat" in one for one in group), used
    raise DatasetError(
        "labels",
        path,
        f"has no column that says where labels are, only {', '.join(plain.values()) or 'none'}",
        f"name columns {ACCEPTED}",
    )


def _from_wkt(name: str, row: _Row) -> tuple[str | None, Any]:
    """What a geometry says of its CRS, and the geometry; None where there is none."""
    import shapely

    text = row[name]
    found = _EWKT.match(text)
    code = f"EPSG:{found[1]}" if found else None
    if not text.strip():
        return None, None
    try:
        return code, shapely.from_wkt(text[found.end() :] if found else text)
    except shapely.errors.GEOSException as error:
        raise ValueError(str(error).splitlines()[0]) from error


def _from_numbers(names: Sequence[str], row: _Row) -> tuple[None, Any]:
    import shapely

    values = _numbers(row, names)
    return None, shapely.box(*values) if len(values) == 4 else shapely.Point(*values)


def _numbers(row: _Row, names: Sequence[str]) -> list[float]:
    out = []
    for name in names:
        text = row[name].strip()
        # Where columns are parted by semicolons numbers may have a comma.
        out.append(number(text.replace(",", ".") if text.count(",") == 1 else text))
    if len(out) == 4 and (out[0] > out[2] or out[1] > out[3]):
        raise ValueError(f"{names[0]} or {names[1]} is above {names[2]} or {names[3]}")
    return out


def _value(text: str) -> Any:
    """Empty cells are nothing; numbers stay texts, as classes are called."""
    return text.strip() or None


def _head(path: Path) -> list[str]:
    lines = [line for line in text_of(path).splitlines() if line.strip()]
    if not lines:
        raise DatasetError("labels", path, "is empty", f"give a table with columns {ACCEPTED}")
    return next(csv.reader([lines[0]], delimiter=_delimiter(lines[0])))


def _rows(path: Path) -> list[dict[str, str]]:
    text = text_of(path)
    names = _head(path)
    try:
        table = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text.lstrip()))
        whole = [row for row in table if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DatasetError("labels", path, f"is no CSV ({error})", "export it again") from error
    # Cells that a row lacks are empty.
    return [dict(zip(names, row + [""] * len(names), strict=False)) for row in whole[1:]]


def _delimiter(text: str) -> str:
    """What parts columns, from the first line: geometries in later ones are full of commas."""
    line = text.splitlines()[0]
    return max(",;\t|", key=line.count)


__all__ = ["ACCEPTED", "Table", "read_table"]
