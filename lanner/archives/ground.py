"""Shapes of longitude and latitude in metres, on a plane that touches the Earth beside them.

Points go through geocentric coordinates, where neither the antimeridian nor a pole is a special
place, and from there to any number of planes at the cost of a product of matrices. Within 100 km
of where a plane touches, lengths on it are right to 0.02 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyproj
import shapely

from postprocess.shapes import Bools, Floats, Ints, Shapes

_SEAM = 1e-3
"""Metres that two sides of the antimeridian may differ by, and are one line yet."""


@dataclass(frozen=True)
class Plane:
    """A plane that touches the Earth: `origin` (3,) geocentric metres, `axes` (3, 2) its x and y
    as geocentric directions, about eastward and northward.
    """

    origin: Floats
    axes: Floats

    def xy(self, points: Floats) -> Floats:
        """(n, 2) metres of (n, 3) geocentric points."""
        return np.asarray((points - self.origin) @ self.axes, np.float64)


@dataclass(frozen=True)
class Located:
    """Shapes in longitude and latitude, none of them missing or empty, and where they lie.

    Attributes:
        shapes: (n,) of two dimensions.
        points: (c, 3) geocentric metres of all their points.
        starts: (n + 1,) where the points of each begin.
        centres: (n, 3) mean of each one's points.
        radii: (n,) metres from there to the farthest of them.
    """

    shapes: Shapes
    points: Floats
    starts: Ints
    centres: Floats
    radii: Floats

    def __len__(self) -> int:
        return len(self.shapes)

    def flat(self, which: Ints, plane: Plane) -> Shapes:
        """Some of the shapes, polygons, in metres on a plane; valid ones."""
        counts = np.diff(self.starts)[which]
        flat = shapely.set_coordinates(
            self.shapes[which].copy(), plane.xy(self.points[_ranges(self.starts[which], counts)])
        )
        return _sound(np.asarray(flat, object))

    def near(self, plane: Plane, box: Floats, margin: float) -> Ints:
        """Numbers of the shapes that may come within `margin` metres of a box on a plane, (4,)."""
        centres, reach = plane.xy(self.centres), self.radii + margin
        low, high = centres - reach[:, None], centres + reach[:, None]
        return np.flatnonzero(((high >= box[:2]) & (low <= box[2:])).all(axis=1)).astype(np.int64)


def located(shapes: Any) -> Located:
    """Where shapes lie, of which none is missing or empty."""
    shapes = np.asarray(shapely.force_2d(np.asarray(shapes, object)), object)
    counts = shapely.get_num_coordinates(shapes).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    points = _geocentric(shapely.get_coordinates(shapes))
    if not len(shapes):
        return Located(shapes, points, starts, np.empty((0, 3)), np.empty(0))
    centres = np.add.reduceat(points, starts[:-1]) / counts[:, None]
    away = np.linalg.norm(points - np.repeat(centres, counts, axis=0), axis=1)
    return Located(shapes, points, starts, centres, np.maximum.reduceat(away, starts[:-1]))


def usable(shapes: Any, dimension: int) -> Bools:
    """Where shapes are polygons (`dimension` 2) or lines (1), and neither missing nor empty."""
    shapes = np.asarray(shapes, object)
    found = shapely.get_dimensions(shapes) == dimension
    return np.asarray(found & ~shapely.is_empty(shapes), bool)


def plane_at(centre: Floats) -> Plane:
    """The plane that touches the Earth at a geocentric point, (3,)."""
    up = centre / np.linalg.norm(centre)
    # At a pole every direction is southward or northward: any will do.
    east = np.array([-up[1], up[0], 0.0]) if np.hypot(up[0], up[1]) > 1e-9 else np.eye(3)[1]
    east = east / np.linalg.norm(east)
    return Plane(centre, np.stack([east, np.cross(up, east)], axis=1))


def moved(shapes: Shapes, by: Floats) -> Shapes:
    """Shapes shifted by (2,)."""
    if not by.any():
        return shapes
    return np.asarray(shapely.transform(shapes, lambda xy: xy + by), object)


def _geocentric(lonlat: Floats) -> Floats:
    x, y, z = _cartesian().transform(lonlat[:, 0], lonlat[:, 1], np.zeros(len(lonlat)))
    return np.stack([x, y, z], axis=1).astype(np.float64)


@lru_cache(maxsize=1)
def _cartesian() -> pyproj.Transformer:
    """From longitude, latitude and height on WGS 84 to geocentric metres."""
    return pyproj.Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)


def _ranges(starts: Ints, counts: Ints) -> Ints:
    """Numbers from each start on, as many as each counts, one after the other."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.asarray(np.arange(total) + np.repeat(starts - (ends - counts), counts), np.int64)


def _sound(shapes: Shapes) -> Shapes:
    """Mended where invalid; without the seam where the antimeridian cut them in parts."""
    many = np.flatnonzero(shapely.get_type_id(shapes) == shapely.GeometryType.MULTIPOLYGON)
    for row in many.tolist():
        shapes[row] = shapely.union_all(mended(shapely.get_parts(shapes[row])), grid_size=_SEAM)
    return mended(shapes)


def mended(shapes: Shapes) -> Shapes:
    """Polygons, those that are invalid made valid."""
    wrong = ~shapely.is_valid(shapes)
    shapes[wrong] = shapely.make_valid(shapes[wrong], method="structure", keep_collapsed=False)
    return shapes
