"""How far an outline reaches along and across an axis, to a part of a pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from postprocess.shapes import Bools, Floats, Shapes


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


THIN_PX = (1.35, 1.75)
"""Width 1.5 pixels inside an end: at the lower the end is a point, at the upper it is blunt."""


def thinness(polygons: Shapes, end: Floats, inward: Floats) -> Floats:
    """(n,) how far each outline runs into a point too thin to be seen to its end, 0 to 1.

    `end` (n, 2) is the last point seen and `inward` (n, 2) the unit vector back into the shape.
    """
    at = end + 1.5 * inward
    aside = np.stack([-inward[:, 1], inward[:, 0]], axis=1) * 1e4
    chords = shapely.linestrings(np.stack([at - aside, at + aside], axis=1))
    width = shapely.length(shapely.intersection(polygons, chords))
    blunt, thin = THIN_PX[1], THIN_PX[0]
    return np.asarray(np.clip((blunt - width) / (blunt - thin), 0.0, 1.0), np.float64)


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
