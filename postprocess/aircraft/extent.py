"""How far an outline reaches along and across an axis, to a part of a pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from postprocess.shapes import Bools, Floats, Ints, Shapes
from tiling.compiled import compiled


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

CLEAR, SURE = 1e-3, 1e-4
"""Pixels: a chord that passes every vertex by the first is known better than to the second."""


def thinness(polygons: Shapes, end: Floats, inward: Floats) -> Floats:
    """(n,) how far each outline runs into a point too thin to be seen to its end, 0 to 1.

    `end` (n, 2) is the last point seen and `inward` (n, 2) the unit vector back into the shape.
    """
    at = end + 1.5 * inward
    blunt, thin = THIN_PX[1], THIN_PX[0]
    width = _chords(polygons, at, inward)
    # Most ends are plainly thin or plainly blunt; the exact chord, which costs, is for the rest.
    near = ~((width < thin - SURE) | (width > blunt + SURE))
    aside = np.stack([-inward[near, 1], inward[near, 0]], axis=1) * 1e4
    chords = shapely.linestrings(np.stack([at[near] - aside, at[near] + aside], axis=1))
    width[near] = shapely.length(shapely.intersection(polygons[near], chords))
    return np.asarray(np.clip((blunt - width) / (blunt - thin), 0.0, 1.0), np.float64)


def _chords(polygons: Shapes, at: Floats, normal: Floats) -> Floats:
    """(n,) length inside each polygon of the line through `at` across `normal`; NaN where it
    passes a vertex too closely to tell, and for polygons with holes.
    """
    points = shapely.get_coordinates(polygons)
    start = np.concatenate([[0], np.cumsum(shapely.get_num_coordinates(polygons))])
    width = np.empty(len(polygons))
    _measure_chords(points, start, at, normal, width)
    width[shapely.get_num_interior_rings(polygons) > 0] = np.nan
    return width


@compiled
def _measure_chords(points: Floats, start: Ints, at: Floats, normal: Floats, width: Floats) -> None:
    """A ring crosses the line to and fro: crossings count plus one way, minus the other."""
    for i in range(len(width)):
        nx, ny = normal[i, 0], normal[i, 1]
        total, ahead, along = 0.0, 0.0, 0.0
        for k in range(start[i], start[i + 1]):
            x, y = points[k, 0] - at[i, 0], points[k, 1] - at[i, 1]
            next_ahead, next_along = x * nx + y * ny, y * nx - x * ny
            if abs(next_ahead) < CLEAR:
                total = np.nan
            elif k > start[i] and (ahead > 0) != (next_ahead > 0):
                spot = along + (next_along - along) * ahead / (ahead - next_ahead)
                total += spot if ahead > 0 else -spot
            ahead, along = next_ahead, next_along
        width[i] = abs(total)


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
