"""Labels and places when an image is scaled or a window is cut out of it. Pure functions."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import shapely

from lanner.factory.samples import Box, Label, Ring, Sample

Window = tuple[int, int, int, int]
_METRES_A_DEGREE = 111_195.0


def scaled(label: Label, sx: float, sy: float) -> Label:
    """A label of an image whose width and height were multiplied by `sx` and `sy`."""
    x0, y0, x1, y1 = label.box
    return dataclasses.replace(
        label,
        box=(x0 * sx, y0 * sy, x1 * sx, y1 * sy),
        polygon=_scaled(label.polygon, sx, sy),
        line=_scaled(label.line, sx, sy),
    )


def moved(label: Label, dx: float, dy: float) -> Label:
    """A label of an image that now lies `dx`, `dy` pixels right and down in a larger one."""
    x0, y0, x1, y1 = label.box
    return dataclasses.replace(
        label,
        box=(x0 + dx, y0 + dy, x1 + dx, y1 + dy),
        polygon=None if label.polygon is None else _moved(label.polygon, -dx, -dy),
        line=None if label.line is None else _moved(label.line, -dx, -dy),
    )


def windows(width: int, height: int, side: int, overlap: int) -> Iterator[Window]:
    """Windows x0 y0 x1 y1 that cover an image, evenly spread, none beyond it.

    Neighbours overlap by at least `overlap` pixels; an image smaller than `side` is one window.
    """
    for y0, y1 in _spans(height, side, overlap):
        for x0, x1 in _spans(width, side, overlap):
            yield (x0, y0, x1, y1)


def cut(label: Label, window: Window, least: float) -> Label | None:
    """A label as seen through a window, in the window's pixels; None where nothing is in it.

    What is left of a box weighs nothing when less than `least` of its area can be seen: it is
    there, but not to be learned from. Lines are cut to the window and keep their longest part.
    """
    x0, y0, x1, y1 = window
    frame = shapely.box(x0, y0, x1, y1)
    if label.line is not None:
        parts = [
            one
            for one in shapely.get_parts(shapely.LineString(label.line).intersection(frame))
            if one.geom_type == "LineString" and one.length > 1e-6
        ]
        if not parts:
            return None
        line = _moved(tuple(max(parts, key=lambda one: one.length).coords), x0, y0)
        return dataclasses.replace(label, box=_bounds(line), line=line, polygon=None)
    bx0, by0, bx1, by1 = label.box
    seen: Box = (max(bx0, x0), max(by0, y0), min(bx1, x1), min(by1, y1))
    if seen[2] <= seen[0] or seen[3] <= seen[1]:
        return None
    whole = (bx1 - bx0) * (by1 - by0)
    share = (seen[2] - seen[0]) * (seen[3] - seen[1]) / whole
    polygon = None if label.polygon is None else _outline(label.polygon, window)
    return dataclasses.replace(
        label,
        box=(seen[0] - x0, seen[1] - y0, seen[2] - x0, seen[3] - y0),
        polygon=polygon,
        weight=label.weight if share >= least - 1e-9 else 0.0,
        flags=label.flags if share > 1 - 1e-9 else (*label.flags, "cut"),
    )


def place_of(sample: Sample, window: Window) -> tuple[float, float] | None:
    """Longitude and latitude of a window's centre; None where the sample has no place.

    Exact for rasters that hold their georeference, else as of a north-up image.
    """
    if sample.place is None:
        return None
    x, y = (window[0] + window[2]) / 2, (window[1] + window[3]) / 2
    from lanner.factory.images import RASTERS

    if sample.image.suffix.lower() in RASTERS:
        from tiling.scene import open_scene

        scene = open_scene(sample.image, gsd=1.0)
        if scene.place.crs is not None:
            lon, lat = scene.place.to_lonlat([[x, y]])[0]
            return float(lon), float(lat)
    east = (x - sample.width / 2) * (sample.gsd or 0.0)
    north = (sample.height / 2 - y) * (sample.gsd or 0.0)
    lon, lat = sample.place
    around = max(math.cos(math.radians(lat)), 1e-6) * _METRES_A_DEGREE
    return lon + east / around, lat + north / _METRES_A_DEGREE


def _spans(size: int, side: int, overlap: int) -> list[tuple[int, int]]:
    if size <= side:
        return [(0, size)]
    count = math.ceil((size - overlap) / (side - overlap))
    starts = [round(k * (size - side) / (count - 1)) for k in range(count)]
    return [(start, start + side) for start in starts]


def _outline(ring: Ring, window: Window) -> Ring | None:
    """The largest part of an outline inside a window, in the window's pixels."""
    shape = shapely.make_valid(shapely.Polygon(ring))
    inside = shape.intersection(shapely.box(*window))
    parts = [one for one in shapely.get_parts(inside) if one.geom_type == "Polygon"]
    if not parts:
        return None
    best = max(parts, key=lambda one: one.area)
    return _moved(tuple(best.exterior.coords)[:-1], window[0], window[1])


def _moved(points: tuple[tuple[float, ...], ...], x0: float, y0: float) -> Ring:
    return tuple((float(point[0]) - x0, float(point[1]) - y0) for point in points)


def _scaled(points: Ring | None, sx: float, sy: float) -> Ring | None:
    return None if points is None else tuple((x * sx, y * sy) for x, y in points)


def _bounds(points: Ring) -> Box:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return (min(xs), min(ys), max(xs), max(ys))
