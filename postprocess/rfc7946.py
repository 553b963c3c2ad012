"""Shapes in scene pixels to GeoJSON geometries as RFC 7946 wants them.

Longitude and latitude of WGS 84 to 7 decimals (1 cm), exterior rings anticlockwise, nothing
across the antimeridian (cut into Multi* there, section 3.1.9), rings around a pole carried to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import shapely

from postprocess.shapes import Floats, Shapes
from tiling.place import Place

DECIMALS = 7
WEST, EAST = -180.0, 180.0


def to_lonlat(shapes: Shapes, place: Place) -> Shapes:
    """Geometries in scene pixels to ones in longitude and latitude, ready to be written.

    Raises:
        PlaceError: the scene has no CRS.
    """
    moved = shapely.transform(shapes, place.to_lonlat)
    result = np.asarray(moved, object)
    box = shapely.bounds(result)
    # No object spans half the Earth: one that seems to has jumped over the antimeridian or
    # stands around a pole.
    for row in np.flatnonzero(box[:, 2] - box[:, 0] > 180).tolist():
        result[row] = _cut(result[row])
    return rounded(np.asarray(shapely.orient_polygons(result), object), DECIMALS)


def rounded(shapes: Shapes, decimals: int) -> Shapes:
    """The same with coordinates rounded, and no minus zero."""
    return np.asarray(shapely.transform(shapes, lambda xy: np.round(xy, decimals) + 0.0), object)


def mapping(shape: Any) -> dict[str, Any]:
    """The GeoJSON object of one geometry: type and coordinates."""
    kind = shape.geom_type
    if kind in ("Point", "LineString"):
        points = shapely.get_coordinates(shape).tolist()
        return {"type": kind, "coordinates": points[0] if kind == "Point" else points}
    if kind == "Polygon":
        return {"type": kind, "coordinates": _rings(shape)}
    parts = [mapping(part)["coordinates"] for part in shape.geoms]
    return {"type": kind, "coordinates": parts}


def bbox(boxes: Floats) -> list[float] | None:
    """West, south, east, north around (n, 4) boxes of longitude and latitude; None for none.

    West is greater than east where the features stand on both sides of the antimeridian
    (section 5.2): it is the largest empty gap of longitude that the box leaves out.
    """
    boxes = boxes[np.isfinite(boxes).all(axis=1)]
    if not len(boxes):
        return None
    order = np.argsort(boxes[:, 0], kind="stable")
    starts, ends = boxes[order, 0], np.maximum.accumulate(boxes[order, 2])
    south, north = float(boxes[:, 1].min()), float(boxes[:, 3].max())
    outer = starts[0] + 360 - ends[-1]
    gaps = starts[1:] - ends[:-1]
    if not len(gaps) or gaps.max() <= outer:
        return [float(starts[0]), south, float(ends[-1]), north]
    widest = int(gaps.argmax())
    return [float(starts[widest + 1]), south, float(ends[widest]), north]


def _rings(polygon: shapely.Polygon) -> list[Any]:
    rings = [polygon.exterior, *polygon.interiors]
    return [shapely.get_coordinates(ring).tolist() for ring in rings]


def _cut(shape: Any) -> Any:
    """One geometry whose longitudes jump, as parts that do not."""
    pieces = [piece for part in shapely.get_parts(shape) for piece in _pieces(part)]
    if len(pieces) == 1:
        return pieces[0]
    if pieces[0].geom_type == "Polygon":
        return shapely.union_all(pieces)
    return shapely.multilinestrings(pieces)


def _pieces(part: Any) -> Iterator[Any]:
    """What of one part lies on each side of the antimeridian."""
    if part.geom_type == "Polygon":
        shell = _unroll(shapely.get_coordinates(part.exterior))
        holes = [_unroll(shapely.get_coordinates(ring)) for ring in part.interiors]
        if abs(shell[-1, 0] - shell[0, 0]) > 180:
            yield from _in_world(_around_pole(shell, holes), part, 0)
            return
        middle = _middle(shell)
        whole = shapely.Polygon(shell, [_near(hole, middle) for hole in holes])
    else:
        whole = shapely.transform(part, _unroll)
    low, high = whole.bounds[0], whole.bounds[2]
    first = int(np.floor((low + 180) / 360))
    # A line that runs on the antimeridian itself has no width, and one side all the same.
    for turn in range(first, max(int(np.ceil((high + 180) / 360)), first + 1)):
        yield from _in_world(whole, part, turn)


def _in_world(whole: Any, like: Any, turn: int) -> Iterator[Any]:
    """The pieces between the antimeridians of one turn, in longitudes of -180 to 180."""
    world = shapely.box(WEST + 360 * turn, -90, EAST + 360 * turn, 90)
    for piece in _same_kind(shapely.intersection(whole, world), like):
        yield shapely.transform(piece, lambda xy: _turned(xy, -turn))


def _same_kind(pieces: Any, like: Any) -> Sequence[Any]:
    """Parts of the dimension of `like`: a corner that only touches the meridian is dropped."""
    return [p for p in shapely.get_parts(pieces) if p.geom_type == like.geom_type]


def _unroll(xy: Floats) -> Floats:
    steps = np.diff(xy[:, 0])
    jumps = -360.0 * np.round(steps / 360.0)
    return np.column_stack([xy[:, 0] + np.concatenate([[0.0], np.cumsum(jumps)]), xy[:, 1]])


def _around_pole(shell: Floats, holes: Sequence[Floats]) -> shapely.Polygon:
    """A ring that comes back a whole turn away goes round a pole: closed along that pole.

    It is laid thrice round, so that the whole of -180 to 180 lies well inside: wherever it began,
    it is cut nowhere but at the antimeridian.
    """
    turn = float(np.sign(shell[-1, 0] - shell[0, 0]))
    thrice = np.concatenate([_turned(_near(shell[:-1], 0.0), turn * k) for k in (-1, 0, 1)])
    pole = 90.0 if shell[:, 1].mean() > 0 else -90.0
    corners = np.array([[thrice[-1, 0], pole], [thrice[0, 0], pole]])
    every = [_turned(_near(hole, 0.0), k) for hole in holes for k in (-1, 0, 1)]
    interiors = [hole for hole in every if hole[:, 0].min() < EAST and hole[:, 0].max() > WEST]
    return shapely.Polygon(np.concatenate([thrice, corners]), interiors)


def _near(ring: Floats, longitude: float) -> Floats:
    """The same ring, turned so often round the Earth that its middle is nearest a longitude."""
    return _turned(ring, round((longitude - _middle(ring)) / 360))


def _turned(xy: Floats, turns: float) -> Floats:
    """The same places, so many turns farther east."""
    return np.column_stack([xy[:, 0] + 360.0 * turns, xy[:, 1]])


def _middle(ring: Floats) -> float:
    return float(ring[:, 0].min() + ring[:, 0].max()) / 2
