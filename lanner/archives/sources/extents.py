"""Where scenes lie on the round Earth: bounds and footprints across the antimeridian."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING, Any

from lanner.archives.scenes import Bounds

if TYPE_CHECKING:
    import shapely

TURN = 360.0
HALF = 180.0
_SHIFTS = (0.0, -TURN, TURN)


def bounds_of(numbers: object) -> Bounds | None:
    """West, south, east and north of a list of four numbers, or of six with heights between.

    Returns:
        None for what are no bounds.
    """
    if not isinstance(numbers, Sequence) or isinstance(numbers, str) or len(numbers) not in (4, 6):
        return None
    if not all(isinstance(one, int | float) and isfinite(one) for one in numbers):
        return None
    half = len(numbers) // 2
    west, south, east, north = (
        float(one) for one in (numbers[0], numbers[1], numbers[half], numbers[half + 1])
    )
    return (west, south, east, north) if south <= north else None


def width(bounds: Bounds) -> float:
    """Degrees from west to east, eastward."""
    west, _, east, _ = bounds
    return TURN if east - west >= TURN else (east - west) % TURN


def meet(one: Bounds, other: Bounds) -> bool:
    """Whether two bounds touch."""
    if one[1] > other[3] or other[1] > one[3]:
        return False
    return (other[0] - one[0]) % TURN <= width(one) or (one[0] - other[0]) % TURN <= width(other)


def boxes(bounds: Bounds) -> tuple[Bounds, ...]:
    """The same as one or two bounds that lie within -180 to 180 degrees."""
    _, south, _, north = bounds
    wide = width(bounds)
    if wide >= TURN:
        return ((-HALF, south, HALF, north),)
    west = bounds[0] if -HALF <= bounds[0] <= HALF else (bounds[0] + HALF) % TURN - HALF
    east = west + wide
    if east <= HALF:
        return ((west, south, east, north),)
    return ((west, south, HALF, north), (-HALF, south, east - TURN, north))


def geometry_of(value: Any, bounds: Bounds | None) -> shapely.Geometry | None:
    """A footprint of GeoJSON or of a geometry, mended where it crosses itself.

    A part that spans longitudes which its bounds, across the antimeridian, do not have was not
    split there: its western longitudes become those beyond 180.

    Returns:
        None for what is none.
    """
    import shapely
    from shapely.errors import ShapelyError
    from shapely.geometry import shape

    try:
        found = value if isinstance(value, shapely.Geometry) else shape(value)
        if found.is_empty or not all(isfinite(one) for one in found.bounds):
            return None
        found = shapely.force_2d(found)
        if bounds is not None and bounds[0] > bounds[2]:
            gap = (bounds[0] + bounds[2]) / 2
            found = shapely.union_all([_unwrapped(one, gap) for one in shapely.get_parts(found)])
        return found if found.is_valid else shapely.make_valid(found)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, ShapelyError):
        return None


def _unwrapped(part: shapely.Geometry, gap: float) -> shapely.Geometry:
    """A part with what lies west of `gap` a turn further east, where it spans that."""
    import numpy as np
    import shapely

    west, _, east, _ = part.bounds
    if west >= gap or east <= gap:
        return part

    def moved(xy: np.ndarray) -> np.ndarray:
        return np.column_stack([np.where(xy[:, 0] < gap, xy[:, 0] + TURN, xy[:, 0]), xy[:, 1]])

    found = shapely.transform(part, moved)
    return found if found.is_valid else shapely.make_valid(found)


def touches(footprint: shapely.Geometry, area: shapely.Geometry | Bounds) -> bool:
    """Whether a footprint and an area (or bounds) have a point in common, on whichever turn."""
    import shapely

    return any(bool(shapely.intersects(one, footprint)) for one in _turns(area))


@lru_cache(maxsize=8)
def _turns(area: shapely.Geometry | Bounds) -> tuple[shapely.Geometry, ...]:
    """An area three times, a turn of the Earth apart, prepared to be asked often."""
    import shapely
    from shapely.affinity import translate

    if isinstance(area, tuple):
        west, south, _, north = area
        area = shapely.box(west, south, west + width(area), north)
    if not area.is_valid:  # bounds of a point or a line, too
        area = shapely.make_valid(area)
    turns = tuple(translate(area, shift) for shift in _SHIFTS)
    shapely.prepare(turns)
    return turns


def box_of(bounds: Bounds) -> shapely.Geometry:
    """Bounds as a geometry within -180 to 180 degrees."""
    import shapely

    parts = [shapely.make_valid(shapely.box(*one)) for one in boxes(bounds)]
    return shapely.union_all(parts)


def hull(area: shapely.Geometry) -> Bounds:
    """Bounds of an area, as they lie; longitudes may be beyond 180."""
    west, south, east, north = area.bounds
    return (float(west), float(south), float(east), float(north))
