"""How far an outline reaches along and across an axis, to a part of a pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from postprocess.aircraft.shape import Bools, Floats, Shapes


@dataclass(frozen=True)
class Extent:
    """(n,) signed reaches from the centre in grid pixels: along the axis and across it
    (across is the axis turned by +90 degrees, x towards y).
    """

    back: Floats
    front: Floats
    left: Floats
    right: Floats


def extents(polygons: Shapes, centre: Floats, angle: Floats) -> Extent:
    """Reaches of each polygon's rim along `angle` (radians from +x towards +y) and across."""
    points, owner = shapely.get_coordinates(polygons, return_index=True)
    local = points - centre[owner]
    c, s = np.cos(angle)[owner], np.sin(angle)[owner]
    along, across = local[:, 0] * c + local[:, 1] * s, local[:, 1] * c - local[:, 0] * s
    ends = []
    for value in (along, across):
        low, high = np.full(len(polygons), np.inf), np.full(len(polygons), -np.inf)
        np.minimum.at(low, owner, value)
        np.maximum.at(high, owner, value)
        ends += [low, high]
    return Extent(ends[0], ends[1], ends[2], ends[3])


def without_stairs(polygons: Shapes) -> tuple[Shapes, Bools]:
    """Outlines of pixel masks through the middles of the pixel sides on their rim.

    The rim of a mask traced along pixel sides overshoots a slanted edge by up to 0.7 pixel;
    through the middles of those sides it runs where the edge was, on average. Outlines that are
    not traced along pixel sides come back as they are. Second comes which had stairs, (n,).
    """
    points, owner = shapely.get_coordinates(polygons, return_index=True)
    step = np.abs(np.diff(points, axis=0))
    inner = owner[1:] == owner[:-1]
    slanted = inner & (np.minimum(step[:, 0], step[:, 1]) > 1e-6)
    stairs = np.bincount(owner[1:][slanted], minlength=len(polygons)) == 0
    result = polygons.copy()
    if stairs.any():
        result[stairs] = _middles(shapely.segmentize(polygons[stairs], 1.0))
    return result, stairs


def _middles(polygons: Shapes) -> Shapes:
    points, owner = shapely.get_coordinates(polygons, return_index=True)
    inner = owner[1:] == owner[:-1]
    middles = ((points[1:] + points[:-1]) / 2)[inner]
    cut = shapely.polygons(shapely.linearrings(middles, indices=owner[1:][inner]))
    return np.where(shapely.is_valid(cut), cut, polygons)
