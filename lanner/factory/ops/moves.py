"""Labels and places when an image is scaled or a window is cut out of it. Pure functions."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import shapely

from lanner.factory.readers.geometry import shapes
from lanner.factory.samples import Box, Label, Ring, Sample

Window = tuple[int, int, int, int]
_METRES_A_DEGREE = 111_195.0
NO_POINT = (0.0, 0.0)
"""Half the sides of boxes around points: labels are boxes, outlines or lines."""


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


def cut(label: Label, window: Window, least: float) -> tuple[Label, ...]:
    """A label as seen through a window, in the window's pixels; empty where nothing is in it.

    A box gives one label, which weighs nothing when less than `least` of its area can be seen: it
    is there, but not to be learned from. Where there is an outline, the box is that of what is
    seen of it: of a slanting object the corners of the whole box may hold nothing. A line gives a
    label for each piece of it, since a road may leave the window and come back.
    """
    x0, y0, x1, y1 = window
    size = (x1 - x0, y1 - y0)
    if label.line is not None:
        line = shapely.LineString(_moved(label.line, x0, y0))
        return tuple(
            dataclasses.replace(
                label, box=one.box, line=one.line, polygon=None, flags=_with(label, *one.flags)
            )
            for one in shapes(0, line, size, NO_POINT)
        )
    bx0, by0, bx1, by1 = label.box
    visible: Box = (max(bx0, x0), max(by0, y0), min(bx1, x1), min(by1, y1))
    if visible[2] <= visible[0] or visible[3] <= visible[1]:
        return ()
    share = (visible[2] - visible[0]) * (visible[3] - visible[1]) / ((bx1 - bx0) * (by1 - by0))
    there = dataclasses.replace(
        label,
        box=(visible[0] - x0, visible[1] - y0, visible[2] - x0, visible[3] - y0),
        weight=label.weight if share >= least - 1e-9 else 0.0,
        flags=label.flags if share > 1 - 1e-9 else _with(label, "cut"),
    )
    return (there,) if label.polygon is None else _outlined(there, label, window)


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


def _outlined(there: Label, label: Label, window: Window) -> tuple[Label, ...]:
    """A cut label with what is seen of its outline, and the box of that; empty without any."""
    whole = shapely.Polygon(_moved(label.polygon or (), window[0], window[1]))
    size = (window[2] - window[0], window[3] - window[1])
    found = next(shapes(0, whole, size, NO_POINT), None)
    if found is None:
        # A ring without an area is no outline, and says nothing of where its object is.
        sound = shapely.make_valid(whole).area > 0
        return () if sound else (dataclasses.replace(there, polygon=None),)
    slack = np.subtract(label.box, np.add(whole.bounds, (*window[:2], *window[:2])))
    x0, y0, x1, y1 = (np.array(found.box) + slack).clip(there.box[:2] * 2, there.box[2:] * 2)
    box = (float(x0), float(y0), float(x1), float(y1)) if x1 > x0 and y1 > y0 else there.box
    flags = _with(there, *found.flags)
    return (dataclasses.replace(there, box=box, polygon=found.polygon, flags=flags),)


def _with(label: Label, *flags: str) -> tuple[str, ...]:
    """A label's flags and some more, each once."""
    return tuple(dict.fromkeys((*label.flags, *flags)))


def _moved(points: tuple[tuple[float, ...], ...], x0: float, y0: float) -> Ring:
    return tuple((float(point[0]) - x0, float(point[1]) - y0) for point in points)


def _scaled(points: Ring | None, sx: float, sy: float) -> Ring | None:
    return None if points is None else tuple((x * sx, y * sy) for x, y in points)
