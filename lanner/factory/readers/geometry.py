"""Geometries in an image's pixels, cut at its border."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import shapely

from lanner.factory.readers.parts import bounds, neat, ring
from lanner.factory.samples import Box, Ring

_WHOLE = 1 - 1e-9
"""Share of a polygon from which on nothing of it was cut off but rounding."""


@dataclass(frozen=True)
class Shape:
    """A part of a feature on an image; `inside` is the share of it that is there."""

    feature: int
    box: Box
    polygon: Ring | None = None
    line: Ring | None = None
    inside: float = 1.0
    flags: tuple[str, ...] = ()


def shapes(
    feature: int, geometry: Any, size: tuple[int, int], half: tuple[float, float]
) -> Iterator[Shape]:
    """What of a feature lies on an image.

    Args:
        feature: its number.
        geometry: a shapely geometry in pixels, x right, y down.
        size: width and height of the image in pixels.
        half: half the sides of the box around a point, in pixels.

    Yields:
        One shape for each point, piece of a line, and polygon; none where only the border is
        touched. An uncut outline keeps its points in their order, even one without area: that
        is for others to judge.
    """
    parts = [one for one in _simple(geometry) if not one.is_empty]
    several = ("part",) if len(parts) > 1 else ()
    frame = shapely.box(0, 0, *size)
    for part in parts:
        if part.geom_type == "Point":
            if frame.covers(part):
                yield _point(feature, part, half, size, several)
        elif part.geom_type == "LineString":
            yield from _pieces(feature, part, frame, several)
        else:
            shape = _polygon(feature, part, frame, several)
            if shape is not None:
                yield shape


def _simple(geometry: Any) -> Iterator[Any]:
    """The single parts of a geometry, collections in collections included."""
    if geometry.geom_type == "LinearRing":
        yield shapely.LineString(geometry)
    elif hasattr(geometry, "geoms"):
        for one in geometry.geoms:
            yield from _simple(one)
    else:
        yield geometry


def _point(
    feature: int,
    point: Any,
    half: tuple[float, float],
    size: tuple[int, int],
    flags: tuple[str, ...],
) -> Shape:
    x0, x1 = max(0.0, point.x - half[0]), min(float(size[0]), point.x + half[0])
    y0, y1 = max(0.0, point.y - half[1]), min(float(size[1]), point.y + half[1])
    cut = (x1 - x0) * (y1 - y0) < 4 * half[0] * half[1] * _WHOLE
    return Shape(feature, neat((x0, y0, x1, y1)), flags=flags + ("cut",) * cut)


def _pieces(feature: int, line: Any, frame: Any, flags: tuple[str, ...]) -> Iterator[Shape]:
    whole = frame.covers(line)
    inside = [line] if whole else list(_simple(line.intersection(frame)))
    for piece in inside:
        if piece.geom_type == "LineString" and piece.length > 0:
            points = ring(shapely.get_coordinates(piece).ravel().tolist())
            yield Shape(feature, bounds(points), line=points, flags=flags + ("cut",) * (not whole))


def _covers(frame: Box, inner: Box) -> bool:
    """By coordinates: to GEOS a polygon without area lies in nothing."""
    return (
        frame[0] <= inner[0]
        and frame[1] <= inner[1]
        and inner[2] <= frame[2]
        and inner[3] <= frame[3]
    )


def _polygon(feature: int, polygon: Any, frame: Any, flags: tuple[str, ...]) -> Shape | None:
    flags += ("holes",) * bool(polygon.interiors)
    outer = shapely.Polygon(polygon.exterior)
    if _covers(frame.bounds, outer.bounds):
        points = ring(shapely.get_coordinates(outer.exterior)[:-1].ravel().tolist())
        return Shape(feature, bounds(points), points, flags=flags)
    sound = shapely.make_valid(outer)
    # Beside areas GEOS may leave lines of almost none, even beyond the frame.
    areas = [p for p in _simple(sound.intersection(frame)) if p.geom_type == "Polygon"]
    inside = shapely.MultiPolygon(areas)
    if inside.area <= 0:
        return None
    largest = max(areas, key=lambda p: p.area)
    alone = largest.area >= inside.area * _WHOLE
    points = ring(shapely.get_coordinates(largest.exterior)[:-1].ravel().tolist())
    return Shape(
        feature,
        neat(inside.bounds),
        points if alone else None,
        inside=float(inside.area / sound.area),
        flags=(*flags, "cut", *(("parts",) * (not alone))),
    )
